"""What a world knows of a simulated robot: its MuJoCo text, the names of its parts, and the table it stands at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ArmParts:
    """One arm in the model. servos: position actuators of its joints, in the robot file's order. gripper_servo: the actuator that opens the
    gripper, in the units of the robot file's gripper joints. finger_pads: geoms that touch things. hand: body that carries the fingers."""

    servos: tuple[str, ...]
    gripper_servo: str
    finger_pads: tuple[str, ...]
    hand: str
    tcp_site: str


@dataclass(frozen=True)
class TableTop:
    """Ends along x, half the width along y, height of the surface; m, in the robot's base frame."""

    x_m: tuple[float, float]
    half_width_m: float
    z_m: float


@dataclass(frozen=True)
class RobotModel:
    """MuJoCo text of a robot whose base frame is the world's frame, section by section. cameras: those that stand in the world.
    couplings: equalities between joints. arms: in the robot file's order."""

    defaults: str
    assets: str
    bodies: str
    cameras: str
    tendons: str
    couplings: str
    actuators: str
    arms: tuple[ArmParts, ...]
    table: TableTop

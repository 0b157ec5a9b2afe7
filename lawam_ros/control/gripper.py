"""Opening of one gripper, moved at a limited rate."""

from lawam_ros.contract.robot import Gripper


class GripperRamp:
    """Commanded opening in m, 0 closed. ``target_m`` is held until a plan changes it."""

    def __init__(self, gripper: Gripper, dt_s: float) -> None:
        self._max_m = gripper.opening_max_m
        self._step_m = gripper.velocity_m_s * dt_s
        self.opening_m = 0.0
        self.target_m = 0.0

    def reset(self, opening_m: float) -> None:
        self.opening_m = self.target_m = min(max(opening_m, 0.0), self._max_m)

    def stop(self) -> None:
        """Stay at the present opening."""
        self.target_m = self.opening_m

    def step(self, target_m: float | None) -> float:
        """Opening of this tick; None keeps the target."""
        if target_m is not None:
            self.target_m = min(max(target_m, 0.0), self._max_m)
        self.opening_m += min(max(self.target_m - self.opening_m, -self._step_m), self._step_m)
        return self.opening_m

import numpy as np

from lawam_ros.contract.records import Pose
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

from lawam_ros.sim.success import PickPlaceMeasure  # noqa: E402
from lawam_ros.sim.world import WorldState  # noqa: E402

PAD = np.array([0.5, 0.1, 0.0])
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def state(cube: tuple[float, float, float], tcp: tuple[float, float, float], touching: int = 0, speed: float = 0.0) -> WorldState:
    return WorldState(0.0, Pose(np.array(cube), UPRIGHT), speed, PAD, Pose(np.array(tcp), UPRIGHT), 0.08, touching)


def measure() -> PickPlaceMeasure:
    return PickPlaceMeasure(cube_size_m=0.04, success_radius_m=0.05)


def test_a_carried_cube_passes_every_stage() -> None:
    one = measure()
    one.update(state((0.5, -0.1, 0.02), (0.5, -0.1, 0.3)))
    assert not any(one.result().stages.values())
    one.update(state((0.5, -0.1, 0.02), (0.5, -0.1, 0.045)))
    assert one.result().stages == {"reached": True, "grasped": False, "lifted": False, "placed": False}
    one.update(state((0.5, -0.1, 0.02), (0.5, -0.1, 0.02), touching=2))
    one.update(state((0.5, 0.0, 0.06), (0.5, 0.0, 0.06), touching=2))
    assert one.result().stages == {"reached": True, "grasped": True, "lifted": True, "placed": False}
    one.update(state((0.52, 0.1, 0.02), (0.52, 0.1, 0.2)))
    result = one.result()
    assert result.success and all(result.stages.values())
    np.testing.assert_allclose(result.final_error_m, 0.02)
    np.testing.assert_allclose(result.min_tcp_cube_distance_m, 0.0)


def test_what_is_not_yet_a_success() -> None:
    almost = {
        "held": state((0.5, 0.1, 0.02), (0.5, 0.1, 0.02), touching=2),
        "one finger leans on it": state((0.5, 0.1, 0.02), (0.5, 0.1, 0.02), touching=1),
        "in the air": state((0.5, 0.1, 0.05), (0.5, 0.1, 0.2)),
        "still sliding": state((0.5, 0.1, 0.02), (0.5, 0.1, 0.2), speed=0.2),
        "beside the pad": state((0.5, 0.151, 0.02), (0.5, 0.1, 0.2)),
        "fell off the table": state((0.5, 0.1, -0.7), (0.5, 0.1, 0.2)),
    }
    for name, last in almost.items():
        one = measure()
        one.update(last)
        assert not one.result().success, name
        one.update(state((0.5, 0.149, 0.02), (0.5, 0.1, 0.2)))
        assert one.result().success, name


def test_a_success_can_be_lost_again() -> None:
    one = measure()
    one.update(state((0.5, 0.1, 0.02), (0.5, 0.1, 0.2)))
    one.update(state((0.5, 0.3, 0.02), (0.5, 0.1, 0.2)))
    assert not one.result().success


def test_a_pushed_cube_was_not_placed() -> None:
    one = measure()
    one.update(state((0.5, 0.1, 0.02), (0.5, 0.06, 0.02)))
    assert one.result().success and not one.result().stages["placed"]

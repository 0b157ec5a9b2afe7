import numpy as np

from lawam_ros.contract.records import Pose
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

from lawam_ros.sim.cabinet import DrawerState  # noqa: E402
from lawam_ros.sim.cube_and_pad import CubeState  # noqa: E402
from lawam_ros.sim.success import DrawerMeasure, PickPlaceMeasure, TowelMeasure  # noqa: E402
from lawam_ros.sim.towel import CORNERS, GRID, TowelParameters, TowelState  # noqa: E402
from lawam_ros.sim.world_state import HandState, WorldState  # noqa: E402

PAD = np.array([0.5, 0.1, 0.0])
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def state(cube: tuple[float, float, float], tcp: tuple[float, float, float], touching: int = 0, speed: float = 0.0) -> WorldState:
    things = CubeState(Pose(np.array(cube), UPRIGHT), speed, 0.04, PAD, touching)
    return WorldState(0.0, {"arm": HandState(Pose(np.array(tcp), UPRIGHT), 0.08)}, cube=things)


def measure() -> PickPlaceMeasure:
    return PickPlaceMeasure(success_radius_m=0.05)


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
    np.testing.assert_allclose(result.min_tcp_object_distance_m, 0.0)


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


def drawer(opened_m: float, touching: int = 0, speed: float = 0.0, tcp_above_m: float = 0.2) -> WorldState:
    handle = np.array([0.45, 0.2 - opened_m, 0.2])
    one = DrawerState(handle, np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0]), opened_m, speed, touching)
    return WorldState(0.0, {"arm": HandState(Pose(handle + [0.03, 0.0, tcp_above_m], UPRIGHT), 0.08)}, drawer=one)


def test_a_pulled_drawer_passes_every_stage() -> None:
    one = DrawerMeasure(success_opening_m=0.12)
    one.update(drawer(0.0))
    assert not any(one.result().stages.values()) and one.result().final_error_m == 0.12
    one.update(drawer(0.0, touching=1, tcp_above_m=0.01))
    assert one.result().stages == {"contact": True, "handle": False, "opened": False, "released": False}
    np.testing.assert_allclose(one.result().min_tcp_object_distance_m, 0.01)  # the bar is 12 cm long: 3 cm beside its middle is on it
    one.update(drawer(0.05, touching=2))
    np.testing.assert_allclose(one.result().final_error_m, 0.07)
    one.update(drawer(0.16, touching=2))
    assert one.result().stages == {"contact": True, "handle": True, "opened": True, "released": False}
    assert not one.result().success, "the hand has not let go"
    one.update(drawer(0.16))
    assert one.result().success and all(one.result().stages.values()) and one.result().final_error_m == 0.0


def test_what_is_not_an_open_drawer() -> None:
    for name, last in {"too little": drawer(0.119), "still moving": drawer(0.15, speed=0.2), "held": drawer(0.15, touching=1)}.items():
        one = DrawerMeasure(success_opening_m=0.12)
        one.update(drawer(0.15))
        assert one.result().success, name
        one.update(last)
        assert not one.result().success, name


def test_a_drawer_thrown_open_without_the_handle_was_not_released() -> None:
    one = DrawerMeasure(success_opening_m=0.12)
    one.update(drawer(0.15))
    assert one.result().success and not one.result().stages["released"]


TOWEL = TowelParameters(0.3, 0.12, (0.2, 0.4, 0.7), (0.6, 0.0), (0.6, 0.0), 0.2, 0.05, 0.65, 0.06)
HELD = {"left": CORNERS.far_left, "right": CORNERS.far_right}


def towel(
    error_m: float, area: float = 0.56, height_m: float = 0.02, held: dict[str, int | None] | None = None, above_m: float = 0.1
) -> WorldState:
    """A towel whose moved corners lie ``error_m`` from their partners, on a table at 0."""
    steps = np.linspace(0.0, 0.3, GRID)
    x, y = np.meshgrid(steps, steps, indexing="ij")
    vertices = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    vertices[[CORNERS.far_left, CORNERS.far_right], 0] = error_m
    vertices[GRID * GRID // 2, 2] = height_m
    hands = {
        "left": HandState(Pose(vertices[CORNERS.far_left] + [0.0, 0.0, above_m], UPRIGHT), 0.05),
        "right": HandState(Pose(np.array([0.0, -0.5, 0.3]), UPRIGHT), 0.05),
    }
    return WorldState(0.0, hands, towel=TowelState(vertices, held or {"left": None, "right": None}, area, 0.3, 0.0))


def test_a_folded_towel_passes_every_stage() -> None:
    one = TowelMeasure(TOWEL)
    one.update(towel(0.3, area=1.0))
    assert not any(one.result().stages.values()) and one.result().final_error_m == 0.3
    one.update(towel(0.3, area=1.0, held={"left": CORNERS.far_left, "right": None}, above_m=0.01))
    assert one.result().stages == {"held": True, "carried": False, "folded": False, "released": False}
    np.testing.assert_allclose(one.result().min_tcp_object_distance_m, 0.01)
    one.update(towel(0.15, area=0.8, height_m=0.15, held=HELD))
    assert one.result().stages["carried"]
    one.update(towel(0.01, held=HELD))
    assert one.result().stages["folded"] and not one.result().success, "both hands still hold it"
    one.update(towel(0.01))
    assert one.result().success and all(one.result().stages.values())


def test_what_is_no_folded_towel() -> None:
    unfolded = {
        "corners apart": towel(0.051),
        "covers too much": towel(0.01, area=0.66),
        "heaped up": towel(0.01, height_m=0.061),
        "one hand holds it": towel(0.01, held={"left": None, "right": 3}),
        "not finite": towel(float("nan")),
    }
    for name, last in unfolded.items():
        one = TowelMeasure(TOWEL)
        one.update(towel(0.049))
        assert one.result().success and not one.result().stages["released"], "nobody was seen carrying it"
        one.update(last)
        assert not one.result().success, name

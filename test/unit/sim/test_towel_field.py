"""The expert with two hands: alone, on made-up towels, and through the executor."""

import math

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import matrix_from_quat
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

from lawam_ros.sim import demonstration  # noqa: E402
from lawam_ros.sim.demonstration import Demonstrator  # noqa: E402
from lawam_ros.sim.expert_field import Mode, Plan, Plans  # noqa: E402
from lawam_ros.sim.scenes import parameters_of  # noqa: E402
from lawam_ros.sim.start_recipe import RECOVERY, Pull, Start  # noqa: E402
from lawam_ros.sim.towel import CORNERS, GRID, THICKNESS_M, TowelState  # noqa: E402
from lawam_ros.sim.towel_field import RETREAT_HEIGHT_M, TowelField, slope_quat  # noqa: E402
from lawam_ros.sim.world_state import HandState, WorldState  # noqa: E402

STEP_S = 0.05
CONTRACT = load_contract("x1_towel_fold")
FIELD = TowelField(CONTRACT.robot, parameters_of(CONTRACT))
TABLE_M, EDGE_M = -0.02, 0.30
HELD = {"left": CORNERS.far_left, "right": CORNERS.far_right}
FREE: dict[str, int | None] = {"left": None, "right": None}


def flat(held: dict[str, int | None] = FREE) -> TowelState:
    steps = np.linspace(-EDGE_M / 2, EDGE_M / 2, GRID)
    x, y = np.meshgrid(0.6 + steps, steps, indexing="ij")
    vertices = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, TABLE_M + THICKNESS_M)])
    return TowelState(vertices, held, 1.0, EDGE_M, TABLE_M)


def folded(error_m: float = 0.01) -> TowelState:
    towel = flat()
    vertices = towel.vertices_m.copy()
    far = vertices[:, 0] > 0.6
    vertices[far, 0] = 1.2 - vertices[far, 0] + error_m
    vertices[far, 2] += 2 * THICKNESS_M
    return TowelState(vertices, FREE, 0.56, EDGE_M, TABLE_M)


def state(towel: TowelState, places: dict[str, np.ndarray], gripper_m: float = 0.0767) -> WorldState:
    hands = {name: HandState(Pose(place, slope_quat(place, np.array([0.2305, 0.0, 0.0]))), gripper_m) for name, place in places.items()}
    return WorldState(0.0, hands, towel=towel)


def plans_at(seen: WorldState, mode: Mode | None = None) -> Plans:
    modes = FIELD.modes_of(seen)
    return {
        name: Plan(mode or modes[name], 0.0, hand.tcp.position_m, np.zeros(3), hand.tcp.quat_xyzw, np.zeros(3), hand.gripper_m)
        for name, hand in seen.hands.items()
    }


HOME = {"left": np.array([0.51, 0.27, 0.15]), "right": np.array([0.51, -0.27, 0.15])}


def test_hands_slope_forward_and_down_and_flatter_far_away() -> None:
    shoulder = np.array([0.2305, 0.266, 0.0])
    near, far = (matrix_from_quat(slope_quat(shoulder + [x, 0.0, 0.0], shoulder))[:, 0] for x in (0.22, 0.58))
    assert near[2] == pytest.approx(-math.sin(math.radians(75))) and far[2] == pytest.approx(-math.sin(math.radians(45)))
    assert near[0] > 0 and far[0] > 0 and abs(near[1]) < 1e-12


def test_both_hands_take_their_corners_and_the_fold_ends_on_the_near_ones() -> None:
    seen = state(flat(), HOME)
    motion, plans, history = FIELD.motion(seen), plans_at(seen), []
    for _ in range(260):
        plans = motion(plans, STEP_S)
        history.append(plans)
    modes = [tuple(plan.mode for plan in plans.values()) for plans in history]
    for hand in (0, 1):
        assert list(dict.fromkeys(pair[hand] for pair in modes)) == [Mode.APPROACH, Mode.CLOSE, Mode.CARRY, Mode.OPEN, Mode.RETREAT]
    first_carry, first_open = modes.index((Mode.CARRY, Mode.CARRY)), modes.index((Mode.OPEN, Mode.OPEN))
    assert all(pair[0] == pair[1] for pair in modes[first_carry:first_open]), "they carry together"
    towel = flat()
    for name, far, near in (("left", CORNERS.far_left, CORNERS.near_left), ("right", CORNERS.far_right, CORNERS.near_right)):
        taken = history[first_carry][name].position_m - towel.vertices_m[far]
        assert np.linalg.norm(taken) < 0.025
        put = history[first_open][name].position_m - towel.vertices_m[near]
        assert np.linalg.norm(put[:2]) < 0.025 and 0.0 < put[2] < 0.025
        carried = np.array([plans[name].position_m for plans in history[first_carry:first_open]])
        assert carried[:, 2].max() - TABLE_M == pytest.approx(EDGE_M / 2, abs=0.05), "on a circle about the middle of the edge"
        assert history[-1][name].position_m[2] - TABLE_M > RETREAT_HEIGHT_M - 0.02


def test_a_hand_ahead_waits_for_the_other() -> None:
    places = {"left": np.array([0.60, 0.14, 0.14]), "right": np.array([0.74, -0.14, 0.03])}
    seen = state(flat(HELD), places, 0.0)
    motion, plans = FIELD.motion(seen), plans_at(seen)
    assert {plan.mode for plan in plans.values()} == {Mode.CARRY}
    for _ in range(20):
        plans = motion(plans, STEP_S)
    moved = {name: np.linalg.norm(plan.position_m - places[name]) for name, plan in plans.items()}
    assert moved["right"] > 1.5 * moved["left"]


def test_what_is_to_be_done_follows_from_the_world_alone() -> None:
    assert set(FIELD.modes_of(state(flat(), HOME)).values()) == {Mode.APPROACH}
    assert FIELD.modes_of(state(flat({"left": CORNERS.far_left, "right": None}), HOME)) == {"left": Mode.CLOSE, "right": Mode.APPROACH}
    assert set(FIELD.modes_of(state(flat(HELD), HOME)).values()) == {Mode.CARRY}
    assert set(FIELD.modes_of(state(folded(), HOME)).values()) == {Mode.RETREAT}
    assert set(FIELD.modes_of(state(folded(), HOME, gripper_m=0.0)).values()) == {Mode.OPEN}
    assert set(FIELD.modes_of(state(folded(error_m=0.08), HOME)).values()) == {Mode.APPROACH}


def test_a_lost_corner_contradicts_carrying() -> None:
    seen = state(flat({"left": CORNERS.far_left, "right": None}), HOME, 0.0)
    plans = {
        name: Plan(Mode.CARRY, 0.5, place, np.zeros(3), np.array([0.0, 0.5, 0.0, 0.8]), np.zeros(3), 0.0) for name, place in HOME.items()
    }
    assert FIELD.contradicts(plans, seen)
    assert not FIELD.contradicts(plans, state(flat(HELD), HOME, 0.0))


def test_hands_that_are_carried_off_neither_meet_nor_tear_the_towel() -> None:
    held = {"left": np.array([0.65, 0.14, 0.1]), "right": np.array([0.65, -0.14, 0.1])}
    pulled = {"left": np.array([0.65, 0.21, 0.1]), "right": np.array([0.65, -0.21, 0.1])}
    clear = FIELD.kept_clear(pulled, state(flat(HELD), held, 0.0))
    assert np.linalg.norm(clear["left"] - clear["right"]) == pytest.approx(0.28)
    crossed = FIELD.kept_clear({"left": np.array([0.6, 0.02, 0.0]), "right": np.array([0.6, -0.02, -0.1])}, state(flat(), HOME))
    assert np.linalg.norm(crossed["left"] - crossed["right"]) >= 0.16 - 1e-9
    assert min(place[2] for place in crossed.values()) > TABLE_M


@pytest.fixture(scope="module")
def folder() -> Demonstrator:
    return Demonstrator(load_contract("x1_towel_fold", overrides=["world.perturb=[colour,size]"]))


def test_the_expert_folds_through_the_executor_within_the_limits(folder: Demonstrator) -> None:
    attempt = folder.demonstrate(10_001)
    assert attempt.failure is None and attempt.limit_violations == 0 and attempt.commands > 400
    assert attempt.result.success and all(attempt.result.stages.values()) and attempt.result.final_error_m < 0.02
    assert set(attempt.moments[0].arms) == {"left", "right"}
    for name in ("left", "right"):
        assert {moment.arms[name].wanted_gripper_m for moment in attempt.moments} == {0.0, CONTRACT.robot.arm(name).gripper.opening_max_m}


def test_hands_pulled_off_the_towel_find_back(folder: Demonstrator, monkeypatch: pytest.MonkeyPatch) -> None:
    """One hand lets go in the middle of the fold."""
    pulls = (Pull(np.array([0.03, 0.02, 0.03]), np.zeros(3), True), Pull(np.array([-0.02, 0.0, 0.02]), np.zeros(3), False))
    monkeypatch.setattr(demonstration, "draw_start", lambda noise, seed, hands, policy_s: Start(RECOVERY, 3.2, pulls))
    attempt = folder.demonstrate(7, "recovery")
    assert attempt.failure is None and attempt.limit_violations == 0 and attempt.result.success

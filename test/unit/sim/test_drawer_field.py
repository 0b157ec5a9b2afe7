import math
from dataclasses import replace

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import matrix_from_quat
from lawam_ros.sim.renderer import choose_renderer

choose_renderer()

from lawam_ros.sim.cabinet import DrawerState  # noqa: E402
from lawam_ros.sim.drawer_field import PULLED_M, RETREAT_M, SLOPE_RAD, DrawerField, back_of, grasp_quat  # noqa: E402
from lawam_ros.sim.expert_field import Mode, Plan  # noqa: E402
from lawam_ros.sim.pick_place_field import down_quat  # noqa: E402
from lawam_ros.sim.scenes import parameters_of  # noqa: E402
from lawam_ros.sim.world_state import HandState, WorldState  # noqa: E402

STEP_S = 0.05
CONTRACT = load_contract("franka_drawer")
FIELD = DrawerField(CONTRACT.robot.arms[0], parameters_of(CONTRACT))
YAW = -math.pi / 2 + 0.1
OUTWARD = np.array([math.cos(YAW), math.sin(YAW), 0.0])
CLOSED = DrawerState(np.array([0.45, 0.2, 0.2]), OUTWARD, np.cross([0.0, 0.0, 1.0], OUTWARD), 0.0, 0.0, 0)


def state(drawer: DrawerState, tcp_m: np.ndarray, gripper_m: float = 0.08) -> WorldState:
    return WorldState(0.0, {"arm": HandState(Pose(tcp_m, grasp_quat(drawer)), gripper_m)}, drawer=drawer)


def opened(by_m: float, touching: int = 0) -> DrawerState:
    return replace(CLOSED, handle_m=CLOSED.handle_m + by_m * OUTWARD, opened_m=by_m, fingers_touching=touching)


def plan_at(position_m: np.ndarray, mode: Mode = Mode.APPROACH, quat: np.ndarray | None = None, gripper_m: float = 0.08) -> Plan:
    return Plan(mode, 0.0, position_m, np.zeros(3), down_quat(0.0) if quat is None else quat, np.zeros(3), gripper_m)


def roll_out(plan: Plan, seen: WorldState, steps: int) -> list[Plan]:
    motion, plans = FIELD.motion(seen), [plan]
    for _ in range(steps):
        plans.append(motion(plans[-1], STEP_S))
    return plans


def test_the_hand_slopes_down_to_the_bar_and_closes_across_it() -> None:
    hand = matrix_from_quat(grasp_quat(CLOSED))
    approach, fingers = hand[:, 2], hand[:, 1]
    np.testing.assert_allclose(approach, -back_of(CLOSED), atol=1e-9)
    assert approach[2] == pytest.approx(-math.sin(SLOPE_RAD)) and approach @ OUTWARD < -0.7
    np.testing.assert_allclose(fingers @ CLOSED.along, 0.0, atol=1e-9)
    assert hand[0, 0] > 0.9, "the near one of the two: the hand's x axis stays forward"


def test_all_modes_are_passed_in_order_and_the_drawer_ends_open() -> None:
    start = np.array([0.42, 0.0, 0.45])
    plans = roll_out(plan_at(start), state(CLOSED, start), 220)
    assert list(dict.fromkeys(plan.mode for plan in plans)) == [Mode.APPROACH, Mode.CLOSE, Mode.PULL, Mode.OPEN, Mode.RETREAT]
    closing = next(plan for plan in plans if plan.mode is Mode.CLOSE)
    np.testing.assert_allclose(closing.position_m, CLOSED.handle_m, atol=0.005)
    released = next(plan for plan in plans if plan.mode is Mode.OPEN)
    np.testing.assert_allclose(released.position_m, CLOSED.handle_m + PULLED_M * OUTWARD, atol=0.005)
    away = (plans[-1].position_m - released.position_m) @ back_of(CLOSED)
    assert away == pytest.approx(RETREAT_M, abs=0.01)


@pytest.mark.parametrize("beside_m", [(0.10, 0.0, 0.0), (-0.08, 0.0, 0.05), (0.0, -0.05, -0.08)])
def test_a_hand_beside_the_bar_backs_off_before_it_comes_over(beside_m: tuple[float, float, float]) -> None:
    """Nearer than the bar's height over its face the open fingers (4 cm off the middle) must not move across it."""
    start = CLOSED.handle_m + beside_m
    back = back_of(CLOSED)
    for plan in roll_out(plan_at(start, quat=grasp_quat(CLOSED)), state(CLOSED, start), 120):
        offset = plan.position_m - CLOSED.handle_m
        across = float(np.linalg.norm(offset - (offset @ back) * back))
        assert offset @ back > 0.02 or across < 0.02 or across > 0.9 * np.linalg.norm(beside_m) - 0.02
        if plan.mode is Mode.CLOSE:
            return
    pytest.fail("the bar was never reached")


def test_the_mode_follows_from_the_world_alone() -> None:
    at_bar, off = CLOSED.handle_m, CLOSED.handle_m + 0.1 * back_of(CLOSED)
    assert FIELD.mode_of(state(CLOSED, off)) is Mode.APPROACH
    assert FIELD.mode_of(state(opened(0.0, touching=2), at_bar, 0.014)) is Mode.PULL
    half = opened(0.08)
    assert FIELD.mode_of(state(half, off)) is Mode.APPROACH, "a slipped pull goes on"
    done = opened(0.16, touching=2)
    assert FIELD.mode_of(state(done, done.handle_m, 0.014)) is Mode.OPEN
    assert FIELD.mode_of(state(opened(0.16), done.handle_m + 0.1 * back_of(done))) is Mode.RETREAT


def test_a_pull_without_the_bar_is_given_up() -> None:
    lost = replace(plan_at(CLOSED.handle_m, Mode.PULL, gripper_m=0.0), mode_s=0.5)
    assert FIELD.contradicts(lost, state(opened(0.06), CLOSED.handle_m, 0.0))
    assert not FIELD.contradicts(lost, state(opened(0.06, touching=2), opened(0.06).handle_m, 0.014))


def test_a_slipped_pull_goes_on_from_where_the_drawer_stands() -> None:
    half = opened(0.07)
    start = half.handle_m + 0.08 * back_of(half)
    plans = roll_out(plan_at(start, quat=grasp_quat(half)), state(half, start), 150)
    released = next(plan for plan in plans if plan.mode is Mode.OPEN)
    np.testing.assert_allclose(released.position_m, CLOSED.handle_m + PULLED_M * OUTWARD, atol=0.005)


def test_a_disturbed_hand_is_kept_out_of_the_cabinet() -> None:
    behind = CLOSED.handle_m - 0.05 * OUTWARD + [0.0, 0.0, -0.19]
    clear = FIELD.kept_clear(behind, state(CLOSED, CLOSED.handle_m))
    assert (clear - CLOSED.handle_m) @ OUTWARD >= -1e-9 and clear[2] >= 0.05
    upright = WorldState(0.0, {"arm": HandState(Pose(CLOSED.handle_m, down_quat(0.0)), 0.08)}, drawer=CLOSED)
    assert (FIELD.kept_clear(behind, upright) - CLOSED.handle_m) @ OUTWARD > 0.1, "the hand is 20 cm wide"

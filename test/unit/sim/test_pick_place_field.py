import math
from dataclasses import replace

import numpy as np
import pytest

from lawam_ros.contract.rotations import quat_from_rotvec, quat_inverse, quat_multiply, rotvec_from_quat
from lawam_ros.sim.expert_field import SPEED_M_S, Mode, Plan
from lawam_ros.sim.pick_place_field import Scene, advance, cube_yaw_rad, down_quat

STEP_S = 0.05
SCENE = Scene(
    cube_position_m=np.array([0.5, -0.1, 0.02]),
    cube_yaw_rad=0.4,
    pad_position_m=np.array([0.55, 0.15, 0.0]),
    held_offset_m=np.zeros(3),
    cube_size_m=0.04,
    opening_max_m=0.08,
    gripper_velocity_m_s=0.2,
)


def plan_at(position: tuple[float, float, float], mode: Mode = Mode.APPROACH, gripper_m: float = 0.08, yaw: float = 0.0) -> Plan:
    return Plan(mode, 0.0, np.array(position), np.zeros(3), down_quat(yaw), np.zeros(3), gripper_m)


def roll_out(plan: Plan, steps: int) -> list[Plan]:
    plans = [plan]
    for _ in range(steps):
        plans.append(advance(plans[-1], SCENE, STEP_S))
    return plans


def test_all_modes_are_passed_in_order_and_the_cube_ends_on_the_pad() -> None:
    plans = roll_out(plan_at((0.45, 0.0, 0.3)), 250)
    seen = list(dict.fromkeys(plan.mode for plan in plans))
    assert seen == [Mode.APPROACH, Mode.CLOSE, Mode.CARRY, Mode.OPEN, Mode.RETREAT]
    closed = next(plan for plan in plans if plan.mode is Mode.CLOSE)
    np.testing.assert_allclose(closed.position_m, [0.5, -0.1, 0.02], atol=0.004)
    turn = rotvec_from_quat(quat_multiply(down_quat(0.4), quat_inverse(closed.quat_xyzw)))
    assert np.linalg.norm(turn) < 0.04
    released = next(plan for plan in plans if plan.mode is Mode.OPEN)
    np.testing.assert_allclose(released.position_m[:2], [0.55, 0.15], atol=0.004)
    assert plans[-1].position_m[2] > 0.12


@pytest.mark.parametrize("start", [(0.42, -0.1, 0.02), (0.5, -0.17, 0.03), (0.6, 0.0, 0.01)])
def test_a_hand_beside_the_cube_rises_before_it_comes_over(start: tuple[float, float, float]) -> None:
    """Below the cube's top the fingers (5 cm off the middle at most) must stay away from it."""
    for plan in roll_out(plan_at(start), 120):
        distance = math.hypot(*(plan.position_m[:2] - SCENE.cube_position_m[:2]))
        assert plan.position_m[2] > 0.05 or distance > 0.06 or distance < 0.02
        if plan.mode is Mode.CLOSE:
            return
    pytest.fail("the cube was never reached")


def test_speed_and_acceleration_stay_moderate() -> None:
    plans = roll_out(plan_at((0.35, 0.25, 0.35)), 200)
    velocities = np.diff([plan.position_m for plan in plans], axis=0) / STEP_S
    assert np.linalg.norm(velocities, axis=1).max() <= math.sqrt(2) * SPEED_M_S + 1e-9
    assert np.linalg.norm(np.diff(velocities, axis=0) / STEP_S, axis=1).max() < 1.0


def test_a_closed_hand_opens_above_the_cube() -> None:
    plans = roll_out(plan_at((0.5, -0.1, 0.06), gripper_m=0.0, yaw=0.4), 60)
    low = [plan.gripper_m for plan in plans if plan.position_m[2] < 0.03]
    assert low and low[0] > 0.06


def test_a_grasp_that_finds_nothing_is_given_up() -> None:
    empty = replace(plan_at((0.5, -0.1, 0.02), Mode.CLOSE, yaw=0.4), gripper_m=0.08)
    stuck = replace(empty, mode_s=1.3, gripper_m=0.06)
    wide = replace(SCENE, gripper_velocity_m_s=0.0)
    assert advance(stuck, wide, STEP_S).mode is Mode.APPROACH


@pytest.mark.parametrize("yaw", [-0.7, -0.2, 0.0, 0.3, 0.78])
def test_yaw_of_a_cube_on_any_face(yaw: float) -> None:
    turned = quat_from_rotvec(np.array([0.0, 0.0, yaw]))
    for tip in ([0.0, 0.0, 0.0], [math.pi / 2, 0.0, 0.0], [0.0, math.pi / 2, 0.0], [math.pi, 0.0, 0.0], [0.0, 0.0, math.pi / 2]):
        quat = quat_multiply(turned, quat_from_rotvec(np.array(tip)))
        assert cube_yaw_rad(quat) == pytest.approx(yaw, abs=1e-9)

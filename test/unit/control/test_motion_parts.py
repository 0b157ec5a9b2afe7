import numpy as np
import pytest

from lawam_ros.control.gripper import GripperRamp
from lawam_ros.control.measured import MeasuredJoints
from lawam_ros.control.pace import Pace, PaceCurve, grid
from lawam_ros.control.workspace import WorkspaceFilter


def test_workspace_moves_targets_to_the_box_and_counts(contract):
    arm = contract.robot.arms[0]
    box = WorkspaceFilter(arm, 1.0)
    inside = np.array([0.5, 0.0, 0.3])
    same, moved = box.inside(inside, inside)
    np.testing.assert_array_equal(same, inside)
    assert not any(moved) and box.hits == 0
    filtered, moved = box.inside(np.array([0.5, 0.9, -0.2]), inside)
    np.testing.assert_array_equal(filtered, [0.5, arm.workspace_upper_m[1], arm.workspace_lower_m[2]])
    assert moved == (False, True, True) and box.hits == 1


def test_an_arm_outside_its_workspace_may_come_in_but_not_go_further_out(contract):
    box = WorkspaceFilter(contract.robot.arms[0], 1.0)
    outside = np.array([0.5, 0.6, 0.3])
    np.testing.assert_array_equal(box.inside(np.array([0.5, 0.7, 0.3]), outside)[0], outside)
    np.testing.assert_array_equal(box.inside(np.array([0.5, 0.55, 0.3]), outside)[0], [0.5, 0.55, 0.3])


def test_a_border_is_neared_no_faster_than_the_target_can_stop(contract):
    box = WorkspaceFilter(contract.robot.arms[0], 0.004)
    place, heights = np.array([0.5, 0.0, 0.3]), []
    for _ in range(1000):
        place, _ = box.inside(np.array(place) - [0.0, 0.0, 0.002], place)
        heights.append(place[2])
    speed = -np.diff(heights) / 0.004
    assert heights[-1] == contract.robot.arms[0].workspace_lower_m[2]
    assert speed.max() == pytest.approx(0.5, abs=1e-6)
    assert -np.diff(speed).min() / 0.004 < 0.8


def test_gripper_moves_at_its_rate_and_stays_within_its_opening(contract):
    gripper = contract.robot.arms[0].gripper
    ramp = GripperRamp(gripper, 0.004)
    ramp.reset(0.08)
    openings = [0.08] + [ramp.step(-1.0 if k == 0 else None) for k in range(150)]
    assert np.abs(np.diff(openings)).max() <= gripper.velocity_m_s * 0.004 + 1e-15
    assert openings[-1] == 0.0
    assert ramp.step(5.0) == pytest.approx(gripper.velocity_m_s * 0.004)
    ramp.stop()
    assert ramp.step(None) == ramp.opening_m == ramp.target_m


def run_pace(curve, scale=1.0, seconds=5.0):
    pace, times, rates = Pace(curve), [], []
    for _ in range(int(seconds / 0.004)):
        pace.advance(0.004, scale)
        times.append(pace.time_s)
        rates.append(pace.rate)
    return np.array(times), np.array(rates)


def test_pace_brakes_to_the_end_of_the_plan_with_the_given_deceleration():
    times, rates = run_pace(PaceCurve(grid(1.2), np.full(61, 0.5), np.full(61, 3.0)))
    assert times[-1] == 1.2 and rates[-1] == 0.0
    assert rates[100] == 1.0
    assert np.diff(rates).min() >= -3.0 * 0.004 * 1.6
    # A plan that ends at rest by itself is run through without braking.
    times, rates = run_pace(PaceCurve(grid(1.2), np.zeros(61), np.full(61, 1e3)))
    assert np.argmax(times >= 1.2) * 0.004 < 1.3


def test_pace_slows_down_where_the_plan_is_too_fast():
    share = np.full(61, 0.5)
    share[30:40] = 4.0
    times, rates = run_pace(PaceCurve(grid(1.2), share, np.full(61, 5.0)))
    inside = (times > 0.6) & (times < 0.78)
    assert rates[inside].max() <= 0.26
    assert rates[times < 0.3].min() == 1.0


def test_hold_stops_the_pace_and_lets_it_stand():
    curve = PaceCurve(grid(1.2), np.full(61, 0.5), np.full(61, 4.0))
    times, rates = run_pace(curve, scale=0.0)
    assert rates[-1] == 0.0 and times[-1] == times[-500]
    assert times[-1] == pytest.approx(0.125, abs=0.01)


def test_a_seam_goes_on_fading_when_its_plan_has_ended():
    pace = Pace(PaceCurve(grid(0.05), np.zeros(4), np.full(4, 1e3)), seam_end_s=0.5)
    for _ in range(100):
        pace.advance(0.004)
    assert pace.time_s == 0.05 and not pace.finished and not pace.still
    for _ in range(30):
        pace.advance(0.004)
    assert pace.finished and pace.still
    held = Pace(PaceCurve(grid(0.05), np.zeros(4), np.full(4, 1e3)), seam_end_s=0.5)
    for _ in range(200):
        held.advance(0.004, 0.0)
    assert held.still and not held.finished


def message(contract, **changes):
    out = dict(zip(contract.robot.joint_names, contract.robot.arms[0].home_rad.tolist(), strict=True))
    return {**out, "panda_finger_joint1": 0.02, "panda_finger_joint2": 0.02, **changes}


def test_measured_joints_say_what_is_missing(contract):
    joints = MeasuredJoints(contract.robot)
    assert "missing: panda_joint1" in joints.problem(0)
    part = message(contract)
    del part["panda_joint4"]
    joints.update(0, part)
    assert "missing: panda_joint4;" in joints.problem(0) and joints.ignored == 1
    joints.update(0, message(contract))
    assert joints.problem(0) == "" and joints.openings_m == {"arm": pytest.approx(0.04)}
    assert "0.100 s old" in joints.problem(100_000_000)
    joints.update(10, message(contract, panda_joint2=1.75))
    assert "panda_joint2 between" in joints.problem(10)
    joints.update(20, message(contract, panda_joint2=float("nan")))
    assert "finite" in joints.problem(20)


def test_fingers_may_come_alone_and_old_messages_change_nothing(contract):
    joints = MeasuredJoints(contract.robot)
    joints.update(0, {name: value for name, value in message(contract).items() if "finger" not in name})
    assert "gripper" in joints.problem(0)
    joints.update(5, {"panda_finger_joint1": 0.04, "panda_finger_joint2": 0.04})
    assert joints.problem(0) == "" and joints.stamp_ns == 0
    joints.update(50, message(contract))
    joints.update(40, message(contract, panda_joint1=1.0))
    assert joints.stamp_ns == 50 and joints.joints_rad[0] == 0.0 and joints.ignored == 1

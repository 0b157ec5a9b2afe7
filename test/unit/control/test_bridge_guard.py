"""What a bridge lets through to a robot that believes everything it is told and holds it for ever."""

from dataclasses import replace

import numpy as np
import pytest
from two_armed import ROBOT

from lawam_ros.contract.records import JointCommand
from lawam_ros.control.bridge_guard import BRAKING, FOLLOWING, LATCHED, WAITING, BridgeGuard
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.control.robot_report import RobotReport

BRIDGE = ROBOT.bridge
PERIOD_NS = round(1e9 / BRIDGE.rate_hz)
HOME = np.concatenate([arm.home_rad for arm in ROBOT.arms])
LIMITS = stacked_limits([arm.limits for arm in ROBOT.arms])
OPEN = {arm.name: 0.05 for arm in ROBOT.arms}
STREAMS = ("left_arm", "left_gripper", "right_arm", "right_gripper")


class Run:
    """A guard with a robot that follows exactly; ``sent`` are the set-points it got."""

    def __init__(self):
        self.guard = BridgeGuard(ROBOT, BRIDGE)
        self.now_ns = 10**12
        self.joints = HOME.copy()
        self.battery = 80.0
        self.trouble = ""
        self.openings = OPEN
        self.silent = set()
        self.stamps = dict.fromkeys(STREAMS, 1)
        self.sent = []

    def step(self, command=None, late_ns=0, age_s=0.0):
        self.now_ns += PERIOD_NS + late_ns
        self.stamps = {name: stamp + (name not in self.silent) for name, stamp in self.stamps.items()}
        self.guard.hear(RobotReport(self.joints, self.openings, dict(self.stamps), self.battery, self.trouble), self.now_ns)
        refusal = "" if command is None else self.guard.take(replace(command, stamp_ns=self.now_ns), age_s, self.now_ns)
        given = self.guard.cycle(self.now_ns)
        if given is not None:
            self.sent.append((self.now_ns, given))
            self.joints = given.positions_rad
        return refusal

    def stand(self, cycles=3):
        for _ in range(cycles):
            assert self.step(at(HOME)) == ""

    def move(self, cycles=30, velocity=0.3):
        """Joint 1 of the left arm speeds up to ``velocity`` and keeps it."""
        self.stand()
        q, v = HOME.copy(), 0.0
        for _ in range(cycles):
            v_next = min(velocity, v + 3.0 * PERIOD_NS * 1e-9)
            a = (v_next - v) / (PERIOD_NS * 1e-9)
            q[0] += 0.5 * (v + v_next) * PERIOD_NS * 1e-9
            v = v_next
            assert self.step(at(q, {0: v}, {0: a if v < velocity else 0.0})) == ""
        return q

    def until_rest(self, cycles=300):
        for _ in range(cycles):
            self.step()
            if self.guard.state not in (FOLLOWING, BRAKING):
                return
        raise AssertionError(f"still {self.guard.state}")


def at(positions, velocities=None, accelerations=None, openings=OPEN):
    vectors = [np.zeros(len(HOME)), np.zeros(len(HOME))]
    for vector, values in zip(vectors, (velocities or {}, accelerations or {}), strict=True):
        for joint, value in values.items():
            vector[joint] = value
    return JointCommand(0, np.array(positions, dtype=float), *vectors, dict(openings))


def assert_smooth(run):
    """Positions never jump by more than the velocity limit allows, and the last one stands."""
    times = np.array([t for t, _ in run.sent]) * 1e-9
    rows = np.stack([command.positions_rad for _, command in run.sent])
    speeds = np.abs(np.diff(rows, axis=0)) / np.diff(times)[:, None]
    assert np.all(speeds <= LIMITS.velocity_rad_s + 1e-6)
    changes = np.abs(np.diff(np.diff(rows, axis=0) / np.diff(times)[:, None], axis=0))
    assert np.all(changes <= 2.0 * LIMITS.acceleration_rad_s2 * PERIOD_NS * 1e-9 + 1e-6)


def test_it_waits_for_a_command_then_passes_every_one_on():
    run = Run()
    run.step()
    assert (run.guard.state, run.sent) == (WAITING, [])
    q = run.move()
    assert run.guard.state == FOLLOWING and run.guard.reason == ""
    assert len(run.sent) == 33 and np.array_equal(run.sent[-1][1].positions_rad, q)
    assert run.sent[-1][1].gripper_m == OPEN


def test_a_missing_set_point_is_braked_at_once_and_silence_latches_at_rest():
    run = Run()
    q = run.move()
    run.step()
    assert run.sent[-1][1].velocities_rad_s[0] < 0.3 and run.guard.state == FOLLOWING
    run.until_rest()
    assert (run.guard.state, run.guard.reason) == (LATCHED, "commands_silent")
    assert run.sent[-1][1].positions_rad[0] > q[0] and not run.sent[-1][1].velocities_rad_s.any()
    assert_smooth(run)
    count = len(run.sent)
    assert run.step(at(q)) == "commands_silent"
    assert len(run.sent) == count


def test_one_missing_set_point_in_motion_does_no_harm():
    run = Run()
    q = run.move()
    for k in range(40):
        q[0] += 0.3 * PERIOD_NS * 1e-9
        assert run.step(None if k % 3 == 1 else at(q, {0: 0.3})) == ""
    assert run.guard.state == FOLLOWING


def test_silence_in_a_motion_so_slow_that_it_ends_at_once_is_a_fault_all_the_same():
    run = Run()
    run.move(cycles=5, velocity=0.01)
    run.until_rest()
    assert (run.guard.state, run.guard.reason) == (LATCHED, "commands_silent")


def test_silence_at_rest_is_no_fault():
    run = Run()
    run.stand()
    for _ in range(20):
        run.step()
    assert (run.guard.state, run.guard.reason) == (WAITING, "no_commands")
    assert run.step(at(HOME)) == ""
    assert run.guard.state == FOLLOWING


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (at(HOME + 0.06), "start_distance"),
        (at(HOME, {3: 0.1}), "start_in_motion"),
        (at(np.full(12, np.nan)), "not_finite"),
        (at(HOME, {3: np.inf}), "not_finite"),
        (at(HOME, openings={"left": 0.01}), "not_finite"),
        (at(HOME, openings={"left": 0.01, "right": 0.09}), "gripper_range"),
        (at(HOME * [-1] + 9.0), "position_limit"),
    ],
)
def test_a_first_command_that_does_not_start_where_the_arms_are_is_dropped(command, reason):
    run = Run()
    run.step()
    assert run.step(command) == reason
    assert (run.guard.state, run.sent, run.guard.dropped, run.guard.dropped_reason) == (WAITING, [], 1, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda q: at(q + 0.1, {0: 0.3}), "acceleration_limit"),
        (lambda q: at(q, {0: -0.3}), "acceleration_limit"),
        (lambda q: at(q, {0: 2.0}), "velocity_limit"),
        (lambda q: at(np.full(12, np.nan)), "not_finite"),
    ],
)
def test_a_wild_command_in_motion_is_dropped_and_the_arms_brake_on_their_path(change, reason):
    run = Run()
    q = run.move()
    for _ in range(300):
        assert run.step(change(q)) in (reason, "commands_silent")
        if run.guard.state == LATCHED:
            break
    assert (run.guard.state, run.guard.reason) == (LATCHED, "commands_silent")
    assert_smooth(run)


def test_stamps_must_rise():
    run = Run()
    run.stand()
    command = replace(at(HOME), stamp_ns=run.now_ns)
    assert run.guard.take(command, 0.0, run.now_ns) == "stamp_not_rising"


@pytest.mark.parametrize("sign", [1, -1], ids=["held up on the way", "clock ahead"])
def test_set_points_of_another_time_are_dropped_and_the_arms_brake(sign):
    run = Run()
    q = run.move()
    for _ in range(300):
        q[0] += 0.3 * PERIOD_NS * 1e-9
        assert run.step(at(q, {0: 0.3}), age_s=sign * 1.01 * BRIDGE.command_age_s) == "stamp_age"
        if run.guard.state == LATCHED:
            break
    assert (run.guard.state, run.guard.reason) == (LATCHED, "commands_silent")
    assert_smooth(run)


def test_an_old_set_point_starts_nothing():
    run = Run()
    assert run.step(at(HOME), age_s=1.0) == "stamp_age"
    assert run.guard.state == WAITING
    assert run.step(at(HOME), age_s=0.9 * BRIDGE.command_age_s) == ""


def test_a_leap_of_the_stamps_does_not_excuse_a_leap_of_the_arms():
    run = Run()
    q = run.move()
    command = replace(at(q + 0.5, {0: 0.3}), stamp_ns=run.now_ns + 10_000_000_000)
    assert run.guard.take(command, 0.0, run.now_ns) == "step"


@pytest.mark.parametrize("stream", STREAMS)
def test_one_silent_stream_stops_both_arms(stream):
    run = Run()
    q = run.move()
    run.silent.add(stream)
    cycles = 0
    while run.guard.state == FOLLOWING and cycles < 300:
        q[0] += 0.3 * PERIOD_NS * 1e-9
        run.step(at(q, {0: 0.3}))
        cycles += 1
    assert (run.guard.state, run.guard.reason) == (BRAKING, "robot_silent")
    assert cycles * PERIOD_NS * 1e-9 <= BRIDGE.state_age_s + 0.02
    run.until_rest()
    assert run.guard.state == LATCHED
    assert_smooth(run)


def test_stamps_that_stand_still_or_go_back_are_no_news():
    run = Run()
    run.stand()
    run.stamps["left_arm"] -= 100
    for _ in range(12):
        run.step(at(HOME))
    assert run.guard.state == LATCHED and run.guard.reason == "robot_silent"


@pytest.mark.parametrize("level", [11.9, None, float("nan"), -1.0, 255.0, 8000.0])
def test_a_low_or_unknown_battery_stops_the_arms_and_keeps_them_from_starting(level):
    run = Run()
    run.move()
    run.battery = level
    run.until_rest()
    assert (run.guard.state, run.guard.reason) == (LATCHED, "battery_low")
    assert_smooth(run)
    assert "they fall" in run.guard.reset(run.now_ns) or "arms fall" in run.guard.reset(run.now_ns)
    run.battery = 50.0
    run.step()
    assert run.guard.reset(run.now_ns) == "" and run.guard.state == WAITING


def test_a_falling_battery_is_told_before_it_stops_anything():
    run = Run()
    run.battery = 15.0
    run.stand()
    assert run.guard.state == FOLLOWING
    assert run.guard.warning() == "battery at 15 %: below 12 % motion ends, below 7 % the arms fall"


def test_a_robot_in_trouble_is_told_nothing_more():
    run = Run()
    run.move()
    count = len(run.sent)
    run.trouble = "emergency stop"
    run.step()
    assert (run.guard.state, run.guard.reason) == (LATCHED, "robot_trouble") and len(run.sent) == count
    assert "it reports emergency stop" in run.guard.reset(run.now_ns)


def test_joints_that_do_not_follow_or_make_no_sense_stop_the_arms():
    for joints, reason in ((HOME - 0.31, "tracking_error"), (np.full(12, np.nan), "joints_invalid"), (HOME + 9.0, "joints_invalid")):
        run = Run()
        run.move(cycles=3)
        run.joints = joints
        run.step(at(HOME))
        assert run.guard.reason == reason and run.guard.state in (BRAKING, LATCHED)


def test_three_refusals_of_the_robot_in_a_row_stop_it():
    run = Run()
    q = run.move()
    for accepted in (False, False, True, False, False, False):
        assert run.guard.state == FOLLOWING
        q[0] += 0.3 * PERIOD_NS * 1e-9
        run.step(at(q, {0: 0.3}))
        run.guard.sent(accepted)
    assert (run.guard.state, run.guard.reason) == (BRAKING, "robot_refuses")


def test_after_a_cycle_that_hung_the_arms_are_not_sent_on_at_their_old_speed():
    run = Run()
    run.move()
    last = run.sent[-1][1].positions_rad
    run.guard.fault("call_hangs")
    run.step(late_ns=500_000_000)
    run.until_rest()
    assert run.guard.state == LATCHED
    np.testing.assert_allclose(run.sent[-1][1].positions_rad, last)


def test_a_fault_from_outside_while_waiting_latches():
    run = Run()
    run.step()
    run.guard.fault("stop_requested")
    assert run.step(at(HOME)) == "stop_requested" and run.guard.state == LATCHED
    assert run.guard.reset(run.now_ns) == ""
    assert run.step(at(HOME)) == ""


def test_reset_in_motion_is_refused():
    run = Run()
    run.move()
    assert "expected a robot at rest" in run.guard.reset(run.now_ns)


def test_wild_commands_among_good_ones_never_reach_the_robot():
    rng = np.random.default_rng(5)
    run = Run()
    run.stand()
    start_ns, good = run.now_ns, 0
    for _ in range(2000):
        if run.guard.state == LATCHED:
            assert run.guard.reset(run.now_ns) == ""
            run.joints = HOME.copy()
            start_ns = run.now_ns + PERIOD_NS
        t = (run.now_ns + PERIOD_NS - start_ns) * 1e-9
        w, reach = 2.0, 0.2
        q, v, a = HOME + reach * (1 - np.cos(w * t)), reach * w * np.sin(w * t), reach * w * w * np.cos(w * t)
        command = at(q, dict.fromkeys(range(12), v), dict.fromkeys(range(12), a))
        if rng.random() < 0.2:
            noise = rng.normal(0, rng.choice([1e-3, 1e-2, 0.1, 1.0]), (2, 12))
            command = at(q + noise[0], dict(enumerate(v + noise[1])))
        good += run.step(None if rng.random() < 0.02 else command) == ""
    assert good > 1000
    times = np.array([t for t, _ in run.sent]) * 1e-9
    rows = np.stack([command.positions_rad for _, command in run.sent])
    steady = np.diff(times) < 1.5 * PERIOD_NS * 1e-9
    speeds = np.diff(rows, axis=0)[steady] / (PERIOD_NS * 1e-9)
    assert np.all(np.abs(speeds) <= LIMITS.velocity_rad_s + 0.2)
    assert np.all((rows >= LIMITS.lower_rad - 1e-6) & (rows <= LIMITS.upper_rad + 1e-6))


def test_it_tells_what_the_robot_holds():
    run = Run()
    assert run.guard.reference_rad is None
    run.step()
    np.testing.assert_array_equal(run.guard.reference_rad, HOME)
    run.move()
    np.testing.assert_array_equal(run.guard.reference_rad, run.sent[-1][1].positions_rad)
    run.until_rest()
    np.testing.assert_array_equal(run.guard.reference_rad, run.sent[-1][1].positions_rad)
    assert run.guard.reset(run.now_ns) == ""
    np.testing.assert_array_equal(run.guard.reference_rad, run.sent[-1][1].positions_rad)


@pytest.mark.parametrize("openings", [{"left": 0.05}, OPEN | {"right": float("nan")}])
def test_a_gripper_that_nobody_has_heard_of_or_makes_no_sense_stops_the_arms(openings):
    run = Run()
    run.move(cycles=3)
    run.openings = openings
    run.step()
    assert (run.guard.reason, run.guard.state) == ("joints_invalid", BRAKING)
    run.until_rest()
    assert "gripper openings" in run.guard.reset(run.now_ns)


def test_a_robot_whose_clock_was_set_back_or_jumped_ahead_stops_the_arms_and_is_believed_again_after_a_reset():
    for jump in (-1000, 1000):
        run = Run()
        run.stand()
        run.stamps["left_arm"] += jump
        run.step(at(HOME))
        if jump > 0:
            run.stamps["left_arm"] -= jump
        while run.guard.state == FOLLOWING:
            run.step(at(HOME))
        assert (run.guard.state, run.guard.reason) == (LATCHED, "robot_silent")
        assert "left_arm is silent or repeats itself" in run.guard.reset(run.now_ns)
        run.step()
        assert run.guard.reset(run.now_ns) == ""
        assert run.step(at(HOME)) == ""


def test_a_robot_that_repeats_itself_is_not_believed_after_a_reset_for_longer_than_a_message_lasts():
    run = Run()
    run.stand()
    run.silent.add("left_arm")
    while run.guard.state == FOLLOWING:
        run.step(at(HOME))
    run.guard.reset(run.now_ns)
    run.step()
    run.guard.reset(run.now_ns)
    for _ in range(12):
        run.step()
    assert run.step(at(HOME)) == "robot_not_ready" and not run.guard.obeys(run.now_ns)


def test_it_obeys_while_it_follows_or_could():
    run = Run()
    assert not run.guard.obeys(run.now_ns)
    run.step()
    assert run.guard.obeys(run.now_ns)
    run.battery = None
    run.step()
    assert run.guard.state == WAITING and not run.guard.obeys(run.now_ns)
    run.battery = 80.0
    run.move()
    assert run.guard.obeys(run.now_ns)
    run.guard.fault("stop_requested")
    assert not run.guard.obeys(run.now_ns)


def test_a_cycle_that_came_too_late_in_motion_is_a_fault_though_set_points_went_on():
    run = Run()
    q = run.move()
    q[0] += 0.3 * (PERIOD_NS + 80_000_000) * 1e-9
    run.step(at(q, {0: 0.3}), late_ns=80_000_000)
    assert (run.guard.state, run.guard.reason) == (LATCHED, "call_hangs")
    assert np.abs(run.sent[-1][1].positions_rad[0] - q[0]) > 0.02, "the arm stood, and is not sent after what it has missed"


def hostile_report(rng, run):
    """Spoils what the robot says of itself in one of the ways that its documents do not exclude."""
    kind = rng.integers(7)
    if kind == 0:
        run.joints = np.where(rng.random(12) < 0.2, rng.choice([np.nan, np.inf, 50.0]), run.joints)
    elif kind == 1:
        run.silent = {str(rng.choice(STREAMS))}
    elif kind == 2:
        run.stamps[str(rng.choice(STREAMS))] += int(rng.integers(-(10**9), 10**9))
    elif kind == 3:
        run.battery = float(rng.choice([np.nan, -1.0, 3.0, 1e9]))
    elif kind == 4:
        run.openings = {"left": np.inf}
    elif kind == 5:
        run.trouble = "emergency stop"
    else:
        run.joints = run.joints + rng.normal(0.0, 0.3, 12)


def made_well(run):
    """The robot is where it was told to be, and says so until it is believed."""
    run.joints, run.openings, run.battery, run.trouble = run.guard.reference_rad.copy(), OPEN, 80.0, ""
    run.silent = set()
    run.step()
    while run.guard.reset(run.now_ns):
        run.step()


def swing(start, at_s):
    """From rest at ``start`` towards the middle of the joints and back."""
    way = 0.1 * np.sign(0.5 * (LIMITS.lower_rad + LIMITS.upper_rad) - start)
    vectors = start + way * (1 - np.cos(2 * at_s)), way * 2 * np.sin(2 * at_s), way * 4 * np.cos(2 * at_s) * (at_s > 0)
    return at(vectors[0], *(dict(enumerate(vector)) for vector in vectors[1:]))


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_robot_says_it_is_sent_small_steps_within_its_limits_and_nothing_once_latched(seed):
    rng = np.random.default_rng(seed)
    run, start, cycles, faults = Run(), HOME, 0, set()
    run.step()
    for _ in range(1500):
        if run.guard.state == LATCHED:
            faults.add(run.guard.reason)
            before = len(run.sent)
            made_well(run)
            assert len(run.sent) == before
        if run.guard.state == WAITING:
            start, cycles = run.guard.reference_rad.copy(), 0
        if rng.random() < 0.01:
            hostile_report(rng, run)
        late_ns = 90_000_000 if rng.random() < 0.01 else 0
        run.step(None if rng.random() < 0.02 else swing(start, cycles * PERIOD_NS * 1e-9), late_ns)
        run.guard.sent(rng.random() > 0.02)
        cycles += 1
    assert len(faults) >= 4, faults
    times = np.array([t for t, _ in run.sent]) * 1e-9
    rows = np.stack([command.positions_rad for _, command in run.sent])
    assert np.ptp(rows, axis=0).max() > 0.1, "the arms moved"
    assert np.all((rows >= LIMITS.lower_rad - 1e-6) & (rows <= LIMITS.upper_rad + 1e-6))
    spans = np.minimum(np.diff(times), BRIDGE.command_age_s)[:, None]
    assert np.all(np.abs(np.diff(rows, axis=0)) <= LIMITS.velocity_rad_s * spans + 3e-3)

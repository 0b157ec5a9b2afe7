"""Dead-man and emergency stop: pressed, released or silent ends in LATCHED, and nothing starts before they allow it."""

import dataclasses

import numpy as np
import pytest

from lawam_ros.contract.robot import Safety
from lawam_ros.control.executor import ActivationRefused

BOTH = Safety(deadman_required=True, estop_required=True, max_age_s=0.2)


def with_safety(contract, safety):
    return dataclasses.replace(contract, robot=dataclasses.replace(contract.robot, safety=safety))


class Operator:
    """Both switches at 50 Hz, as they are set."""

    def __init__(self, bench):
        self.bench = bench
        self.held, self.pressed, self.ticks = True, False, 0

    def __call__(self):
        if self.ticks % 5 == 0:
            if self.held is not None:
                self.bench.executor.deadman(self.held, self.bench.now_ns)
            if self.pressed is not None:
                self.bench.executor.estop(self.pressed, self.bench.now_ns)
        self.ticks += 1


@pytest.fixture
def watched(contract, urdf_text, new_bench):
    """An arm in motion whose operator holds the dead-man."""
    bench = new_bench(with_safety(contract, BOTH), urdf_text)
    operator = Operator(bench)
    operator()
    bench.activate()
    ramp = np.outer(np.arange(1, 25) / 20, [0.0, 0.2, 0.0])
    assert bench.offer(bench.chunk(bench.rows(ramp))) is None
    bench.run(0.5, operator)
    assert bench.status.state == "RUN" and np.abs(bench.out.command.velocities_rad_s).max() > 0.05
    return bench, operator


def ticks_until(bench, operator, states, limit=500):
    for count in range(1, limit):
        operator()
        bench.tick()
        if bench.status.state in states:
            return count
    raise AssertionError(f"not within {limit} ticks, status {bench.status}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pressed": True}, "estop"),
        ({"held": False}, "deadman_released"),
    ],
)
def test_a_switch_stops_within_one_tick_and_latches_until_it_is_back_and_reset(watched, change, reason):
    bench, operator = watched
    vars(operator).update(change, ticks=0)
    assert ticks_until(bench, operator, ("STOP", "LATCHED")) == 1
    assert ticks_until(bench, operator, ("LATCHED",)) * bench.period_ns < 0.3e9
    assert bench.status.reason == reason
    assert not np.any(bench.out.command.velocities_rad_s)
    assert "expected a" in bench.executor.reset(bench.now_ns)
    vars(operator).update(held=True, pressed=False, ticks=0)
    bench.run(0.1, operator)
    assert bench.status.state == "LATCHED", "only a reset leads out"
    assert bench.executor.reset(bench.now_ns) is None
    assert bench.status.state == "HOLD"
    assert bench.violations == []


@pytest.mark.parametrize(("silenced", "reason"), [("pressed", "estop_lost"), ("held", "deadman_lost")])
def test_a_switch_that_falls_silent_stops_one_tick_after_its_age_limit(watched, silenced, reason):
    bench, operator = watched
    operator.ticks = 0
    operator()  # the last word
    setattr(operator, silenced, None)
    took_s = ticks_until(bench, operator, ("STOP", "LATCHED")) * bench.period_ns * 1e-9
    assert BOTH.max_age_s < took_s <= BOTH.max_age_s + 2 * bench.period_ns * 1e-9
    ticks_until(bench, operator, ("LATCHED",))
    assert bench.status.reason == reason
    assert "check its publisher" in bench.executor.reset(bench.now_ns)
    setattr(operator, silenced, silenced == "held")
    operator.ticks = 0
    operator()
    assert bench.executor.reset(bench.now_ns) is None
    assert bench.violations == []


@pytest.mark.parametrize(
    ("say", "sentence"),
    [
        (lambda e, t: None, "lawam/estop at least every"),
        (lambda e, t: e.estop(False, t), "lawam/deadman at least every 0.2 s, none came"),
        (lambda e, t: (e.estop(False, t), e.deadman(False, t)), "held dead-man"),
        (lambda e, t: (e.estop(True, t), e.deadman(True, t)), "released emergency stop"),
        (lambda e, t: (e.estop(False, t - 10**9), e.deadman(True, t)), "the last came 1.00 s ago"),
    ],
)
def test_activation_waits_for_the_operator(contract, urdf_text, new_bench, say, sentence):
    bench = new_bench(with_safety(contract, BOTH), urdf_text)
    bench.measure()
    say(bench.executor, bench.now_ns)
    with pytest.raises(ActivationRefused, match=sentence):
        bench.executor.activate(bench.now_ns)
    bench.executor.estop(False, bench.now_ns)
    bench.executor.deadman(True, bench.now_ns)
    bench.executor.activate(bench.now_ns)
    assert bench.status.state == "HOLD"


def test_where_nothing_is_required_a_pressed_emergency_stop_counts_all_the_same(bench):
    bench.run(1.0)
    assert bench.status.state == "HOLD", "nobody's silence counts"
    bench.executor.deadman(False, bench.now_ns)
    assert bench.tick().status.state == "HOLD"
    bench.executor.estop(True, bench.now_ns)
    bench.until(lambda: bench.status.state == "LATCHED", 0.02)
    assert bench.status.reason == "estop"
    assert "pressed" in bench.executor.reset(bench.now_ns)
    bench.executor.estop(False, bench.now_ns)
    assert bench.executor.reset(bench.now_ns) is None


def test_an_emergency_stop_during_deactivation_still_ends_inactive_and_at_rest(watched):
    bench, operator = watched
    bench.executor.deactivate(bench.now_ns)
    bench.tick()
    operator.pressed, operator.ticks = True, 0
    ticks_until(bench, operator, ("INACTIVE",))
    assert bench.violations == []

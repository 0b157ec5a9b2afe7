"""Where the time goes between an image and the command that uses its chunk."""

import pytest

from lawam_ros.policies.step_times import STEPS, TOTAL, StepClock, StepTimes, quantiles

MS = 1_000_000


def test_the_steps_of_a_chunk_add_up_to_the_whole_way():
    clock = StepClock(100 * MS)
    for step, at_ms in zip(
        ("arrival", "queue", "reference", "model", "reference", "first_command"), (103, 104, 105, 115, 116, 120), strict=True
    ):
        clock.done(step, at_ms * MS)
    assert clock.took_ns == {"arrival": 3 * MS, "queue": MS, "reference": 2 * MS, "model": 10 * MS, "first_command": 4 * MS}
    assert clock.total_ns == sum(clock.took_ns.values()) == 20 * MS


def test_the_report_has_every_step_and_nothing_before_the_first_chunk():
    times = StepTimes()
    assert times.report() == {}
    for total_ms in (10, 20, 90):
        clock = StepClock(0)
        clock.done("model", total_ms * MS)
        times.add(clock)
    report = times.report()
    assert set(report) == {f"step_ms_{name}_{q}" for name in (*STEPS, TOTAL) for q in ("p50", "p99")}
    assert report["step_ms_model_p50"] == report[f"step_ms_{TOTAL}_p50"] == pytest.approx(20.0)
    assert report["step_ms_queue_p99"] == 0.0


def test_quantiles_of_nothing_are_nothing():
    assert quantiles([]) == {} and quantiles([3.0]) == {"p50": 3.0, "p99": 3.0}

"""What a run of episodes comes to: one mapping for machines, one table for people."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lawam_ros.cli.run_figures import RunFigures, percentile, reaction_ms
from lawam_ros.contract.load import Contract

if TYPE_CHECKING:
    from lawam_ros.cli.episodes import EpisodeResult
    from lawam_ros.nodes.run_client import RunClient

_SLOW_CHUNK_SHARE = 0.5
_FEWEST_COMMANDS_SHARE = 0.95


def figures_of(client: "RunClient", violations: int) -> RunFigures:
    """What a client of the graph measured over a run."""
    measured, report = client.measurements, client.policy_report
    return RunFigures(
        chunk_ms_p50=_number(report.get("chunk_ms_p50")),
        chunk_ms_p99=_number(report.get("chunk_ms_p99")),
        observation_to_command_ms_p50=percentile([(used - seen) * 1e-6 for seen, used in measured.uses], 0.5),
        control_hz=round(measured.commands / measured.command_span_s, 1) if measured.command_span_s else None,
        reaction_ms_mean=reaction_ms(measured.uses),
        limit_violations=violations,
    )


def summarise(
    task: str, seed: int, delay_ms: float, results: "Sequence[EpisodeResult]", figures: RunFigures, films: Sequence[str]
) -> dict[str, Any]:
    """The JSON of ``lawam demo`` and ``lawam eval`` (docs/architecture.md, section 6); null where nothing was measured."""
    successes = sum(result.success for result in results)
    stage_names = sorted({name for result in results for name in result.stages})
    return {
        "task": task,
        "seed": seed,
        "episodes": len(results),
        "successes": successes,
        "success_interval": list(wilson_interval(successes, len(results))),
        "stages": {name: sum(result.stages.get(name, False) for result in results) for name in stage_names},
        **asdict(figures),
        "delay_ms": delay_ms,
        "episodes_detail": [
            {
                "seed": result.seed,
                "success": result.success,
                "reason": result.reason,
                "time_s": result.time_s,
                "final_error_m": _finite(result.final_error_m),
                "min_tcp_object_distance_m": _finite(result.min_tcp_object_distance_m),
                **({"command_hash": result.command_hash} if result.command_hash else {}),
            }
            for result in results
        ],
        "video": list(films),
    }


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % score interval of a success rate, as fractions."""
    z = 1.959964
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, round((centre - spread) / scale, 4)), min(1.0, round((centre + spread) / scale, 4))


def print_table(summary: dict[str, Any], note: str = "") -> None:
    """note: what else is to be told, as its last line."""
    print(f"\n{'seed':>7}  {'success':<8} {'reason':<14} {'time':>7}  {'error':>8}  {'closest':>8}")
    for row in summary["episodes_detail"]:
        error, closest = (f"{100 * v:.1f} cm" if v is not None else "-" for v in (row["final_error_m"], row["min_tcp_object_distance_m"]))
        success = "yes" if row["success"] else "no"
        print(f"{row['seed']:>7}  {success:<8} {row['reason']:<14} {row['time_s']:>5.1f} s  {error:>8}  {closest:>8}")
    low, high = summary["success_interval"]
    print(f"\nsuccess            {summary['successes']} of {summary['episodes']} (95 % interval {100 * low:.0f} to {100 * high:.0f} %)")
    print(f"stages             {', '.join(f'{name} {count}' for name, count in summary['stages'].items())}")
    print(f"chunk              p50 {_show(summary['chunk_ms_p50'], 'ms')}, p99 {_show(summary['chunk_ms_p99'], 'ms')}")
    print(f"image to command   p50 {_show(summary['observation_to_command_ms_p50'], 'ms')}")
    print(f"reaction           {_show(summary['reaction_ms_mean'], 'ms')} on average, from an event to the first command that knows of it")
    print(f"control            {_show(summary['control_hz'], 'Hz')}, {summary['limit_violations']} limit violations")
    for path in summary["video"]:
        print(f"video              {path}")
    if note:
        print(f"note               {note}")


def slowness(summary: dict[str, Any], contract: Contract) -> str:
    """What a run against the wall clock says of the machine: a sentence where it was too slow for the task, else nothing.

    Too slow: a chunk is computed for longer than half of the time it covers, or more than one command in twenty is missing.
    """
    chunk_ms, control_hz, due_hz = summary["chunk_ms_p50"], summary["control_hz"], 1e9 / contract.robot.tick_period_ns
    policy = contract.task.policy
    found = []
    if chunk_ms is not None and chunk_ms > _SLOW_CHUNK_SHARE * policy.horizon_s * 1e3:
        found.append(f"a chunk takes {chunk_ms:.0f} ms and covers {policy.horizon_s * 1e3:.0f} ms of motion")
    if control_hz is not None and control_hz < _FEWEST_COMMANDS_SHARE * due_hz:
        found.append(f"{control_hz:.0f} of {due_hz:.0f} commands a second were seen")
    if not found:
        return ""
    return f"{' and '.join(found)}: this machine is too busy or too slow for real time; 'lawam eval' runs in lock step and does not mind"


def _show(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f} {unit}"


def _number(text: str | None) -> float | None:
    return None if text is None else round(float(text), 2)


def _finite(value: float | None) -> float | None:
    return round(value, 4) if value is not None and math.isfinite(value) else None

"""What a run of episodes comes to: one mapping for machines, one table for people."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawam_ros.cli.episodes import EpisodeResult
    from lawam_ros.nodes.run_client import RunClient


def summarise(
    task: str, seed: int, delay_ms: float, results: "Sequence[EpisodeResult]", client: "RunClient", violations: int, films: Sequence[str]
) -> dict[str, Any]:
    """The JSON of ``lawam demo`` (docs/architecture.md, section 6); null where nothing was measured."""
    successes = sum(result.success for result in results)
    measured = client.measurements
    report = client.policy_report
    stage_names = sorted({name for result in results for name in result.stages})
    return {
        "task": task,
        "seed": seed,
        "episodes": len(results),
        "successes": successes,
        "success_interval": list(wilson_interval(successes, len(results))),
        "stages": {name: sum(result.stages.get(name, False) for result in results) for name in stage_names},
        "chunk_ms_p50": _number(report.get("chunk_ms_p50")),
        "chunk_ms_p99": _number(report.get("chunk_ms_p99")),
        "observation_to_command_ms_p50": _median(measured.observation_to_command_ms),
        "control_hz": round(measured.commands / measured.command_span_s, 1) if measured.command_span_s else None,
        "limit_violations": violations,
        "delay_ms": delay_ms,
        "reaction_ms_mean": None,
        "episodes_detail": [
            {
                "seed": result.seed,
                "success": result.success,
                "reason": result.reason,
                "time_s": result.time_s,
                "final_error_m": _finite(result.final_error_m),
                "min_tcp_object_distance_m": _finite(result.min_tcp_object_distance_m),
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


def print_table(summary: dict[str, Any]) -> None:
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
    print(f"control            {_show(summary['control_hz'], 'Hz')}, {summary['limit_violations']} limit violations")
    for path in summary["video"]:
        print(f"video              {path}")


def _show(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f} {unit}"


def _number(text: str | None) -> float | None:
    return None if text is None else round(float(text), 2)


def _finite(value: float | None) -> float | None:
    return round(value, 4) if value is not None and math.isfinite(value) else None


def _median(samples: Sequence[float]) -> float | None:
    return round(sorted(samples)[len(samples) // 2], 2) if samples else None

"""``lawam bench model``: speed, work and fidelity of inference next to the plain computation."""

import argparse
import json
import platform
from typing import TYPE_CHECKING, Any

from lawam_ros.contract.errors import EXIT_DONE, EnvironmentLacks, UserMistake

if TYPE_CHECKING:
    from lawam_ros.model.benchmark import Comparison, Setting

SIZES = {"tiny": "tiny", "2b": "lawam_2b"}
DESCRIPTION = """\
Random weights and made-up observations; nothing is downloaded. Two ways on one set of weights, taking turns: "eager", the released
computation transcribed plainly, and the engine that the policy node runs. Then the engine's actions against eager in float32.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("model", help="inference: milliseconds, operations, memory, fidelity", description=DESCRIPTION)
    parser.add_argument("--size", choices=SIZES, default="tiny", help="tiny, or 2b as released, 9 GB of memory (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "bfloat16_head"), help="(default: float32 on cpu, bfloat16 on cuda)")
    parser.add_argument("--views", default="1,2,3", metavar="N,N", help="numbers of camera views, one primary (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="denoising steps (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, metavar="HZ", help="actions per second (default: %(default)s)")
    parser.add_argument("--repeats", type=int, help="chunks measured each way (default: 200 on cuda; on cpu 30, at 2b 5)")
    parser.add_argument("--compile", action="store_true", help="fuse the engine's kernels with torch.compile; takes minutes to begin")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's)")
    parser.add_argument(
        "--observations", type=int, default=1000, help="of the fidelity check at tiny size, 0 for none (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0. Raises UserMistake for numbers that cannot be, EnvironmentLacks without the device."""
    import torch
    from tqdm import tqdm

    from lawam_ros.model.benchmark import Setting, compare, fidelity, machine_rates
    from lawam_ros.model.config import load_model_config

    if args.device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentLacks("--device cuda: torch sees no CUDA device; use --device cpu or install torch for your GPU")
    if args.threads:
        torch.set_num_threads(args.threads)
    config, dtype = load_model_config(SIZES[args.size]), args.dtype or ("bfloat16" if args.device == "cuda" else "float32")
    repeats = args.repeats or (200 if args.device == "cuda" else 5 if args.size == "2b" else 30)
    if args.steps < 1 or repeats < 1 or args.rate <= 0 or args.observations < 0:
        raise UserMistake("expected --steps, --repeats and --rate above 0 and --observations not below 0")
    results = []
    with tqdm(bar_format="{desc} [{elapsed}]", leave=False) as bar:
        progress = bar.set_description_str
        rates = machine_rates(args.device, torch.bfloat16 if dtype != "float32" else torch.float32)
        for views in _views(args.views):
            setting = Setting(config, args.device, dtype, views, args.steps, args.rate, repeats, compiled=args.compile)
            results.append(_as_mapping(setting, compare(setting, progress), rates))
        faithful = None
        if args.observations:
            tiny = load_model_config("tiny")
            faithful = fidelity(tiny, dtype, 2, args.steps, args.rate, args.observations, progress)
    report = {
        "machine": _machine(args.device),
        "size": args.size,
        "dtype": dtype,
        "steps": args.steps,
        "rate_hz": args.rate,
        "compiled": args.compile,
    }
    report |= {"repeats": repeats, "machine_rates": rates, "results": results, "fidelity": faithful}
    print(as_text(report))
    if args.json:
        print(json.dumps(report))
    return EXIT_DONE


def _views(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 8 for part in parts):
        raise UserMistake(f"--views: expected numbers from 1 to 8 such as 1,2,3, got {text!r}")
    return [int(part) for part in parts]


def _machine(device: str) -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {"device": device, "name": name, "torch": torch.__version__, "threads": torch.get_num_threads()}


def _as_mapping(setting: "Setting", result: "Comparison", rates: dict[str, float]) -> dict[str, Any]:
    from lawam_ros.model.benchmark import floor_ms

    ways: dict[str, dict[str, Any]] = {}
    for name, way in (("eager", result.eager), ("engine", result.engine)):
        stages = {stage: way.percentiles(stage) for stage in way.timings}
        ways[name] = {"ms": stages, "flops": dict(way.flops) | {"total": sum(way.flops.values())}}
    eager_ms, engine_ms = (ways[name]["ms"] for name in ("eager", "engine"))
    return {
        "views": setting.views,
        "prompt_tokens": result.prompt_tokens,
        "valid_steps": result.valid_steps,
        "rows": setting.config.flow.action_horizon,
        **ways,
        "speedup": {stage: eager_ms[stage]["p50"] / engine_ms[stage]["p50"] for stage in engine_ms if stage in eager_ms},
        "flops_ratio": {stage: ways["eager"]["flops"][stage] / ways["engine"]["flops"][stage] for stage in ways["engine"]["flops"]},
        "floor_ms": floor_ms(result.engine.flops, result.stage_weight_bytes, rates),
        "stage_weight_bytes": dict(result.stage_weight_bytes),
        "weight_bytes": result.weight_bytes,
        "peak_bytes": result.peak_bytes,
        "max_abs_difference": result.max_abs_difference,
    }


def as_text(report: dict[str, Any]) -> str:
    """The report as tables for people."""
    machine, rates = report["machine"], report["machine_rates"]
    lines = [
        f"{report['size']} in {report['dtype']} on {machine['device']} ({machine['name']}, torch {machine['torch']}, "
        f"{machine['threads']} threads), {report['steps']} steps, {report['repeats']} repeats each way, taking turns",
        f"best seen here: {rates['operations_per_s'] / 1e9:,.0f} GFLOP/s, {rates['bytes_per_s'] / 1e9:,.1f} GB/s",
    ]
    for result in report["results"]:
        lines += ["", *_table(result)]
    faithful = report["fidelity"]
    if faithful:
        lines += [
            "",
            f"fidelity at tiny size in {faithful['dtype']} against eager float32, {faithful['observations']} observations: "
            f"cosine at least {faithful['cosine_min']:.7f}, largest difference {faithful['max_abs_difference']:.2e}",
        ]
    return "\n".join(lines)


def _table(result: dict[str, Any]) -> list[str]:
    lines = [
        f"{result['views']} view(s), {result['prompt_tokens']} tokens, {result['valid_steps']} of {result['rows']} actions valid; "
        f"weights {result['weight_bytes'] / 1e9:.2f} GB, peak {result['peak_bytes'] / 1e9:.2f} GB, "
        f"largest difference of actions {result['max_abs_difference']:.1e}",
        f"  {'stage':<12} {'eager p50':>11} {'engine p50':>11} {'p90':>9} {'p99':>9} {'max':>9} {'floor':>9} ms {'speed-up':>9} "
        f"{'eager':>9} {'engine':>9} GFLOP",
    ]
    eager, engine = result["eager"], result["engine"]
    for stage, own in engine["ms"].items():
        other = eager["ms"].get(stage, {}).get("p50", float("nan"))
        times = (other, own["p50"]), (own["p90"], own["p99"], own["max"], result["floor_ms"].get(stage, float("nan")))
        flops = [f"{way['flops'][stage] / 1e9:>9,.1f}" if stage in way["flops"] else "" for way in (eager, engine)]
        lines.append(
            f"  {stage:<12} {' '.join(f'{ms:>11.2f}' for ms in times[0])} {' '.join(f'{ms:>9.2f}' for ms in times[1])}    "
            f"{result['speedup'].get(stage, float('nan')):>8.2f}x {' '.join(flops)}"
        )
    return lines

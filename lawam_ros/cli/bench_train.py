"""``lawam bench train``: samples per second of training, and how much of the time it waits for data."""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from lawam_ros.cli.train_stages import add_run_arguments, check_numbers, plan_of, ready_stage
from lawam_ros.contract.errors import EXIT_DONE, UserMistake


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "train",
        help="samples per second of training, share of time waiting for data",
        description="Runs some steps of a stage on real data, in the loop of 'lawam train', and measures them. Nothing is kept.",
    )
    add_run_arguments(parser)
    parser.add_argument("--stage", choices=("stage1", "stage2"), default="stage2", help="which stage (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the measurement (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0. Raises UserMistake for a wrong call."""
    check_numbers(args)
    if args.warmup < 1:
        raise UserMistake(f"expected --warmup of at least 1, got {args.warmup}")
    args.steps = args.steps or 20
    from lawam_ros.training.process_setup import keep_freed_memory, let_threads_sleep

    let_threads_sleep()
    if args.device == "cpu":
        keep_freed_memory()
    import torch

    from lawam_ros.training.distributed import joined_processes
    from lawam_ros.training.throughput import measure_throughput

    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="lawam_bench_") as folder, joined_processes(args.device) as processes:
        plan = plan_of(args, Path(folder) / "run")
        stage = ready_stage(args.stage, plan, processes)
        found = measure_throughput(plan, stage, processes, args.warmup, args.steps, Path(folder))
        report = {
            "stage": args.stage,
            "device": torch.cuda.get_device_name(processes.device) if processes.device.type == "cuda" else "cpu",
            "processes": processes.size,
            "precision": args.precision,
            "batch_size": plan.recipe.batch_size,
            "accumulate": plan.recipe.settings.accumulate,
            "workers": plan.workers,
            **asdict(found),
        }
    if processes.first:
        memory = "" if found.peak_memory_gb is None else f", {found.peak_memory_gb:.1f} GB of the device"
        print(f"{found.samples_per_s:.1f} samples/s, {100 * found.waiting_share:.1f} % of the time waiting for data{memory}")
        if args.json:
            print(json.dumps(report))
    return EXIT_DONE

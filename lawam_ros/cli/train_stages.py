"""``lawam train stage1`` and ``lawam train stage2``: a model file and LeRobot folders in, a checkpoint out."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lawam_ros.contract.errors import EXIT_DONE, UserMistake
from lawam_ros.contract.paths import assets_dir

if TYPE_CHECKING:
    from lawam_ros.model.config import ModelConfig
    from lawam_ros.training.distributed import Processes
    from lawam_ros.training.run_plan import RunPlan
    from lawam_ros.training.stage_loop import ReadyStage
    from lawam_ros.training.subgoals import SubgoalSample

PRECISIONS = ("fp32", "bf16")
_EXAMPLES = {
    "stage1": """examples:
  lawam train stage1 --model tiny --data demos/train --out runs/world_model
  torchrun --nproc-per-node 8 -m lawam_ros.cli.main train stage1 --model lawam_2b --recipe official \\
      --data robots,humans --init dinov3-vitb16/ --precision bf16 --device cuda --out runs/lam""",
    "stage2": """examples:
  lawam train stage2 --model tiny --init runs/world_model/checkpoint --data demos/train --out runs/policy
  lawam train stage2 --init CHECKPOINT --data ten_demonstrations --out runs/adapted        (fine-tuning)
  lawam train stage2 --model lawam_2b --recipe official --init Qwen3-VL-2B-Instruct/,dinov3-vitb16/,runs/lam/checkpoint \\
      --data demos --precision bf16 --device cuda --out runs/large
  ... --set trained_delay_steps=4          real-time chunking with prefixes of up to 4 steps
  ... --set enable_flow_h_t1_scheduled_sampling=true --set flow_cfg.cfg_drop_prob=0.1""",
}


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    texts = {
        "stage1": ("latent actions and the world model, from video", "Trains the latent action model on pairs of frames."),
        "stage2": ("the whole policy, or fine-tuning of one", "Trains language adapter, latent world model and action expert together."),
    }
    for stage, (summary, description) in texts.items():
        parser = commands.add_parser(
            stage,
            help=summary,
            description=description + " A run that exists in --out goes on where it stopped.",
            epilog=_EXAMPLES[stage],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_run_arguments(parser)
        parser.add_argument(
            "--out", type=Path, required=True, help="folder for state, metrics, plots and checkpoint; an existing run goes on"
        )
        parser.set_defaults(run=run, stage=stage)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What decides a run, apart from where it writes."""
    add = parser.add_argument
    add("--data", required=True, metavar="DIR[,DIR...]", help="LeRobot v3 folders; rates and robots may differ, batches mix them")
    add("--val", default="", metavar="DIR[,DIR...]", help="folders for validation (default: the last episodes of the data)")
    add("--model", help="model file in config/models or a path (default: the checkpoint's of --init, else tiny)")
    add(
        "--init",
        default="",
        metavar="PATH[,PATH...]",
        help="initial weights: checkpoints, stage-1 checkpoints, base models; later ones win",
    )
    add(
        "--only-expert",
        action="store_true",
        help="stage 2 from a checkpoint: the action expert alone, on what the rest says of every observation once; much less time a step",
    )
    add("--recipe", help="file in config/training or a path (default: tiny for tiny models and their checkpoints, else official)")
    add("--steps", type=int, help="optimiser steps (default: the recipe's)")
    add("--batch-size", type=int, help="samples per batch and process (default: the recipe's)")
    add("--accumulate", type=int, help="batches per optimiser step (default: the recipe's)")
    add("--eval-interval", type=int, help="optimiser steps between evaluations (default: the recipe's)")
    add("--precision", choices=PRECISIONS, default="fp32", help="bf16: matrix products in bfloat16, the action expert in float32")
    add("--seed", type=int, default=2026, help="of fresh weights, batches and noise (default: %(default)s)")
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--embodiment", metavar="TAG:ID", help="embodiment of all data instead of their own, for instance my_arm:30; fresh ids start fresh")
    add("--statistics", choices=("data", "init"), default="data", help="normalise with the new data's ranges or the checkpoint's of --init")
    add(
        "--cache",
        choices=("auto", "on", "off"),
        default="auto",
        help="pictures and frozen features on disk; auto: up to 20 GB, no augmentation",
    )
    add("--workers", type=int, help="threads that prepare batches (default: 2 with a cache, else the cores)")
    add("--threads", type=int, help="threads for matrix products on the CPU (default: torch's choice)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="one key of the model file's action_model section, or flow_cfg.KEY")


def run(args: argparse.Namespace) -> int:
    """Exit code; prints the folder of the checkpoint last."""
    check_numbers(args)
    # torch takes seconds to import; mistakes in the call are told before.
    from lawam_ros.training.process_setup import cpu_multiplies_bfloat16, keep_freed_memory, let_threads_sleep

    let_threads_sleep()
    if args.device == "cpu":
        keep_freed_memory()
    if args.device == "cpu" and args.precision == "bf16" and not cpu_multiplies_bfloat16():
        print("--precision bf16: this CPU has no instructions for it and will be slower than with fp32", file=sys.stderr)
    import torch

    from lawam_ros.training.distributed import joined_processes
    from lawam_ros.training.stage_loop import run_stage

    if args.threads:
        torch.set_num_threads(args.threads)
    plan = plan_of(args)
    with joined_processes(args.device) as processes:
        checkpoint = run_stage(plan, ready_stage(args.stage, plan, processes), processes)
    if processes.first:
        print(checkpoint)
    return EXIT_DONE


def ready_stage(stage: str, plan: "RunPlan", processes: "Processes") -> "ReadyStage":
    """Model, data and losses of "stage1" or "stage2"."""
    from lawam_ros.training.stage1_run import ready_stage1
    from lawam_ros.training.stage2_run import ready_stage2

    return {"stage1": ready_stage1, "stage2": ready_stage2}[stage](plan, processes)


def check_numbers(args: argparse.Namespace) -> None:
    for name in ("steps", "batch_size", "accumulate", "eval_interval", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserMistake(f"expected --{name.replace('_', '-')} of at least 1, got {value}")
    if args.workers is not None and args.workers < 0:
        raise UserMistake(f"expected --workers of at least 0, got {args.workers}")


def plan_of(args: argparse.Namespace, out: Path | None = None) -> "RunPlan":
    """Typed plan of the arguments of :func:`add_run_arguments`. Raises UserMistake naming what is wrong."""
    import os

    from lawam_ros.training.run_plan import RunPlan
    from lawam_ros.training.stage_recipe import load_recipe

    init = tuple(weights_path(part) for part in args.init.split(",") if part)
    config, name = _model(args, init)
    config = with_overrides(config, args.set)
    recipe_name = args.recipe or ("tiny" if name.startswith("tiny") else "official")
    recipe = load_recipe(recipe_name, args.stage).with_size(args.steps, args.batch_size, args.accumulate, args.eval_interval)
    if args.only_expert:
        if args.stage != "stage2" or not init:
            raise UserMistake("--only-expert: expected stage 2 and the checkpoint of a policy in --init; nothing else would be trained")
        recipe = replace(recipe, freeze=replace(recipe.freeze, only_action_expert=True))
    workers = args.workers if args.workers is not None else (2 if args.cache != "off" and not recipe.augments else os.cpu_count() or 1)
    return RunPlan(
        data=_folders(args.data, "--data"),
        validation=_folders(args.val, "--val"),
        out=out or args.out,
        config=replace(config, centre_crop_90=recipe.crop) if args.stage == "stage2" else config,
        recipe=recipe,
        recipe_name=recipe_name,
        init=init,
        seed=args.seed,
        embodiment=_embodiment(args.embodiment),
        statistics=_statistics(args, init),
        bf16=args.precision == "bf16",
        workers=workers,
        cache=args.cache,
        draw=draw_subgoals,
    )


def with_overrides(config: "ModelConfig", overrides: Sequence[str]) -> "ModelConfig":
    """The model's configuration with keys of its ``action_model`` section set, ``flow_cfg.KEY`` for the action expert's."""
    from lawam_ros.model.config import TRAINING_KEYS

    training: dict[str, Any] = dict(config.training)
    flow: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals:
            raise UserMistake(f"--set: expected KEY=VALUE, got {override!r}")
        value = yaml.safe_load(text)
        if key in _FREE_FLOW_KEYS:
            name = _FREE_FLOW_KEYS[key]
            switch = isinstance(getattr(config.flow, name), bool)
            if isinstance(value, bool) != switch or not isinstance(value, int | float):
                raise UserMistake(f"--set {key}: expected {'true or false' if switch else 'a number'}, got {text!r}")
            flow[name] = value
        elif key in TRAINING_KEYS:
            training[key] = value
        else:
            raise UserMistake(f"--set: unknown key {key!r}; expected one of {', '.join([*sorted(TRAINING_KEYS), *_FREE_FLOW_KEYS])}")
    return replace(config, training=training, flow=replace(config.flow, **flow))


_FREE_FLOW_KEYS = {
    f"flow_cfg.{key}": {"horizon_sec": "horizon_s"}.get(key, key)
    for key in (
        "cfg_drop_prob", "dropout", "horizon_sec", "noise_beta_alpha", "noise_beta_beta", "noise_s", "num_inference_steps",
        "token_independent_noise",
    )
}  # fmt: skip
"""What can be changed without changing the shapes of the action expert."""


def draw_subgoals(path: Path, samples: "list[SubgoalSample]") -> None:
    """A sheet of predicted against true subgoals as a picture file."""
    from lawam_ros.viz.subgoal_sheet import subgoal_row, subgoal_sheet, write_png

    rows = [subgoal_row(one.frame, one.now, one.true, one.predicted, one.grid_hw) for one in samples]
    write_png(path, subgoal_sheet(rows))


def weights_path(text: str) -> Path:
    """A path, or the name of a shipped checkpoint."""
    shipped = assets_dir() / text
    return shipped if not Path(text).exists() and shipped.is_dir() else Path(text)


def _model(args: argparse.Namespace, init: tuple[Path, ...]) -> tuple["ModelConfig", str]:
    """Configuration and its name: of --model, else of the first checkpoint of --init, else tiny."""
    from lawam_ros.model.checkpoint import open_folder
    from lawam_ros.model.config import load_model_config
    from lawam_ros.training.initial_weights import is_checkpoint

    if args.model:
        return load_model_config(args.model), Path(args.model).stem
    for path in init:
        if is_checkpoint(path):
            config = open_folder(path).config
            return config, "tiny" if config.flow.hidden_dim <= 256 else path.name
    return load_model_config("tiny"), "tiny"


def _statistics(args: argparse.Namespace, init: tuple[Path, ...]) -> dict[str, Any] | None:
    if args.statistics == "data":
        return None
    from lawam_ros.training.initial_weights import checkpoint_statistics

    for path in init:
        statistics = checkpoint_statistics(path)
        if statistics is not None:
            return statistics
    raise UserMistake("--statistics init: expected a checkpoint with dataset_statistics.json in --init, found none")


def _folders(text: str, option: str) -> tuple[Path, ...]:
    folders = tuple(Path(part) for part in text.split(",") if part)
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise UserMistake(f"{option}: expected LeRobot folders separated by commas, found nothing at {', '.join(missing)}")
    return folders


def _embodiment(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    tag, colon, number = text.rpartition(":")
    if not colon or not tag or not number.isdigit():
        raise UserMistake(f"--embodiment: expected TAG:ID such as my_arm:30, got {text!r}")
    return tag, int(number)

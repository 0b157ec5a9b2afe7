"""``lawam train``: weights out of demonstrations."""

import argparse
import os
from pathlib import Path

from lawam_ros.cli import train_ablations, train_stages
from lawam_ros.contract.errors import EXIT_DONE, UserMistake
from lawam_ros.contract.load import load_contract


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("train", help="train a policy", description="Train LaWAM on demonstrations.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    tiny = commands.add_parser(
        "tiny",
        help="the small model of the demo, on a CPU",
        description="Trains the small LaWAM: world model, then policy, with a fixed recipe. A killed run goes on with "
        "--resume, and so does one that shall have more --minutes or learn from datasets added since.",
    )
    tiny.add_argument("--task", default="franka_pick_place", help="task whose policy section holds for all data (default: %(default)s)")
    tiny.add_argument("--data", type=Path, required=True, help="folder with LeRobot datasets named train... and val... ('lawam data make')")
    tiny.add_argument("--out", type=Path, required=True, help="folder for state, metrics and checkpoint")
    tiny.add_argument("--model", help="model file in config/models or a path to one (default: the checkpoint's of --init, else tiny)")
    tiny.add_argument(
        "--init",
        default="",
        help="checkpoint to train further, a folder or a shipped name: stage 2 only, in its own ranges",
    )
    tiny.add_argument(
        "--only-expert",
        action="store_true",
        help="with --init: the action expert alone, on what the rest says of every observation once; a quarter of the time a step",
    )
    tiny.add_argument("--minutes", type=float, help="time for training steps; default: the whole recipe")
    tiny.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads for matrix products (default: all cores)")
    tiny.add_argument("--resume", action="store_true", help="go on with the run in --out")
    tiny.set_defaults(run=run_tiny)
    train_stages.add_parsers(commands)
    train_ablations.add_parser(commands)


def run_tiny(args: argparse.Namespace) -> int:
    """Exit code; prints the folder of the checkpoint last."""
    if args.minutes is not None and args.minutes <= 0.0:
        raise UserMistake(f"expected a positive number of --minutes, got {args.minutes:g}")
    if args.threads < 1:
        raise UserMistake(f"expected at least one of --threads, got {args.threads}")
    if args.init and args.model:
        raise UserMistake("--model and --init exclude each other: a checkpoint brings its model")
    if args.only_expert and not args.init:
        raise UserMistake("--only-expert: expected --init with the checkpoint whose action expert is trained further")
    contract = load_contract(args.task)
    # torch takes seconds to import; mistakes in the call are told before.
    from lawam_ros.training.process_setup import keep_freed_memory, let_threads_sleep

    let_threads_sleep()
    keep_freed_memory()
    import torch

    from lawam_ros.model.checkpoint import open_folder
    from lawam_ros.model.config import load_model_config
    from lawam_ros.training.tiny_recipe import TinyRecipe, further_training, with_minutes
    from lawam_ros.training.tiny_run import tiny_data
    from lawam_ros.training.tiny_training import train_tiny

    torch.set_num_threads(args.threads)
    init = train_stages.weights_path(args.init) if args.init else None
    config = open_folder(init).config if init else load_model_config(args.model or "tiny")
    recipe = with_minutes(further_training(args.only_expert) if init else TinyRecipe(), args.minutes)
    print(train_tiny(contract, config, tiny_data(args.data), args.out, recipe, args.resume, init=init))
    return EXIT_DONE

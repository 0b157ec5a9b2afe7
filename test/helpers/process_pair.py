"""One of two processes of a distributed training: gradients of its half of a batch, then a short run of the command.

Arguments: folder with model.yaml, recipe.yaml and ten_hz/. The place among the processes comes from the environment, as torchrun sets it.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from lawam_ros.cli.main import main
from lawam_ros.model.config import load_model_config
from lawam_ros.model.lawam import build_model
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.training.batches import policy_batch
from lawam_ros.training.distributed import joined_processes, shared
from lawam_ros.training.flow_draws import FlowDraws, draw_flow
from lawam_ros.training.freezing import FreezePolicy, stage2_parameters, train_only
from lawam_ros.training.policy_options import policy_options
from lawam_ros.training.recordings import Window, decoded_pictures, make_source, open_recording, statistics_of, window_rows
from lawam_ros.training.stage2 import PolicyLosses

STARTS = (0, 3, 7, 9)


def gradients(folder: Path, rank: int, size: int, processes=None) -> dict[str, torch.Tensor]:
    """Gradients of the part of a fixed batch that belongs to ``rank``, averaged over the processes if there are several."""
    torch.set_num_threads(1)
    config = load_model_config(folder / "model.yaml")
    torch.manual_seed(3)
    model = build_model(config)
    recording = open_recording(folder / "ten_hz", config)
    starts, future = window_rows(recording, Window())
    pictures = decoded_pictures(recording, config)
    source = make_source(recording, statistics_of([recording])["franka"], pictures, starts, future)
    options = policy_options(config.training, config.flow.action_horizon)
    parameters = stage2_parameters(model, FreezePolicy())
    train_only(model, parameters)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    draws = draw_flow(config.flow, options, torch.full((len(STARTS),), 4), torch.Generator().manual_seed(4))
    mine = range(rank, len(STARTS), size)
    batch = policy_batch(config, [source], [(0, STARTS[i]) for i in mine], PromptEncoder(config))
    module = PolicyLosses(model, options)
    wrapped = shared(module, processes) if processes else module
    losses = wrapped(batch, FlowDraws(draws.noise[mine], draws.flow_time[mine]), 0)
    losses["total"].backward()
    return {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}


def command(folder: Path, out: str, *more: str) -> int:
    fixed = ["--data", str(folder / "ten_hz"), "--model", str(folder / "model.yaml"), "--recipe", str(folder / "recipe.yaml")]
    return main(["train", "stage2", *fixed, "--out", str(folder / out), "--steps", "3", "--workers", "0", *more])


def run(folder: Path) -> int:
    with joined_processes("cpu") as processes:
        found = gradients(folder, processes.rank, processes.size, processes)
        if processes.first:
            save_file(found, folder / "gradients.safetensors")
    return command(folder, "pair")


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))

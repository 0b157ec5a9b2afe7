"""Two processes train what one would: the same gradients, and the same losses of the command."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from process_pair import command, gradients
from safetensors.torch import load_file
from toy_training import one_thread, write_dataset, write_model, write_recipe

from lawam_ros.training.metrics import read_metrics

HELPERS = Path(__file__).parents[2] / "helpers"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Folder in which two processes have finished."""
    one_thread()
    folder = tmp_path_factory.mktemp("pair")
    write_dataset(folder / "ten_hz")
    write_model(folder / "model.yaml")
    write_recipe(folder / "recipe.yaml")
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}
    place |= {"PYTHONPATH": os.pathsep.join([str(HELPERS), str(HELPERS.parents[1]), os.environ.get("PYTHONPATH", "")])}
    started = [
        subprocess.Popen(
            [sys.executable, str(HELPERS / "process_pair.py"), str(folder)],
            env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    return folder


def test_two_processes_get_the_gradients_of_one(pair):
    """Equal numbers of valid entries in both halves, given noise and flow times."""
    whole, shared = gradients(pair, 0, 1), load_file(pair / "gradients.safetensors")
    assert set(shared) == set(whole) and len(whole) > 100
    for name, gradient in whole.items():
        torch.testing.assert_close(shared[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_two_processes_run_the_command_as_one_with_accumulation(pair):
    """The parts of a step are the same however they are shared out, dropout included; only the first process writes."""
    assert command(pair, "one", "--accumulate", "2") == 0
    figures = [
        {(step, name): value for _, step, _, name, value in read_metrics(pair / run / "metrics.csv") if name not in ("waiting",)}
        for run in ("pair", "one")
    ]
    assert set(figures[0]) == set(figures[1])
    for key, value in figures[1].items():
        assert figures[0][key] == pytest.approx(value, rel=1e-4), key
    assert (pair / "pair" / "checkpoint" / "final_model" / "model.safetensors").is_file()

"""The whole graph in real processes, for tests."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lawam_ros import bringup
from lawam_ros.cli.simulated_run import SimulatedRun, simulated_run
from lawam_ros.contract.records import JointCommand
from lawam_ros.nodes.run_client import RunClient

TASK = "franka_pick_place"


@dataclass(frozen=True)
class Graph:
    """A running graph and every set-point seen."""

    run: SimulatedRun
    commands: list[JointCommand]

    @property
    def client(self) -> RunClient:
        return self.run.client

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Seconds until the condition held; fails naming what was waited for and the state it ended in."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < seconds, f"waited {seconds} s for {what}; last status {self.client.status}"
            time.sleep(0.005)
        took_s = time.monotonic() - started
        print(f"{what}: {took_s * 1e3:.0f} ms")
        return took_s

    def state(self) -> str:
        return self.client.status.state if self.client.status else ""


@contextmanager
def running_graph(checkpoint: str, delay_s: float = 0.0, seed: int = 12000) -> Iterator[Graph]:
    """Pick-and-place with the world reset to ``seed``, the executor not yet active."""
    values = bringup.defaults(TASK) | {"checkpoint": checkpoint, "seed": str(seed), "view": "false"}
    commands: list[JointCommand] = []
    with simulated_run(TASK, values, delay_s, on_command=commands.append) as run:
        run.client.reset_world(seed)
        yield Graph(run, commands)

"""The whole graph in real processes, for tests."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lawam_ros import bringup
from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.cli.episodes import wait_until_up
from lawam_ros.cli.process_group import ProcessGroup
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import JointCommand
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.nodes.run_client import RunClient

TASK = "franka_pick_place"


@dataclass
class Graph:
    """A running graph: its contract, processes, client, every set-point seen, and the judge of their limits."""

    contract: Contract
    group: ProcessGroup
    client: RunClient
    commands: list[JointCommand]
    checker: LimitChecker
    domain: int

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Seconds until the condition held; fails naming what was waited for and the state it ended in."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < seconds, f"waited {seconds} s for {what}; last status {self.client.status}"
            time.sleep(0.005)
        return time.monotonic() - started

    def state(self) -> str:
        return self.client.status.state if self.client.status else ""


@contextmanager
def running_graph(checkpoint: str, added_delay_s: float = 0.0, seed: int = 12000) -> Iterator[Graph]:
    """Starts the nodes of pick-and-place on a domain of their own, the executor not yet active."""
    values = bringup.defaults(TASK) | {"checkpoint": checkpoint, "seed": str(seed), "view": "false"}
    contract = bringup.contract_for(TASK, values)
    domain = ReservedDomain()
    variables = bringup.environment("sim") | {"ROS_DOMAIN_ID": str(domain.number)}
    os.environ.update(variables)
    extra = {"chunk_executor": {"autostart": False}, "policy": {"added_delay_s": added_delay_s}}
    nodes = tuple(
        bringup.NodeSpec(n.executable, {**n.parameters, **extra.get(n.executable, {})}, n.respawn) for n in bringup.nodes_for(TASK, values)
    )
    commands: list[JointCommand] = []
    checker = LimitChecker(stacked_limits([arm.limits for arm in contract.robot.arms]))

    def on_command(c: JointCommand) -> None:
        commands.append(c)
        checker.add(c.stamp_ns, c.positions_rad, c.velocities_rad_s, c.accelerations_rad_s2)

    with ProcessGroup(nodes, "", variables) as group:
        client = RunClient(contract, "", domain.number, on_command)
        try:
            wait_until_up(client, group, nodes, lambda _: None)
            assert client.configure_executor()
            client.reset_world(seed)
            yield Graph(contract, group, client, commands, checker, domain.number)
        finally:
            client.close()
            domain.release()

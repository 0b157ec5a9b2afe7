"""The graph of a task in simulation, up and watched, ready for episodes."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from lawam_ros import bringup
from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.cli.episodes import wait_until_up
from lawam_ros.cli.process_group import ProcessGroup
from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.transport import ACQUAINTED_S
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.nodes.run_client import RunClient


@dataclass(frozen=True)
class SimulatedRun:
    """contract, processes, client of the graph, the independent judge of every set-point, and the ROS domain it all runs on."""

    contract: Contract
    group: ProcessGroup
    client: RunClient
    checker: LimitChecker
    domain: int


@contextmanager
def simulated_run(
    task: str,
    values: Mapping[str, str],
    delay_s: float = 0.0,
    domain: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    on_command: Callable[[JointCommand], None] = lambda _: None,
    lockstep_timeout_s: float | None = None,
    losses: str = "",
) -> Iterator[SimulatedRun]:
    """Starts the nodes of a task on a domain of their own; the executor is configured, not yet active. Everything ends with the block.

    values: every launch argument. delay_s: added to each chunk. domain: a certain ROS domain instead of a free one. say: progress texts.
    on_command: sees each set-point, in a thread of the client's. lockstep_timeout_s: how long lock step waits for an answer.
    losses: what the simulated robot does not send, a parameter of ``sim``. Raises LawamError with a node's last words when the graph does
    not come up.
    """
    contract = bringup.contract_for(task, values)
    nodes = tuple(_for_runner(node, delay_s, lockstep_timeout_s, losses) for node in bringup.nodes_for(task, values))
    checker = LimitChecker(stacked_limits([arm.limits for arm in contract.robot.arms]))

    def judge(command: JointCommand) -> None:
        checker.add(command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2)
        on_command(command)

    reserved = ReservedDomain(domain)
    variables = bringup.environment("sim", values["clock"]) | {"ROS_DOMAIN_ID": str(reserved.number)}
    os.environ.update(variables)  # the client lives in this process
    try:
        with ProcessGroup(nodes, values["namespace"], variables) as group:
            client = RunClient(contract, values["namespace"], reserved.number, judge)
            try:
                wait_until_up(client, group, nodes, say)
                if values["clock"] == "steady":  # in real time nobody may be held up by who came last once the arm moves
                    time.sleep(ACQUAINTED_S)
                if not client.configure_executor():
                    raise LawamError(f"the chunk executor refused to configure; last words: {group.log_tail('chunk_executor')}")
                yield SimulatedRun(contract, group, client, checker, reserved.number)
            finally:
                client.close()
    finally:
        reserved.release()


def _for_runner(node: bringup.NodeSpec, delay_s: float, lockstep_timeout_s: float | None, losses: str) -> bringup.NodeSpec:
    """The same node, with what only a runner changes: it activates the executor itself, in a domain without others, and may slow the
    policy down."""
    extra: dict[str, bringup.Value] = {}
    if node.executable == "chunk_executor":
        extra = {"autostart": False, "discovery_s": 0.0}
    elif node.executable == "policy":
        extra = {"added_delay_s": delay_s}
    elif node.executable == "sim":
        extra = {"losses": losses} | ({} if lockstep_timeout_s is None else {"lockstep_timeout_s": lockstep_timeout_s})
    return bringup.NodeSpec(node.executable, {**node.parameters, **extra}, node.respawn)

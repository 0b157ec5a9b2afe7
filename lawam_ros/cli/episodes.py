"""Episodes of a task through the running ROS graph, one after the other."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lawam_ros.bringup import NodeSpec
from lawam_ros.cli.process_group import ProcessGroup
from lawam_ros.contract.errors import EXIT_ENVIRONMENT_LACKS, EXIT_USER_MISTAKE, EnvironmentLacks, LawamError, UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.nodes.run_client import RunClient, WorldReport

START_TIMEOUT_S = 90.0
_POLICY_BACK_TIMEOUT_S = 60.0
_POLL_S = 0.05
_ASK_S = 0.25
"""Between questions to the supervisor, each of which costs it and us milliseconds of a processor that the policy needs."""
_STARVED_S = 10.0
_SILENT_S = 0.5
_SETTLE_S = 2.0


@dataclass(frozen=True)
class EpisodeResult:
    """One attempt. ``reason`` is ``success``, ``timeout`` or the executor's reason for latching; error is what the task's measure misses,
    in m. command_hash: in lock step, of everything commanded."""

    seed: int
    success: bool
    reason: str
    time_s: float
    final_error_m: float | None
    min_tcp_object_distance_m: float | None
    stages: dict[str, bool]
    command_hash: str = ""


def wait_until_up(client: RunClient, group: ProcessGroup, nodes: tuple[NodeSpec, ...], say: Callable[[str], None]) -> None:
    """Until the world reports and the policy's heart beats. Raises with a node's own last words when one ends, or names who is missing."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        for node in nodes:
            raise_if_ended(group, node.name)
        up = {"sim": client.world is not None, "policy": client.heartbeat_age_s() < 1.0, "recorder": bool(client.recording_to)}
        missing = [node.name for node in nodes if not up.get(node.name, True)]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise EnvironmentLacks(f"waited {START_TIMEOUT_S:.0f} s for {' and '.join(missing)}; last words: {group.log_tail(missing[0])}")
        say(f"starting: waiting for {' and '.join(missing)}")
        time.sleep(_POLL_S)


def raise_if_ended(group: ProcessGroup, name: str) -> None:
    """A node that ended and is not started again cannot be mended by waiting; its last line says why."""
    state = group.state(name)
    if state.running:
        return
    kind = {EXIT_USER_MISTAKE: UserMistake, EXIT_ENVIRONMENT_LACKS: EnvironmentLacks}.get(state.exit_code)
    if kind is not None:
        raise kind(_last_words(group.log_tail(name)))
    if not group.respawns(name):
        raise LawamError(f"node {name} ended by itself with exit code {state.exit_code}; last words: {_last_words(group.log_tail(name))}")


def _last_words(log: str) -> str:
    """The sentence after the logger's prefix in a node's last line."""
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].split("]: ")[-1] if lines else "the node ended without a word"


def run_episode(
    client: RunClient,
    group: ProcessGroup,
    contract: Contract,
    seed: int,
    on_progress: Callable[[float], None],
    lockstep: bool = False,
) -> EpisodeResult:
    """One attempt: world reset while the executor is inactive, activation, success held for the task's settling time or time-out.

    In real time the watch is here; in lock step the simulation, which owns time, says when it is over.
    """
    wait_for_policy(client)
    client.reset_world(seed)
    time.sleep(0.3)  # the first frames and joint states of the new episode
    started = time.monotonic()
    while not client.activate_executor():
        if time.monotonic() - started > START_TIMEOUT_S:
            raise LawamError(f"the chunk executor refused to activate; last words: {_last_words(group.log_tail('chunk_executor'))}")
        time.sleep(0.2)
    started, starved_since, next_asked_s = time.monotonic(), None, 0.0
    held = HeldSuccess(contract)
    reason = ""
    while not reason:
        time.sleep(_POLL_S)
        on_progress(time.monotonic() - started)
        status = client.status
        if status is not None and status.state == "LATCHED":
            reason = status.reason
            break
        waiting_for = client.policy_report.get("waiting_for", "")
        starved_since = (starved_since or time.monotonic()) if waiting_for else None
        if starved_since and time.monotonic() - starved_since > _STARVED_S:
            raise EnvironmentLacks(f"the policy got no observation for {_STARVED_S:.0f} s, it waits for {waiting_for}")
        refused = client.policy_report.get("refused_image", "")
        if refused:
            raise UserMistake(f"the policy refuses the images: {refused}")
        if time.monotonic() > next_asked_s:
            next_asked_s = time.monotonic() + _ASK_S
            raise_if_ended(group, "sim")
            raise_if_ended(group, "chunk_executor")
        world = client.world if client.world is not None and client.world.seed == seed else None
        reason = (world.over if world else "") if lockstep else held.reason(world)
    elapsed = time.monotonic() - started
    world = client.world
    if lockstep and world is not None:
        elapsed = world.time_s
    client.deactivate_executor()
    if not lockstep:
        world = client.world
    return EpisodeResult(
        seed=seed,
        success=reason == "success",
        reason=reason,
        time_s=round(elapsed, 2),
        final_error_m=None if world is None else world.final_error_m,
        min_tcp_object_distance_m=None if world is None else world.min_tcp_object_distance_m,
        stages={} if world is None else world.stages,
        command_hash="" if world is None else world.command_hash,
    )


class HeldSuccess:
    """How an episode in real time ends: success held for the task's settling time, or time-out."""

    def __init__(self, contract: Contract) -> None:
        self._episode = contract.task.episode
        self._started_s = time.monotonic()
        self._held_since_s: float | None = None

    def reason(self, world: WorldReport | None) -> str:
        """``success``, ``timeout``, or empty while it goes on."""
        now_s = time.monotonic()
        if world is None or not world.success:
            self._held_since_s = None
        elif self._held_since_s is None:
            self._held_since_s = now_s
        if self._held_since_s is not None and now_s - self._held_since_s >= self._episode.settle_s:
            return "success"
        return "timeout" if now_s - self._started_s >= self._episode.timeout_s else ""


def wait_for_policy(client: RunClient) -> None:
    """A killed policy is started again by the process group; an episode waits for its heart to beat, and then for the graph to settle.

    Fast DDS holds up everybody who sends to the successor of a killed process for some 0.2 s when it first does so.
    """
    was_gone = client.heartbeat_age_s() > _SILENT_S
    deadline = time.monotonic() + _POLICY_BACK_TIMEOUT_S
    while client.heartbeat_age_s() > _SILENT_S:
        if time.monotonic() > deadline:
            raise LawamError(f"the policy did not come back within {_POLICY_BACK_TIMEOUT_S:.0f} s")
        time.sleep(_POLL_S)
    if was_gone:
        time.sleep(_SETTLE_S)

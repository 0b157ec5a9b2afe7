"""A LaWAM server elsewhere behind the policy interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation, Subgoal
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.policies.committed import Committed
from lawam_ros.policies.interface import Inference, Reference, Targets
from lawam_ros.policies.made_up import made_up_observation, made_up_reference
from lawam_ros.policies.remote.address import RemoteAddress, remote_address

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """actions: (n, D) as the server means them. subgoal: if it sent features."""

    actions: Array
    subgoal: Subgoal | None = None


class RemoteServer(Protocol):
    """One way of asking. Errors in motion are exceptions: the policy node counts them, and the arm comes to rest without chunks."""

    def connect(self, patience_s: float) -> str:
        """Description of what is served. Raises ServerSilent, UserMistake for what does not fit the contract."""
        ...

    def ask(self, observation: Observation, patience_s: float) -> Answer:
        """Raises ServerSilent, PeerMistake."""
        ...

    def rows(self, actions: Array, reference: Reference) -> Mapping[str, Array]:
        """Absolute rows (n, 8) per arm. reference: commanded rows, for actions that count from them."""
        ...


class RemotePolicy:
    """Looks by asking a server. Its noise is the server's own, and it cannot be told what a chunk has to continue."""

    def __init__(self, server: RemoteServer, contract: Contract, timeout_s: float, address: str) -> None:
        self._server = server
        self._contract = contract
        self._timeout_s = timeout_s
        self.description = address

    def warm_up(self) -> None:
        """A made-up look through to its targets: what does not fit is refused before anything moves. The server's first look is slow."""
        try:
            self.description = self._server.connect(_WARM_UP_S)
            answer = self._server.ask(made_up_observation(self._contract), _WARM_UP_S)
            self.place(Inference(answer.actions), made_up_reference(self._contract))
        except ValueError as error:  # PeerMistake is one
            task, robot = self._contract.task.name, self._contract.robot.name
            raise UserMistake(f"{self.description} cannot be used for task {task} on {robot}: {error}") from error

    def look(self, observation: Observation, seed: int, committed: Committed | None = None) -> Inference:
        answer = self._server.ask(observation, self._timeout_s)
        return Inference(actions=answer.actions, subgoal=answer.subgoal)

    def place(self, inference: Inference, reference: Reference) -> Targets:
        policy, arms = self._contract.task.policy, self._contract.robot.arms
        rows = self._server.rows(inference.actions, reference)
        steps = np.arange(len(inference.actions)) + policy.action_offset_steps
        return Targets(
            components=tuple(f"{arm.name}/{component}" for arm in arms for component in CARTESIAN_COMPONENTS),
            values=np.concatenate([rows[arm.name] for arm in arms], axis=1),
            time_from_start_s=steps / policy.action_hz,
        )


_WARM_UP_S = 120.0


def remote_policy(text: str, contract: Contract) -> RemotePolicy:
    """Policy of an address as in ``address.py``. Raises UserMistake; whether the server answers shows in ``warm_up``."""
    from lawam_ros.policies.remote.franka_client import FrankaServer
    from lawam_ros.policies.remote.towel_client import TowelServer
    from lawam_ros.policies.remote.websocket_client import WebsocketServer

    address = remote_address(text)
    ways: Mapping[str, Callable[[RemoteAddress, Contract], RemoteServer]] = {
        "ws": WebsocketServer,
        "http": FrankaServer,
        "tcp": TowelServer,
    }
    server = ways[address.scheme](address, contract)
    return RemotePolicy(server, contract, address.timeout_s, address.text)

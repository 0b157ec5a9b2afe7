"""Asking a Franka HTTP server: actions come back in the units of its checkpoint."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation
from lawam_ros.policies.interface import Reference
from lawam_ros.policies.remote.action_meaning import ActionMeaning, meaning_named
from lawam_ros.policies.remote.address import RemoteAddress
from lawam_ros.policies.remote.arm_rows import relative_rows, told_rows
from lawam_ros.policies.remote.remote_policy import Answer
from lawam_ros.policies.remote.server_facts import ServerSilent, check_rate, check_served, served_checkpoint
from lawam_ros.policies.wire.deadline_socket import DeadlineSocket
from lawam_ros.policies.wire.franka_http import actions_of_answer, json_object, request_content
from lawam_ros.policies.wire.peer_mistake import PeerMistake

Array = NDArray[np.float64]

_MAX_ANSWER_BYTES = 64 << 20


class _Connection(http.client.HTTPConnection):
    """One deadline for sending and receiving, another as long for connecting."""

    def __init__(self, host: str, port: int, patience_s: float) -> None:
        super().__init__(host, port, timeout=patience_s)
        self._patience_s = patience_s

    def connect(self) -> None:
        super().connect()
        assert self.sock is not None
        self.sock = DeadlineSocket.around(self.sock)
        self.sock.allow(self._patience_s, _MAX_ANSWER_BYTES)


class FrankaServer:
    """A connection per request: they come a few times a second, and none is left over half read."""

    def __init__(self, address: RemoteAddress, contract: Contract) -> None:
        if len(contract.robot.arms) != 1:
            raise UserMistake(f"{address.text}: the Franka protocol speaks of one arm, robot {contract.robot.name} has several")
        self._address = address
        self._contract = contract
        self._arm = contract.robot.arms[0].name
        self._meaning: ActionMeaning | None = None

    def connect(self, patience_s: float) -> str:
        where = self._address.text
        metadata = self._fetched("GET", "/metadata", None, patience_s)
        defaults = metadata.get("defaults")
        said = defaults.get("action_hz") if isinstance(defaults, dict) else None
        check_rate(metadata.get("action_hz") if said is None else said, self._address.action_hz, self._contract, where)
        served = served_checkpoint(metadata, where)
        if served is not None and served.facts is not None:
            check_served(served, self._contract, where)
            return f"{served.name} on {where}"
        self._meaning = meaning_named(self._address.actions, self._address.gripper)
        return f"official checkpoint on {where}, actions={self._address.actions}"

    def ask(self, observation: Observation, patience_s: float) -> Answer:
        policy, pose = self._contract.task.policy, observation.tcp[self._arm]
        content = request_content(
            observation.instruction,
            tuple(observation.images[name] for name in policy.primary_cameras),
            tuple(observation.images[name] for name in policy.wrist_cameras),
            pose.position_m,
            pose.quat_xyzw,
            observation.gripper_m[self._arm],
        )
        return Answer(actions_of_answer(self._fetched("POST", "/act", content, patience_s)))

    def rows(self, actions: Array, reference: Reference) -> Mapping[str, Array]:
        if self._meaning is None:
            return relative_rows(actions, reference, self._contract)
        return told_rows(actions, reference, self._contract, self._meaning)

    def _fetched(self, method: str, path: str, content: Mapping[str, Any] | None, patience_s: float) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._address.token:
            headers["Authorization"] = f"Bearer {self._address.token}"
        connection = _Connection(self._address.host, self._address.port, patience_s)
        try:
            connection.request(method, path, None if content is None else json.dumps(content).encode(), headers)
            answer = connection.getresponse()
            body = answer.read(_MAX_ANSWER_BYTES)
        except PeerMistake as error:
            raise PeerMistake(f"{self._address.text}{path}: {error}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a chunk of negative size
            why = str(error) or type(error).__name__
            raise ServerSilent(f"{self._address.text}{path} gave no HTTP answer within {patience_s:g} s ({why})") from error
        finally:
            connection.close()
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            raise UserMistake(f"{self._address.text} wants a token; expected its own in the variable LAWAM_TOKEN")
        try:
            return json_object(body)
        except PeerMistake as error:
            raise PeerMistake(f"{self._address.text}{path} answered with HTTP status {answer.status}: {error}") from error

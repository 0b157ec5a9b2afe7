"""Asking a websocket server: normalised actions come back, and are put into robot units here, by the checkpoint's statistics."""

import contextlib
import http
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation, Subgoal
from lawam_ros.model.normalisation import DatasetStatistics, denormalise_actions, load_statistics, normalise_state, pick_statistics
from lawam_ros.policies.interface import Reference
from lawam_ros.policies.remote.action_meaning import ActionMeaning, meaning_named
from lawam_ros.policies.remote.address import RemoteAddress
from lawam_ros.policies.remote.arm_rows import relative_rows, state_of, told_rows
from lawam_ros.policies.remote.remote_policy import Answer
from lawam_ros.policies.remote.server_facts import ServedCheckpoint, ServerSilent, check_served, served_checkpoint
from lawam_ros.policies.wire.array_maps import packed, unpacked
from lawam_ros.policies.wire.deadline_socket import send_within
from lawam_ros.policies.wire.peer_mistake import PeerMistake
from lawam_ros.policies.wire.websocket_messages import Example, InferenceAnswer, answer_from_bytes, request_map

Array = NDArray[np.float64]

_MAX_ANSWER_BYTES = 64 << 20
_PING_INTERVAL_S, _PING_TIMEOUT_S = 30.0, 180.0


class WebsocketServer:
    """Keeps one connection, and makes a new one when it is lost."""

    def __init__(self, address: RemoteAddress, contract: Contract) -> None:
        self._address = address
        self._contract = contract
        self._open = contextlib.ExitStack()
        self._connection: ClientConnection | None = None
        self._served: ServedCheckpoint | None = None
        self._meaning: ActionMeaning | None = None
        self._statistics: DatasetStatistics | None = None

    def connect(self, patience_s: float) -> str:
        where = self._address.text
        metadata = self._greeting(patience_s)
        served = served_checkpoint(metadata, where)
        if served is not None and served.facts is not None:
            check_served(served, self._contract, where)
            self._served, self._statistics = served, served.statistics
            return f"{served.name} on {where}"
        self._meaning = meaning_named(self._address.actions, self._address.gripper)
        self._statistics = served.statistics if served is not None else self._told_statistics()
        return f"{Path(str(metadata.get('ckpt_path', 'official checkpoint'))).name} on {where}, actions={self._address.actions}"

    def ask(self, observation: Observation, patience_s: float) -> Answer:
        policy = self._contract.task.policy
        example = Example(
            lang=observation.instruction,
            primary=tuple(observation.images[name] for name in policy.primary_cameras),
            wrist=tuple(observation.images[name] for name in policy.wrist_cameras),
            action_hz=policy.action_hz,
            embodiment_id=self._contract.robot.embodiment_id,
            state=self._state(observation),
        )
        if self._connection is None:
            self._greeting(patience_s)
        answer = self._exchanged(packed(request_map(example, return_intermediates=True)), patience_s)
        return Answer(self._robot_units(answer.normalised_actions), self._subgoal(answer, observation.stamp_ns))

    def rows(self, actions: Array, reference: Reference) -> Mapping[str, Array]:
        if self._meaning is None:
            return relative_rows(actions, reference, self._contract)
        return told_rows(actions, reference, self._contract, self._meaning)

    def _state(self, observation: Observation) -> Array | None:
        """Only our checkpoints read the state, as the contract has it; official clients send it in the model's units."""
        if self._served is None or self._served.statistics.state is None or self._served.facts is None:
            return None
        raw = state_of(observation, self._contract)
        return normalise_state(raw, self._served.statistics.state, self._served.facts.state_mode).astype(float)

    def _robot_units(self, normalised: Array) -> Array:
        assert self._statistics is not None
        if normalised.shape[1] < self._statistics.action.size:
            raise PeerMistake(f"expected actions of at least {self._statistics.action.size} numbers, got {normalised.shape[1]}")
        statistics = self._statistics.action
        if self._served is None or self._served.facts is None:
            # As the official clients: the LIBERO one snaps the last dimension, the others what was trained as 0 or 1.
            snapped = (statistics.size - 1,) if self._address.actions == "libero" else tuple(map(int, np.flatnonzero(~statistics.mask)))
            return denormalise_actions(normalised, statistics, snap_dims=snapped).astype(float)
        facts = self._served.facts
        return denormalise_actions(normalised, statistics, facts.action_mode, facts.binary_dims).astype(float)

    def _subgoal(self, answer: InferenceAnswer, stamp_ns: int) -> Subgoal | None:
        if answer.h_t is None or answer.h_t1 is None or answer.grid_hw is None:
            return None
        return Subgoal(stamp_ns, self._contract.task.policy.primary_cameras[0], answer.grid_hw, answer.h_t, answer.h_t1)

    def _told_statistics(self) -> DatasetStatistics:
        path = self._address.statistics
        if path is None:
            raise UserMistake(
                f"{self._address.text} sends normalised actions; expected ?statistics= in its address with its checkpoint folder or "
                "dataset_statistics.json"
            )
        return pick_statistics(load_statistics(path / "dataset_statistics.json" if path.is_dir() else path), self._address.tag)

    def _greeting(self, patience_s: float) -> dict[str, Any]:
        """A new connection and the metadata it begins with."""
        self._drop()
        headers = {"Authorization": f"Api-Key {self._address.token}"} if self._address.token else {}
        try:
            self._connection = self._open.enter_context(
                connect(
                    self._address.text,
                    compression=None,
                    proxy=None,
                    open_timeout=patience_s,
                    ping_interval=_PING_INTERVAL_S,
                    ping_timeout=_PING_TIMEOUT_S,
                    close_timeout=1.0,
                    max_size=_MAX_ANSWER_BYTES,
                    additional_headers=headers,
                )
            )
            # The library waits without end for a server that reads nothing.
            send_within(self._connection.socket, patience_s)
            metadata = unpacked(_binary(self._connection.recv(timeout=patience_s)))
        except InvalidStatus as error:
            self._drop()
            if error.response.status_code == http.HTTPStatus.UNAUTHORIZED:
                raise UserMistake(f"{self._address.text} wants a token; expected its own in the variable LAWAM_TOKEN") from error
            raise ServerSilent(f"{self._address.text} refused with HTTP status {error.response.status_code}") from error
        except (OSError, TimeoutError, WebSocketException) as error:
            self._drop()
            raise ServerSilent(
                f"{self._address.text} does not answer as a LaWAM websocket server ({str(error) or type(error).__name__}); is it running?"
            ) from error
        except PeerMistake:
            self._drop()
            raise
        if not isinstance(metadata, dict):
            self._drop()
            raise PeerMistake(f"{self._address.text}: expected metadata as a map, got {type(metadata).__name__}")
        return metadata

    def _exchanged(self, request: bytes, patience_s: float) -> InferenceAnswer:
        assert self._connection is not None
        try:
            self._connection.send(request)
            return answer_from_bytes(self._connection.recv(timeout=patience_s))
        except (OSError, TimeoutError, ConnectionClosed) as error:
            # After a time-out the answer may still come, and would be taken for that to the next question.
            self._drop()
            raise ServerSilent(
                f"{self._address.text} gave no answer within {patience_s:g} s ({str(error) or type(error).__name__})"
            ) from error

    def _drop(self) -> None:
        self._connection = None
        with contextlib.suppress(OSError, WebSocketException):
            self._open.close()


def _binary(message: bytes | str) -> bytes:
    if isinstance(message, str):
        raise PeerMistake(f"expected metadata as a binary message, got a text: {message[:100]!r}")
    return message

"""Asking a fold-towel TCP server: absolute end poses of both arms come back, in the robot's own official layout."""

import socket
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import Observation
from lawam_ros.contract.rotations import quat_make_continuous
from lawam_ros.control.official_rows import official_arms, official_vector, rows_of_official
from lawam_ros.data.action_space import absolute_row
from lawam_ros.policies.interface import Reference
from lawam_ros.policies.remote.address import RemoteAddress
from lawam_ros.policies.remote.remote_policy import Answer
from lawam_ros.policies.remote.server_facts import ServerSilent, served_checkpoint
from lawam_ros.policies.wire import towel_tcp as wire
from lawam_ros.policies.wire.deadline_socket import DeadlineSocket
from lawam_ros.policies.wire.franka_http import json_object
from lawam_ros.policies.wire.peer_mistake import PeerMistake

Array = NDArray[np.float64]

_MAX_ANSWER_BYTES = 16 << 20


class TowelServer:
    """A connection per question. That makes the server forget what it said before: it would blend by counting its own steps, as if all of
    them had been driven when the next question comes; here the executor merges chunks by their time."""

    def __init__(self, address: RemoteAddress, contract: Contract) -> None:
        robot, policy = contract.robot, contract.task.policy
        if (len(policy.primary_cameras), len(policy.wrist_cameras)) != (1, 2):
            raise UserMistake(
                f"{address.text}: the towel protocol has a front and two wrist images (left, right); task {contract.task.name} has "
                f"{len(policy.primary_cameras)} primary and {len(policy.wrist_cameras)} wrist cameras"
            )
        self._arms = official_arms(robot, (urdf_dir() / robot.urdf).read_text(encoding="utf-8"))
        if len(self._arms) != 2:
            raise UserMistake(f"{address.text}: the towel protocol speaks of two arms, robot {robot.name} has {len(self._arms)}")
        self._address = address
        self._contract = contract
        self._last_sent: Array | None = None

    def connect(self, patience_s: float) -> str:
        where = self._address.text
        metadata = self._exchanged(wire.json_frame({"request_type": "metadata"}), patience_s)
        served = served_checkpoint(metadata, where)
        if served is not None and served.facts is not None:
            raise UserMistake(
                f"{where} serves {served.name}, whose chunks count from the commanded pose, which this protocol does not carry; expected "
                "the same checkpoint with --protocol websocket"
            )
        return f"official towel checkpoint on {where}"

    def ask(self, observation: Observation, patience_s: float) -> Answer:
        policy, arms = self._contract.task.policy, self._contract.robot.arms
        rows = {arm.name: absolute_row(observation.tcp[arm.name], observation.gripper_m[arm.name]) for arm in arms}
        vector = self._last_sent = official_vector(self._arms, rows, self._last_sent)
        content = {
            "request_type": "act",
            "follow1_pos": vector[: wire.ARM_SIZE].tolist(),
            "follow2_pos": vector[wire.ARM_SIZE :].tolist(),
            "instruction": observation.instruction,
            "action_hz": policy.action_hz,
            "move_steps": policy.steps,
        }
        front, left, right = (observation.images[name] for name in (*policy.primary_cameras, *policy.wrist_cameras))
        answer = self._exchanged(wire.request_frames(content, left=left, front=front, right=right), patience_s)
        return Answer(wire.rows_of_answer(answer))

    def rows(self, actions: Array, reference: Reference) -> Mapping[str, Array]:
        rows = dict(rows_of_official(self._arms, actions))
        for name, table in rows.items():
            table[:, 3:7] = quat_make_continuous(np.concatenate([reference[name][None, 3:7], table[:, 3:7]]))[1:]
        return rows

    def _exchanged(self, request: bytes, patience_s: float) -> dict[str, Any]:
        try:
            with DeadlineSocket.around(socket.create_connection((self._address.host, self._address.port), patience_s)) as connection:
                connection.allow(patience_s)
                connection.sendall(request)
                return json_object(wire.read_frame(connection.exactly, _MAX_ANSWER_BYTES, "an answer"))
        except PeerMistake as error:
            raise PeerMistake(f"{self._address.text}: {error}") from error
        except (OSError, EOFError) as error:
            why = str(error) or type(error).__name__
            raise ServerSilent(f"{self._address.text} gave no answer within {patience_s:g} s ({why})") from error

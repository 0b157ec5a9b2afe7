"""The official fold-towel protocol: frames with a length each, JSON and three JPEG images in, rows of both arms out."""

import socketserver
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.records import Pose
from lawam_ros.control.official_rows import OfficialArm, official_vector, rows_of_official
from lawam_ros.data.action_space import absolute_from_relative, action_width
from lawam_ros.policies.wire import towel_tcp as wire
from lawam_ros.policies.wire.franka_http import error_content, json_object
from lawam_ros.policies.wire.images import Image, rgb_from_jpeg
from lawam_ros.policies.wire.peer_mistake import PeerMistake
from lawam_ros.policies.wire.served_block import BLOCK
from lawam_ros.serving.options import ServeOptions
from lawam_ros.serving.served_policy import ServedPolicy
from lawam_ros.serving.threaded_server import ThreadedServer
from lawam_ros.serving.towel_history import TowelHistory

Array = NDArray[np.float64]

INSTRUCTION = "Fold the towel."
MOVE_STEPS = 20


class TowelSpeech:
    """What a checkpoint says, in official vectors. An official checkpoint says just that; ours speaks of TCPs, and of where they are now.

    arms: of the robot that our checkpoint was trained on, in its order; None for an official checkpoint.
    """

    def __init__(self, policy: ServedPolicy, arms: Mapping[str, OfficialArm] | None) -> None:
        size = policy.action_size
        if size != 2 * wire.ARM_SIZE:
            raise UserMistake(f"checkpoint {policy.name}: the towel protocol needs {2 * wire.ARM_SIZE} action components, it has {size}")
        facts = policy.engine.facts
        if facts is not None and (arms is None or action_width(facts.action) * len(arms) != size):
            raise UserMistake(f"checkpoint {policy.name}: expected one of a two-armed robot with an 'official' section in its file")
        self._policy = policy
        self._arms = arms if facts is not None else None

    def state(self, measured: Array) -> Array | None:
        """What the checkpoint reads of the measured vector (14,); None where it reads no state."""
        if not self._policy.uses_state:
            return None
        if self._arms is None:
            return measured
        rows = [row[0] for row in rows_of_official(self._arms, measured[None]).values()]
        return self._policy.state_of_arms([(Pose(row[:3], row[3:7]), float(row[7])) for row in rows])

    def vectors(self, actions: NDArray[np.floating], commanded: Array) -> Array:
        """Official vectors (n, 14) of the checkpoint's actions. commanded: the vector (14,) that relative actions count from."""
        facts = self._policy.engine.facts
        if self._arms is None or facts is None:
            return actions.astype(float)
        width = action_width(facts.action)
        reference = rows_of_official(self._arms, commanded[None])
        rows = {
            name: absolute_from_relative(actions[:, i * width : (i + 1) * width].astype(float), reference[name][0], facts.action)
            for i, name in enumerate(self._arms)
        }
        vectors, near = [], commanded
        for i in range(len(actions)):
            near = official_vector(self._arms, {name: table[i] for name, table in rows.items()}, near)
            vectors.append(near)
        return np.stack(vectors)


def metadata(policy: ServedPolicy, options: ServeOptions) -> dict[str, Any]:
    return {
        "status": "ok",
        "checkpoint": policy.name,
        "defaults": {
            "embodiment_id": options.embodiment_id,
            "action_hz": options.action_hz,
            "move_steps": MOVE_STEPS,
            "latency_step": 0,
            "action_ensemble": True,
        },
        BLOCK: policy.metadata(),
    }


def towel_server(policy: ServedPolicy, options: ServeOptions, speech: TowelSpeech) -> ThreadedServer:
    """A server that listens; ``serve_forever`` runs it."""

    class Handler(_Handler):
        served, told, spoken = policy, options, speech

    return ThreadedServer((options.host, options.port), Handler, options.connections)


class _Handler(socketserver.BaseRequestHandler):
    """One connection. A request that cannot be read to its end ends it: nobody knows where the next one would begin."""

    served: ServedPolicy
    told: ServeOptions
    spoken: TowelSpeech

    def handle(self) -> None:
        history = TowelHistory()
        try:
            while (first := self._first_byte()) is not None:
                content, jpegs = self._request(first)
                self._send(self._answer(content, jpegs, history))
        except PeerMistake as error:
            self._refuse(str(error))
        except TimeoutError:
            self._refuse(f"expected the whole request within {self.told.request_timeout_s:g} s")
        except EOFError as error:
            print(f"lost {self.client_address[0]}: {error}", file=sys.stderr)

    def _first_byte(self) -> bytes | None:
        """None when the peer is done, or silent for too long."""
        self.request.allow(self.told.idle_timeout_s)
        try:
            return self.request.recv(1) or None
        except TimeoutError:
            return None

    def _request(self, first: bytes) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        self.request.allow(self.told.request_timeout_s)
        length = wire.frame_length(first + self.request.exactly(3), wire.MAX_JSON_BYTES, "a JSON object")
        content = json_object(self.request.exactly(length))
        kind = wire.request_kind(content)
        if kind == "upload_recording":
            raise PeerMistake("this server keeps no recordings; record the graph's topics instead")
        jpeg_limit = min(wire.MAX_JPEG_BYTES, self.told.max_request_bytes)
        return content, wire.jpeg_frames(self.request.exactly, jpeg_limit) if kind in wire.WITH_IMAGES else ()

    def _answer(self, content: dict[str, Any], jpegs: tuple[bytes, ...], history: TowelHistory) -> dict[str, Any]:
        kind = wire.request_kind(content)
        if kind == "metadata":
            return metadata(self.served, self.told)
        if kind in ("health", "reset"):
            if kind == "reset":
                history.reset()
            return {"status": "ok"}
        try:
            request = wire.towel_request(content, self.told.action_hz, MOVE_STEPS)
            images = tuple(rgb_from_jpeg(data, name) for data, name in zip(jpegs, wire.IMAGE_NAMES, strict=True))
            return self._prepared(request, images) if kind == "prepare" else self._acted(request, images, history)
        except PeerMistake as error:
            return error_content(str(error))

    def _prepared(self, request: wire.TowelRequest, images: tuple[Image, ...]) -> dict[str, Any]:
        state = self.spoken.state(request.state)
        return {
            "status": "ok",
            "instruction": self._instruction(request),
            "image_shapes": [list(image.shape) for image in images],
            "follow1_pos": request.state[: wire.ARM_SIZE].tolist(),
            "follow2_pos": request.state[wire.ARM_SIZE :].tolist(),
            "state": None if state is None else state.tolist(),
        }

    def _acted(self, request: wire.TowelRequest, images: tuple[Image, ...], history: TowelHistory) -> dict[str, Any]:
        left, front, right = images
        output = self.served.infer(
            [front],
            [left, right],
            self._instruction(request),
            self.spoken.state(request.state),
            self.told.embodiment_id,
            request.action_hz,
            request.num_inference_steps,
        )
        commanded = request.state if history.last_row is None else history.last_row
        vectors = self.spoken.vectors(output.actions, commanded)
        rows = history.rows(vectors, request.state, request.move_steps)
        steps = request.num_inference_steps or self.served.engine.config.flow.num_inference_steps
        return wire.answer_content(rows, len(vectors), steps)

    def _instruction(self, request: wire.TowelRequest) -> str:
        return self.told.instruction or request.instruction or INSTRUCTION

    def _send(self, content: Mapping[str, Any]) -> None:
        self.request.allow(self.told.request_timeout_s)
        self.request.sendall(wire.json_frame(content))

    def _refuse(self, message: str) -> None:
        print(f"refused {self.client_address[0]}: {message}", file=sys.stderr)
        try:
            self._send(error_content(message))
        except OSError:
            return  # gone already

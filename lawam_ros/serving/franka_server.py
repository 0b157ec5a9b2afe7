"""The official Franka HTTP protocol: ``/act`` answers an observation with a chunk, ``/prepare`` says how it would be read."""

import json
import sys
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Pose
from lawam_ros.contract.rotations import quat_from_rpy
from lawam_ros.model.normalisation import denormalise_actions, normalise_state
from lawam_ros.policies.wire.franka_http import STATE_SIZE, ActRequest, act_request, answer_content, error_content, json_object
from lawam_ros.policies.wire.peer_mistake import PeerMistake
from lawam_ros.policies.wire.served_block import BLOCK
from lawam_ros.serving.options import REFUSED, ServeOptions, authorised
from lawam_ros.serving.served_policy import ServedPolicy
from lawam_ros.serving.threaded_server import ThreadedServer


class HttpRefusal(PeerMistake):
    """A refusal with another status than 400."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def metadata(policy: ServedPolicy, options: ServeOptions) -> dict[str, Any]:
    state = policy.engine.statistics.state
    return {
        "checkpoint": policy.name,
        "unnorm_key": policy.engine.statistics.tag,
        "defaults": {
            "embodiment_id": options.embodiment_id,
            "action_hz": options.action_hz,
            "num_inference_steps": policy.engine.config.flow.num_inference_steps,
            "image_layout": "split_primary_wrist",
            "instruction": options.instruction,
        },
        "model_uses_state": policy.uses_state,
        "state_stats_dim": state.size if state is not None else 0,
        BLOCK: policy.metadata(),
    }


def act(policy: ServedPolicy, options: ServeOptions, request: ActRequest) -> dict[str, Any]:
    """Body of the answer to ``/act``. Raises PeerMistake."""
    output = policy.infer(
        request.primary,
        request.wrist,
        options.instruction or request.instruction,
        model_state(policy, request.state),
        options.embodiment_id,
        options.action_hz,
        request.num_inference_steps,
    )
    # As the official server: nothing is snapped, a gripper trained as 0 or 1 comes back as the number in between.
    official = policy.engine.facts is None and policy.engine.lerobot is None
    actions = denormalise_actions(output.normalised_actions, policy.engine.statistics.action) if official else output.actions
    steps = request.num_inference_steps or policy.engine.config.flow.num_inference_steps
    return answer_content(actions, output.normalised_actions, steps, metadata(policy, options))


def prepare(policy: ServedPolicy, options: ServeOptions, request: ActRequest) -> dict[str, Any]:
    """Body of the answer to ``/prepare``: shapes, the state as read and as the model gets it. Raises PeerMistake."""
    state, statistics = model_state(policy, request.state), policy.engine.statistics.state
    facts = policy.engine.facts
    normalised = None
    if state is not None and statistics is not None:
        normalised = normalise_state(state, statistics, facts.state_mode if facts else None).tolist()
    return {
        "status": "ok",
        "instruction": options.instruction or request.instruction,
        "primary_image_shapes": [list(image.shape) for image in request.primary],
        "wrist_image_shapes": [list(image.shape) for image in request.wrist],
        "state": None if state is None else state.tolist(),
        "normalized_state": normalised,
        "metadata": metadata(policy, options),
    }


def model_state(policy: ServedPolicy, state: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """The state in robot units as the checkpoint reads it; None where it reads none. A pose becomes what a checkpoint of ours expects."""
    statistics = policy.engine.statistics.state
    if not policy.uses_state or statistics is None:
        return None
    if state is None:
        raise PeerMistake("expected a state or a pose with the gripper's width: the checkpoint reads them, got neither")
    if policy.engine.facts is not None and len(state) == STATE_SIZE != statistics.size:
        return policy.state_of_arms([(Pose(state[:3], quat_from_rpy(state[3:6])), float(state[6]))])
    if len(state) != statistics.size:
        raise PeerMistake(f"expected a state of {statistics.size} numbers as in the checkpoint's statistics, got {len(state)}")
    return state


def franka_server(policy: ServedPolicy, options: ServeOptions) -> ThreadedServer:
    """A server that listens; ``serve_forever`` runs it."""

    class Handler(_Handler):
        served, told = policy, options

    return ThreadedServer((options.host, options.port), Handler, options.connections)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "lawam_ros", ""
    served: ServedPolicy
    told: ServeOptions

    def handle_one_request(self) -> None:
        self.request.allow(self.told.request_timeout_s)
        super().handle_one_request()

    def do_GET(self) -> None:
        routes = {"/health": lambda: {"status": "ok"}, "/metadata": lambda: metadata(self.served, self.told)}
        self._answer(lambda path: routes[path]() if path in routes else _unknown(path))

    def do_POST(self) -> None:
        routes = {"/act": act, "/prepare": prepare}

        def answer(path: str) -> dict[str, Any]:
            if path == "/upload_recording":
                raise HttpRefusal(400, "this server keeps no recordings; record the graph's topics instead")
            if path not in routes:
                return _unknown(path)
            return routes[path](self.served, self.told, act_request(json_object(self._body())))

        self._answer(answer)

    def _answer(self, make: Any) -> None:
        try:
            self._admit()
            status, content = 200, make(self.path.partition("?")[0])
        except PeerMistake as error:
            status, content = getattr(error, "status", 400), error_content(str(error))
        except TimeoutError:
            status, content = 408, error_content(f"expected the whole request within {self.told.request_timeout_s:g} s")
        except EOFError as error:
            status, content = 400, error_content(str(error))
        if status in (401, 403, 408, 411, 413) or self.command == "POST" and status != 200:
            self.close_connection = True  # the rest of the body may still be on its way
        self._send(status, content)

    def _admit(self) -> None:
        if self.headers.get("Origin") is not None:
            raise HttpRefusal(403, "pages in a browser are not answered")
        if not authorised(self.headers.get("Authorization"), self.told.token):
            raise HttpRefusal(401, REFUSED)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") is not None or not (length.isascii() and length.isdecimal()):
            raise HttpRefusal(411, "expected the body's size in Content-Length")
        if len(length) > 12 or int(length) > self.told.max_request_bytes:
            raise HttpRefusal(413, f"expected a body of up to {self.told.max_request_bytes} bytes, got Content-Length {length:.20}")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise EOFError(f"expected {length} bytes of body, got {len(body)}")
        return body

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.request.allow(self.told.request_timeout_s)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the HTTP library refuses is answered in JSON as well."""
        self.close_connection = True
        self.request_version = self.protocol_version  # what could not be read counts as HTTP/0.9, which has no status line
        self._send(code, error_content(f"expected an HTTP request, got one that cannot be served ({message or code})"))

    def log_message(self, form: str, *values: Any) -> None:
        print(f"{self.client_address[0]} {form % values}", file=sys.stderr)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Twenty lines a second of what went well would hide what did not."""
        if not str(getattr(code, "value", code)).startswith("2"):
            super().log_request(code, size)


def _unknown(path: str) -> dict[str, Any]:
    raise HttpRefusal(404, f"expected /health, /metadata, /act, /prepare or /upload_recording, got {path!r:.80}")

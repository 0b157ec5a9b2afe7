"""The official websocket protocol: metadata on connecting, then one msgpack map per request and per answer."""

import http
import sys
import threading
import traceback
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from lawam_ros.policies.wire.array_maps import packed, unpacked
from lawam_ros.policies.wire.deadline_socket import send_within
from lawam_ros.policies.wire.peer_mistake import PeerMistake
from lawam_ros.policies.wire.served_block import BLOCK
from lawam_ros.policies.wire.websocket_messages import (
    SERVER_TYPE,
    InferenceRequest,
    error_map,
    ok_map,
    request_from_map,
    request_type,
    result_map,
)
from lawam_ros.serving.options import REFUSED, ServeOptions, authorised
from lawam_ros.serving.served_policy import ServedPolicy

_PING_INTERVAL_S, _PING_TIMEOUT_S = 30.0, 180.0
_CLOSE_S = 1.0
_GOING_AWAY, _TRY_LATER = 1001, 1013


def metadata(policy: ServedPolicy) -> dict[str, Any]:
    """First message of a connection. ``env`` names no simulator: which one the actions are for is the checkpoint's affair."""
    return {
        "env": "",
        "server_type": SERVER_TYPE,
        "supported_eval_envs": [],
        "ckpt_path": str(policy.engine.checkpoint.path),
        "framework_name": "LaWAM",
        BLOCK: policy.metadata(),
    }


def answer(policy: ServedPolicy, options: ServeOptions, message: bytes | str) -> dict[str, Any]:
    """Answer to one message, an error map for what is none."""
    request_id = None
    try:
        content = unpacked(message) if isinstance(message, bytes) else None
        if content is None:
            raise PeerMistake("expected a binary message with a msgpack map, got a text")
        kind = request_type(content)
        request_id = content.get("request_id")
        if kind == "ping":
            return ok_map("ping", request_id)
        return ok_map("inference_result", request_id, _infer(policy, options, request_from_map(content)))
    except PeerMistake as error:
        return error_map(str(error), request_id)


def websocket_server(policy: ServedPolicy, options: ServeOptions) -> Server:
    """A server that listens; ``serve_forever`` runs it. Pages in a browser are turned away by the Origin they must send."""
    free = threading.BoundedSemaphore(options.connections)
    greeting = packed(metadata(policy))

    def check(connection: ServerConnection, request: Request) -> Response | None:
        if authorised(request.headers.get("Authorization"), options.token):
            return None
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, REFUSED + "\n")

    def talk(connection: ServerConnection) -> None:
        if not free.acquire(blocking=False):
            connection.close(_TRY_LATER, "as many connections as allowed are open")
            return
        try:
            send_within(connection.socket, options.request_timeout_s)  # the library waits without end for a peer that reads nothing
            connection.send(greeting)
            while True:
                message = connection.recv(timeout=options.idle_timeout_s)
                connection.send(packed(answer(policy, options, message)))
        except TimeoutError:
            connection.close(_GOING_AWAY, f"no request for {options.idle_timeout_s:g} s")
        except ConnectionClosed as closed:
            if closed.sent is not None and closed.rcvd is None:  # ended by us: too large, not websocket, no answer to pings
                print(f"closed {_peer(connection)}: {closed.sent.reason or closed.sent.code}", file=sys.stderr)
        except Exception:  # ours, and must be seen; only this connection ends
            traceback.print_exc(file=sys.stderr)
        finally:
            free.release()

    return serve(
        talk,
        options.host,
        options.port,
        compression=None,
        origins=[None],
        process_request=check,
        open_timeout=options.request_timeout_s,
        close_timeout=_CLOSE_S,
        ping_interval=_PING_INTERVAL_S,
        ping_timeout=_PING_TIMEOUT_S,
        max_size=options.max_request_bytes,
        server_header="lawam_ros",
    )


def _infer(policy: ServedPolicy, options: ServeOptions, request: InferenceRequest) -> dict[str, Any]:
    outputs = [
        policy.infer(
            example.primary,
            example.wrist,
            options.instruction or example.lang,
            policy.robot_units(example.state),
            example.embodiment_id,
            example.action_hz,
            request.num_inference_steps,
            request.guidance_scale,
        )
        for example in request.examples
    ]
    if len({len(output.normalised_actions) for output in outputs}) > 1:
        raise PeerMistake("expected examples of one action_hz in a request, got chunks of different length")
    features = [(output.h_t, output.h_t1) for output in outputs] if request.return_intermediates else []
    return result_map([output.normalised_actions for output in outputs], features, outputs[0].grid_hw)


def _peer(connection: ServerConnection) -> str:
    return str(connection.remote_address[0])

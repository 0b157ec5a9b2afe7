"""Messages of the official fold-towel server: a length, then JSON; for ``act`` and ``prepare`` three JPEG images follow."""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.observe.image import jpeg_from_rgb
from lawam_ros.policies.wire.checked_numbers import MAX_STEPS, number, whole_number
from lawam_ros.policies.wire.images import Image
from lawam_ros.policies.wire.peer_mistake import PeerMistake

DEFAULT_PORT = 57770
ARM_SIZE = 7
"""x, y, z in m, roll, pitch, yaw about fixed axes in rad, gripper in motor radians; first the left arm (follow1), then the right."""

IMAGE_NAMES = ("left wrist image", "front image", "right wrist image")
"""In the order on the wire."""

REQUEST_TYPES = ("act", "prepare", "health", "metadata", "reset", "upload_recording")
WITH_IMAGES = ("act", "prepare")
MAX_JSON_BYTES = 1 << 20
MAX_JPEG_BYTES = 16 << 20
JPEG_QUALITY = 95

_PREFIX = struct.Struct("<I")
Read = Callable[[int], bytes]
"""Exactly so many bytes of the connection, or EOFError."""


@dataclass(frozen=True)
class TowelRequest:
    """One look. state: (14,), the newest row of both arms. instruction is empty where the request has none."""

    instruction: str
    state: NDArray[np.float64]
    action_hz: float
    move_steps: int
    num_inference_steps: int | None


def framed(payload: bytes) -> bytes:
    """Length as unsigned 32 bits, little-endian, then the bytes."""
    return _PREFIX.pack(len(payload)) + payload


def frame_length(prefix: bytes, limit: int, what: str) -> int:
    """Length that a prefix announces. Raises PeerMistake before anything of that size is read."""
    (length,) = _PREFIX.unpack(prefix)
    if not 1 <= length <= limit:
        raise PeerMistake(f"expected {what} of 1 to {limit} bytes, got a length of {length}")
    return int(length)


def read_frame(read: Read, limit: int, what: str) -> bytes:
    """One frame. Raises PeerMistake for its length, EOFError for its end in the middle."""
    return read(frame_length(read(_PREFIX.size), limit, what))


def json_frame(content: Mapping[str, Any]) -> bytes:
    return framed(json.dumps(content).encode())


def request_frames(content: Mapping[str, Any], left: Image, front: Image, right: Image) -> bytes:
    """Everything that our client sends for ``act`` or ``prepare``."""
    return json_frame(content) + b"".join(framed(jpeg_from_rgb(image, JPEG_QUALITY)) for image in (left, front, right))


def request_kind(content: Mapping[str, Any]) -> str:
    """Raises PeerMistake for an unknown one."""
    kind = content.get("__request_type__", content.get("request_type", "act"))
    if kind not in REQUEST_TYPES:
        raise PeerMistake(f"expected request_type {', '.join(REQUEST_TYPES)}, got {kind!r:.80}")
    return str(kind)


def jpeg_frames(read: Read, limit: int = MAX_JPEG_BYTES) -> tuple[bytes, ...]:
    """The three images as they came, not looked into: so the answer to a broken one does not come in the middle of the request."""
    return tuple(read_frame(read, limit, what) for what in IMAGE_NAMES)


def towel_request(content: Mapping[str, Any], default_hz: float, default_move_steps: int) -> TowelRequest:
    """A checked ``act`` or ``prepare``. Raises PeerMistake."""
    steps = content.get("num_inference_steps")
    text = content.get("instruction") or content.get("prompt") or ""
    if not isinstance(text, str):
        raise PeerMistake(f"expected instruction as a text, got {type(text).__name__}")
    return TowelRequest(
        instruction=text.strip(),
        state=np.concatenate([_newest(content.get(f"follow{i}_pos"), f"follow{i}_pos") for i in (1, 2)]),
        action_hz=number(content.get("action_hz", default_hz), "action_hz", 0.1, 1000.0),
        move_steps=whole_number(content.get("move_steps", default_move_steps), "move_steps", 1, 512),
        num_inference_steps=None if steps is None else whole_number(steps, "num_inference_steps", 1, MAX_STEPS),
    )


def answer_content(rows: NDArray[np.float64], model_steps: int, num_inference_steps: int) -> dict[str, Any]:
    """A good answer. rows: (m, 14), the last commanded row first."""
    return {
        "status": "ok",
        "follow1_pos": rows[:, :ARM_SIZE].tolist(),
        "follow2_pos": rows[:, ARM_SIZE:].tolist(),
        "action_chunk_len": len(rows),
        "model_action_chunk_len": model_steps,
        "action_dim": 2 * ARM_SIZE,
        "num_inference_steps": num_inference_steps,
    }


def rows_of_answer(content: Mapping[str, Any]) -> NDArray[np.float64]:
    """Commanded rows (n, 14) of a server's answer without the first, which repeats the last command. Raises PeerMistake."""
    if content.get("status") != "ok":
        raise PeerMistake(f"the server refused: {content.get('message', content.get('status'))!s:.300}")
    left, right = (_rows(content.get(f"follow{i}_pos"), f"follow{i}_pos") for i in (1, 2))
    if len(left) != len(right) or not 2 <= len(left) <= 513:
        raise PeerMistake(f"expected as many rows for both arms, 2 to 513, got {len(left)} and {len(right)}")
    return np.concatenate([left, right], axis=1)[1:]


def _newest(value: Any, what: str) -> NDArray[np.float64]:
    return _rows(value, what)[-1]


def _rows(value: Any, what: str) -> NDArray[np.float64]:
    """(T, 7) of one row or several."""
    try:
        rows = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise PeerMistake(f"expected {what} as rows of {ARM_SIZE} numbers") from error
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != ARM_SIZE or not len(rows):
        raise PeerMistake(f"expected {what} as rows of {ARM_SIZE} numbers, got shape {list(np.shape(value))}")
    if not np.all(np.isfinite(rows)):
        raise PeerMistake(f"expected {what} as finite numbers, got NaN or infinity")
    return rows

"""Messages of the official websocket server: msgpack maps for metadata, inference requests and their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.policies.wire.array_maps import unpacked
from lawam_ros.policies.wire.checked_numbers import MAX_STEPS, number, whole_number
from lawam_ros.policies.wire.images import MAX_IMAGES, Image, checked_image
from lawam_ros.policies.wire.peer_mistake import PeerMistake

DEFAULT_PORT = 10093
SERVER_TYPE = "starvla_websocket"
MAX_EXAMPLES = 8
INFERENCE_TYPES = (None, "infer", "predict_action")

_EXAMPLE_KEYS = ("lang", "primary_image", "action_hz", "embodiment_id", "wrist_image", "state", "state_mask")
_TOLERATED = ("type", "request_id")
"""Our server ignores them in an inference request; the official one fails, so our client sends neither."""


@dataclass(frozen=True)
class Example:
    """One observation. primary, wrist: uint8 RGB (H, W, 3). state: (D,) in the model's units, None for none."""

    lang: str
    primary: tuple[Image, ...]
    wrist: tuple[Image, ...]
    action_hz: float
    embodiment_id: int
    state: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class InferenceRequest:
    """Examples and options of one call; options are None where the checkpoint's own value is meant."""

    examples: tuple[Example, ...]
    return_intermediates: bool
    guidance_scale: float | None
    num_inference_steps: int | None


@dataclass(frozen=True)
class InferenceAnswer:
    """What came back for one example: normalised actions (n, D), features (tokens, F) now and predicted if the server sent them."""

    normalised_actions: NDArray[np.float64]
    h_t: NDArray[np.float32] | None
    h_t1: NDArray[np.float32] | None
    grid_hw: tuple[int, int] | None


def request_map(example: Example, return_intermediates: bool) -> dict[str, Any]:
    """The map an official server accepts: the call's arguments and nothing else."""
    content: dict[str, Any] = {
        "lang": example.lang,
        "primary_image": list(example.primary),
        "action_hz": example.action_hz,
        "embodiment_id": example.embodiment_id,
    }
    if example.wrist:
        content["wrist_image"] = list(example.wrist)
    if example.state is not None:
        content["state"] = np.asarray(example.state, np.float32)
    return {"examples": [content], "return_intermediates": return_intermediates}


def request_type(message: Any) -> str:
    """``ping`` or ``infer``. Raises PeerMistake."""
    if not isinstance(message, dict):
        raise PeerMistake(f"expected a map, got {type(message).__name__}")
    kind = message.get("type")
    if kind == "ping":
        return "ping"
    if kind in INFERENCE_TYPES:
        return "infer"
    raise PeerMistake(f"expected type ping, infer or predict_action, got {kind!r:.80}")


def request_from_map(message: Mapping[str, Any]) -> InferenceRequest:
    """A checked inference request. Raises PeerMistake naming the key."""
    allowed = ("examples", "return_intermediates", "guidance_scale", "num_inference_steps", *_TOLERATED)
    _only(message, allowed, "an inference request")
    examples = message.get("examples")
    if not isinstance(examples, list) or not 1 <= len(examples) <= MAX_EXAMPLES:
        raise PeerMistake(f"expected examples as a list of 1 to {MAX_EXAMPLES} maps, got {_came(examples)}")
    scale, steps = message.get("guidance_scale"), message.get("num_inference_steps")
    return InferenceRequest(
        examples=tuple(example_from_map(example) for example in examples),
        return_intermediates=bool(message.get("return_intermediates", False)),
        guidance_scale=None if scale is None else number(scale, "guidance_scale", -100.0, 100.0),
        num_inference_steps=None if steps is None else whole_number(steps, "num_inference_steps", 1, MAX_STEPS),
    )


def example_from_map(content: Any) -> Example:
    """A checked example. Raises PeerMistake."""
    if not isinstance(content, dict):
        raise PeerMistake(f"expected an example as a map, got {type(content).__name__}")
    _only(content, _EXAMPLE_KEYS, "an example")
    absent = [key for key in _EXAMPLE_KEYS[:4] if key not in content]
    if absent:
        raise PeerMistake(f"expected an example with {', '.join(_EXAMPLE_KEYS[:4])}, got one without {', '.join(absent)}")
    if not isinstance(content["lang"], str) or not content["lang"].strip():
        raise PeerMistake("expected lang as a non-empty text")
    primary, wrist = image_list(content["primary_image"], "primary_image"), image_list(content.get("wrist_image"), "wrist_image")
    if not primary:
        raise PeerMistake("expected at least one primary_image, got none")
    return Example(
        lang=content["lang"],
        primary=primary,
        wrist=wrist,
        action_hz=number(content["action_hz"], "action_hz", 0.1, 1000.0),
        embodiment_id=whole_number(content["embodiment_id"], "embodiment_id", 0, 10_000),
        state=_state(content.get("state"), content.get("state_mask")),
    )


def image_list(value: Any, what: str) -> tuple[Image, ...]:
    """Images of a list, empty for None. Raises PeerMistake."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > MAX_IMAGES:
        raise PeerMistake(f"expected {what} as a list of up to {MAX_IMAGES} images, got {_came(value)}")
    return tuple(checked_image(image, f"{what}[{i}]") for i, image in enumerate(value))


def result_map(actions: Sequence[NDArray[np.float32]], features: Sequence[tuple[Any, Any]], grid_hw: tuple[int, int]) -> dict[str, Any]:
    """``data`` of an answer. actions: (n, D) per example; features: (h_t, h_t1) per example, empty unless they were asked for."""
    data: dict[str, Any] = {"normalized_actions": np.stack(actions).astype(np.float32)}
    if features:
        data["h_t"], data["h_t1_pred"] = (np.stack([pair[i] for pair in features]).astype(np.float32) for i in (0, 1))
        data["vision_tokens_hw"] = list(grid_hw)
    return data


def ok_map(kind: str, request_id: Any, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An answer. kind: ``ping`` or ``inference_result``."""
    answer = {"status": "ok", "ok": True, "type": kind, "request_id": "default" if request_id is None else request_id}
    return answer if data is None else {**answer, "data": dict(data)}


def error_map(message: str, request_id: Any = None) -> dict[str, Any]:
    request_id = request_id if isinstance(request_id, str | int) else "default"
    return {"status": "error", "ok": False, "request_id": request_id, "error": {"message": message}}


def answer_from_bytes(data: bytes | str) -> InferenceAnswer:
    """What a server said about our one example. Raises PeerMistake, also with the server's own error in it."""
    if isinstance(data, str):
        raise PeerMistake(f"the server failed: {data.strip().splitlines()[-1] if data.strip() else 'no reason given'}")
    answer = unpacked(data)
    if not isinstance(answer, dict):
        raise PeerMistake(f"expected an answer as a map, got {type(answer).__name__}")
    if answer.get("status") != "ok" or not isinstance(answer.get("data"), dict):
        error = answer.get("error")
        said = error.get("message") if isinstance(error, dict) else answer.get("status")
        raise PeerMistake(f"the server refused: {said!s:.300}")
    content = answer["data"]
    actions = np.asarray(content.get("normalized_actions"))
    if actions.ndim != 3 or actions.shape[0] != 1 or actions.dtype.kind != "f" or not 1 <= actions.shape[1] <= 512:
        raise PeerMistake(f"expected normalized_actions [1, n, D], got {actions.dtype} {list(actions.shape)}")
    if not np.all(np.isfinite(actions)):
        raise PeerMistake("expected finite normalized_actions, got NaN or infinity")
    return InferenceAnswer(actions[0].astype(float), *_features(content))


def _features(content: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    h_t, h_t1, grid = (content.get(key) for key in ("h_t", "h_t1_pred", "vision_tokens_hw"))
    if h_t is None or h_t1 is None or grid is None:
        return None, None, None
    try:
        rows, columns = (int(n) for n in grid)
        pair = [np.asarray(part, np.float32) for part in (h_t, h_t1)]
    except (TypeError, ValueError, OverflowError) as error:
        raise PeerMistake(f"expected h_t, h_t1_pred as arrays and vision_tokens_hw as two sizes ({error})") from error
    if any(part.ndim != 3 or part.shape[0] != 1 or part.shape[1] != rows * columns for part in pair):
        raise PeerMistake(f"expected features [1, {rows} * {columns}, F], got {[list(part.shape) for part in pair]}")
    return pair[0][0], pair[1][0], (rows, columns)


def _state(state: Any, mask: Any) -> NDArray[np.float64] | None:
    """The last row, without the dimensions that ``mask`` marks as padding."""
    if state is None:
        if mask is not None:
            raise PeerMistake("expected state_mask only together with state")
        return None
    try:
        values = np.asarray(state, dtype=float)
    except (TypeError, ValueError) as error:
        raise PeerMistake("expected state as numbers [D] or [T, D]") from error
    if values.ndim not in (1, 2) or not 1 <= values.shape[-1] <= 256 or values.shape[0] < 1:
        raise PeerMistake(f"expected state [D] or [T, D], got {list(values.shape)}")
    values = values if values.ndim == 1 else values[-1]
    if mask is not None:
        kept = np.asarray(mask)
        kept = kept if kept.ndim <= 1 else kept[-1]
        if kept.shape != values.shape or not (kept.dtype == bool or np.all((kept == 0) | (kept == 1))):
            raise PeerMistake(f"expected state_mask of 0 and 1 like state [{len(values)}], got {list(np.shape(mask))}")
        values = values[kept.astype(bool)]
    if not np.all(np.isfinite(values)):
        raise PeerMistake("expected a finite state, got NaN or infinity")
    return values


def _only(content: Mapping[str, Any], allowed: Sequence[str], what: str) -> None:
    unknown = [key for key in content if key not in allowed]
    if unknown:
        raise PeerMistake(f"expected {what} with {', '.join(allowed)}, got the unknown key {unknown[0]!r:.80}")


def _came(value: Any) -> str:
    return f"{len(value)} of them" if isinstance(value, list | tuple) else type(value).__name__

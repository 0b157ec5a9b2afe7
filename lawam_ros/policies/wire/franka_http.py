"""Requests and answers of the official Franka HTTP server: JSON objects with many names for the same thing."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.rotations import quat_from_matrix, rpy_from_quat
from lawam_ros.policies.wire.array_maps import number_dtype, shaped
from lawam_ros.policies.wire.checked_numbers import MAX_STEPS, whole_number
from lawam_ros.policies.wire.images import MAX_IMAGES, Image, checked_image
from lawam_ros.policies.wire.peer_mistake import PeerMistake

DEFAULT_PORT = 9876
STATE_SIZE = 7
"""x, y, z in m, roll, pitch, yaw about fixed axes in rad, gripper width in m."""

_INSTRUCTION = ("instruction", "lang", "task_description", "instructions")
_PRIMARY = ("primary_image", "image", "images")
_WRIST = ("wrist_image", "wrist_images")
_CONTAINERS = ("robot_state", "observation", "obs")
_MATRIX = ("ee_pose_T", "pose", "pose_matrix")
_POSITION = ("ee_position", "position", "eef_position")
_EULER = ("ee_euler", "eef_euler", "rpy", "eef_orientation")
_QUAT_XYZW = ("ee_quat_xyzw", "eef_quat_xyzw")
_QUAT_WXYZ = ("ee_quat_wxyz", "eef_quat_wxyz", "quaternion")
_GRIPPER = ("gripper_width", "eef_gripper_width", "gripper")


@dataclass(frozen=True)
class ActRequest:
    """One look. state: (D,) as the request gave it, or (7,) made of its pose; None where there is none. instruction may be empty."""

    instruction: str
    primary: tuple[Image, ...]
    wrist: tuple[Image, ...]
    state: NDArray[np.float64] | None
    num_inference_steps: int | None


def json_object(body: bytes) -> dict[str, Any]:
    """Raises PeerMistake for anything but one JSON object."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PeerMistake(f"expected a JSON object, got {len(body)} bytes that are none ({str(error) or type(error).__name__})") from error
    if not isinstance(content, dict):
        raise PeerMistake(f"expected a JSON object, got {type(content).__name__}")
    return content


def act_request(content: Mapping[str, Any], split_primary_wrist: bool = True) -> ActRequest:
    """A checked request. split_primary_wrist: of several images without wrist ones the first is primary. Raises PeerMistake."""
    primary, wrist = _images(_first(content, _PRIMARY), "image"), _images(_first(content, _WRIST), "wrist_image")
    if split_primary_wrist and not wrist:
        primary, wrist = primary[:1], primary[1:]
    if not primary:
        primary, wrist = wrist[:1], wrist[1:]
    if not primary:
        raise PeerMistake(f"expected an image under {', '.join(_PRIMARY)}, got none")
    steps = content.get("num_inference_steps")
    texts = (content.get(key) for key in _INSTRUCTION)
    texts = (text[0] if isinstance(text, list) and text else text for text in texts)
    return ActRequest(
        instruction=next((text for text in texts if isinstance(text, str) and text.strip()), ""),
        primary=primary,
        wrist=wrist,
        state=_state(content),
        num_inference_steps=None if steps is None else whole_number(steps, "num_inference_steps", 1, MAX_STEPS),
    )


def request_content(
    instruction: str, primary: tuple[Image, ...], wrist: tuple[Image, ...], position_m: Any, quat_xyzw: Any, gripper_width_m: float
) -> dict[str, Any]:
    """What our client sends: images as base64 of their bytes, the state as position, quaternion and width."""
    content: dict[str, Any] = {
        "instruction": instruction,
        "primary_image": [json_array(image) for image in primary],
        "robot_state": {
            "ee_position": [float(v) for v in position_m],
            "ee_quat_xyzw": [float(v) for v in quat_xyzw],
            "gripper_width": float(gripper_width_m),
        },
    }
    if wrist:
        content["wrist_image"] = [json_array(image) for image in wrist]
    return content


def json_array(array: NDArray[Any]) -> dict[str, Any]:
    """An array as a JSON object with its bytes in base64."""
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"__ndarray__": data, "dtype": str(array.dtype), "shape": list(array.shape)}


def array_from_json(value: Any, what: str) -> NDArray[Any]:
    """Array of nested lists, of ``{"__ndarray__", "dtype", "shape"}`` or of ``{"data", "dtype", "shape"}``. Raises PeerMistake."""
    if isinstance(value, dict):
        data = value.get("__ndarray__", value.get("data"))
        dtype = number_dtype(value.get("dtype"))
        if isinstance(data, str):
            try:
                return shaped(base64.b64decode(data, validate=True), dtype, value.get("shape"))
            except binascii.Error as error:
                raise PeerMistake(f"expected {what} in base64 ({error})") from error
        flat = _numbers(data, what).reshape(-1)
        return shaped(_as_dtype(flat, dtype, what).tobytes(), dtype, value.get("shape"))
    return _numbers(value, what)


def answer_content(actions: NDArray[Any], normalised: NDArray[Any], steps: int, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Body of a good answer. actions: (n, D) in robot units; normalised: (n, width of the model)."""
    return {
        "status": "ok",
        "actions": actions.tolist(),
        "normalized_actions": normalised.tolist(),
        "action_chunk_len": len(actions),
        "action_dim": int(actions.shape[1]),
        "num_inference_steps": steps,
        "metadata": dict(metadata),
    }


def error_content(message: str) -> dict[str, str]:
    return {"status": "error", "message": message}


def actions_of_answer(content: Mapping[str, Any]) -> NDArray[np.float64]:
    """Actions (n, D) of a server's answer. Raises PeerMistake, also with the server's own error in it."""
    if content.get("status") != "ok":
        raise PeerMistake(f"the server refused: {content.get('message', content.get('status'))!s:.300}")
    actions = _numbers(content.get("actions"), "actions").astype(float)
    if actions.ndim != 2 or not 1 <= len(actions) <= 512:
        raise PeerMistake(f"expected actions [n, D], got {list(actions.shape)}")
    if not np.all(np.isfinite(actions)):
        raise PeerMistake("expected finite actions, got NaN or infinity")
    return actions


def _images(value: Any, what: str) -> tuple[Image, ...]:
    """Images of one array [H, W, 3] or [N, H, W, 3], of a list of arrays, or of a map of either."""
    if value is None:
        return ()
    if isinstance(value, dict) and not {"__ndarray__", "data"} & value.keys():
        parts = [image for key, part in value.items() for image in _images(part, f"{what}.{key}")]
    elif isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        parts = [image for i, part in enumerate(value) for image in _images(part, f"{what}[{i}]")]
    else:
        array = array_from_json(value, what)
        if array.ndim not in (3, 4):
            raise PeerMistake(f"expected {what} as [H, W, 3] or [N, H, W, 3], got {list(array.shape)}")
        array = _as_dtype(array, np.dtype(np.uint8), what)
        parts = [checked_image(image, what) for image in (array if array.ndim == 4 else array[None])]
    if len(parts) > MAX_IMAGES:
        raise PeerMistake(f"expected up to {MAX_IMAGES} images, got {len(parts)}")
    return tuple(parts)


def _state(content: Mapping[str, Any]) -> NDArray[np.float64] | None:
    where = next((content[key] for key in _CONTAINERS if isinstance(content.get(key), dict)), content)
    if where.get("state") is not None:
        return _vector(where["state"], "state", None)
    position, quat = _position_and_quat(where)
    if position is None:
        return None
    width = _first(where, _GRIPPER)
    if width is None:
        raise PeerMistake(f"expected the gripper's width in m under {', '.join(_GRIPPER)}, got none")
    rpy = quat if len(quat) == 3 else rpy_from_quat(quat / np.linalg.norm(quat))
    return np.concatenate([position, rpy, _vector(width, "gripper width", 1)])


def _position_and_quat(where: Mapping[str, Any]) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Position in m, and the orientation as roll, pitch, yaw (3,) or as quaternion xyzw (4,)."""
    matrix, position = _first(where, _MATRIX), _first(where, _POSITION)
    if matrix is not None:
        pose = _numbers(matrix, "pose matrix").astype(float)
        if pose.shape != (4, 4) or not np.all(np.isfinite(pose)) or abs(np.linalg.det(pose[:3, :3]) - 1.0) > 1e-2:
            raise PeerMistake(f"expected a pose as 4x4 rows with a rotation, got {list(pose.shape)} or something else than a rotation")
        return pose[:3, 3], quat_from_matrix(pose[:3, :3])
    if position is None:
        return None, np.zeros(4)
    euler, xyzw, wxyz = (_first(where, names) for names in (_EULER, _QUAT_XYZW, _QUAT_WXYZ))
    if euler is not None:
        return _vector(position, "position", 3), _vector(euler, "roll, pitch, yaw", 3)
    quat = _vector(xyzw, "quaternion", 4) if xyzw is not None else None
    if quat is None:
        quat = _vector(wxyz, "roll, pitch, yaw or a quaternion beside the position", 4)[[1, 2, 3, 0]]
    if np.linalg.norm(quat) < 1e-6:
        raise PeerMistake("expected a quaternion that is not zero")
    return _vector(position, "position", 3), quat


def _first(content: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((content[name] for name in names if content.get(name) is not None), None)


def _vector(value: Any, what: str, size: int | None) -> NDArray[np.float64]:
    vector = array_from_json(value, what).astype(float).reshape(-1)
    if (size is not None and len(vector) != size) or not 1 <= len(vector) <= 256 or not np.all(np.isfinite(vector)):
        raise PeerMistake(f"expected {what} as {size or 'some'} finite numbers, got {len(vector)}")
    return vector


def _numbers(value: Any, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise PeerMistake(f"expected {what} as nested lists of numbers ({error})") from error
    if array.dtype.kind not in "biuf":
        raise PeerMistake(f"expected {what} as numbers, got {type(value).__name__}")
    return array


def _as_dtype(array: NDArray[Any], dtype: "np.dtype[Any]", what: str) -> NDArray[Any]:
    """Raises PeerMistake where a whole-number dtype cannot hold the values."""
    if dtype.kind in "iu" and array.dtype != dtype:
        bounds = np.iinfo(dtype)
        if array.size and not (np.all(np.isfinite(array)) and array.min() >= bounds.min and array.max() <= bounds.max):
            raise PeerMistake(f"expected {what} between {bounds.min} and {bounds.max}")
    return np.ascontiguousarray(array.astype(dtype))

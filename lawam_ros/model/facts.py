"""What a checkpoint of ours says about the robot and the task it was trained for: the ``lawam_ros`` block of its config.yaml."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.contract.yaml_fields import Fields

FORMAT = 1


@dataclass(frozen=True)
class CheckpointFacts:
    """Contract a checkpoint was trained under.

    state, action: slot names of the task contract, in order, per arm. action_mode, state_mode: normalisation ("min_max" or "q99").
    binary_dims: action dimensions trained as 0 or 1. inference_only: the file lacks what only training reads, and
    the weights of other embodiments. trained_delay_steps: longest committed prefix (steps of action_hz) the training conditioned chunks
    on, 0 where it knew none. noise_scale: spread of the noise a chunk is made of, 1 as in training, less for chunks that scatter less.
    data_sha256: hash of the training data, empty where it is not known.
    training: anything worth remembering about how it was made.
    """

    robot: str
    embodiment_tag: str
    embodiment_id: int
    action_hz: float
    horizon_s: float
    action_offset_steps: int
    primary_cameras: tuple[str, ...]
    wrist_cameras: tuple[str, ...]
    state: tuple[str, ...]
    action: tuple[str, ...]
    action_mode: str = "min_max"
    state_mode: str = "min_max"
    binary_dims: tuple[int, ...] = ()
    inference_only: bool = False
    trained_delay_steps: int = 0
    noise_scale: float = 1.0
    data_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        content = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"format": FORMAT, **content}


def facts_from_mapping(mapping: Mapping[str, Any], where: str) -> CheckpointFacts:
    """Typed block; UserMistake names the key that is wrong."""
    fields = Fields(mapping, where)
    fields.integer("format", FORMAT, FORMAT)
    modes = ("min_max", "q99")
    facts = CheckpointFacts(
        robot=fields.text("robot"),
        embodiment_tag=fields.text("embodiment_tag"),
        embodiment_id=fields.integer("embodiment_id", 0, 10_000),
        action_hz=fields.number("action_hz", 1.0, 200.0),
        horizon_s=fields.number("horizon_s", 0.05, 10.0),
        action_offset_steps=fields.integer("action_offset_steps", 0, 10),
        primary_cameras=fields.texts("primary_cameras"),
        wrist_cameras=fields.texts("wrist_cameras"),
        state=fields.texts("state"),
        action=fields.texts("action"),
        action_mode=fields.choice("action_mode", modes),
        state_mode=fields.choice("state_mode", modes),
        binary_dims=tuple(int(dim) for dim in fields.raw("binary_dims")),
        inference_only=fields.flag("inference_only"),
        # Checkpoints written before these were known lack them.
        trained_delay_steps=fields.integer("trained_delay_steps", 0, 1000) if fields.has("trained_delay_steps") else 0,
        noise_scale=fields.number("noise_scale", 0.0, 1.0) if fields.has("noise_scale") else 1.0,
        data_sha256=_hash(fields, where) if fields.has("data_sha256") else "",
        training=fields.raw("training"),
    )
    for key in ("flow_dropout", "squashed_images"):
        fields.has(key)  # belong to the model configuration
    fields.done()
    return facts


def _hash(fields: Fields, where: str) -> str:
    value = fields.raw("data_sha256")
    if not isinstance(value, str) or re.fullmatch(r"|[0-9a-f]{64}", value) is None:
        raise UserMistake(f"{where}.data_sha256: expected 64 hexadecimal digits or an empty text, got {value!r}")
    return value


def check_contract(facts: CheckpointFacts, policy: PolicyContract, embodiment_id: int, where: str) -> None:
    """Refuse a checkpoint made for another embodiment, rate, horizon, camera set or meaning of state and action."""
    pairs = (
        ("embodiment id", facts.embodiment_id, embodiment_id),
        ("action rate (Hz)", facts.action_hz, policy.action_hz),
        ("horizon (s)", facts.horizon_s, policy.horizon_s),
        ("action offset (steps)", facts.action_offset_steps, policy.action_offset_steps),
        ("primary cameras", facts.primary_cameras, policy.primary_cameras),
        ("wrist cameras", facts.wrist_cameras, policy.wrist_cameras),
        ("state", facts.state, policy.state),
        ("action", facts.action, policy.action),
    )
    for name, trained, asked in pairs:
        if trained != asked:
            raise UserMistake(
                f"checkpoint {where}: {name}: trained with {trained}, the task asks for {asked}; use a checkpoint made for this task"
            )

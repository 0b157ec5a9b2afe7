"""A task as the rest of the package sees it, read from ``config/tasks/<name>.yaml``."""

import math
from dataclasses import dataclass
from typing import Any

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.yaml_fields import Fields

STATE_SLOTS = {"tcp_position": 3, "tcp_rotation_6d": 6, "gripper": 1}
"""Parts a state vector is made of and their widths: m in the arm's base frame, two matrix columns, opening in m."""

ACTION_SLOTS = {"translation_chunk_relative": 3, "rotvec_chunk_relative": 3, "gripper_opening": 1}
"""Parts an action vector is made of: from the commanded pose at the observation's time, in the arm's base frame (m; rad, applied on the
left); gripper opening in m, absolute."""

MERGES = ("replace", "ensemble", "official_robotwin", "official_towel")
"""What the executor may make of chunks that overlap in time; the first unless the task says otherwise."""


@dataclass(frozen=True)
class PolicyContract:
    """What the checkpoint speaks: cameras in prompt order, state and action slots per arm, rate, horizon and time offset."""

    action_hz: float
    horizon_s: float
    action_offset_steps: int
    replan_period_s: float
    primary_cameras: tuple[str, ...]
    wrist_cameras: tuple[str, ...]
    state: tuple[str, ...]
    action: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Valid steps of a chunk, floor(horizon_s * action_hz) as in the model's sampler."""
        return math.floor(self.horizon_s * self.action_hz)


@dataclass(frozen=True)
class Episode:
    """When a simulated attempt counts as over."""

    timeout_s: float
    settle_s: float


@dataclass(frozen=True)
class Task:
    """One task: who can do it, what to say to the policy, what the policy speaks, and the simulated world.

    merge: what the executor makes of chunks that overlap in time, one of MERGES (``executor.merge`` of the file, which may lack it).
    """

    name: str
    description: str
    robots: tuple[str, ...]
    instruction: str
    checkpoint: str
    policy: PolicyContract
    episode: Episode
    world: dict[str, Any]
    merge: str = "replace"


def task_from_mapping(mapping: dict[str, Any], where: str) -> Task:
    """Validated task of a YAML mapping. Raises UserMistake naming the key that is wrong."""
    fields = Fields(mapping, where)
    policy, cameras, episode = fields.child("policy"), fields.child("policy").child("cameras"), fields.child("episode")
    policy.raw("cameras")
    world = fields.raw("world")
    if not isinstance(world, dict) or "name" not in world:
        raise UserMistake(f"{where}.world: expected a mapping with at least 'name', got {world!r}")
    task = Task(
        name=fields.text("name"),
        description=fields.text("description"),
        robots=fields.texts("robots"),
        instruction=fields.text("instruction"),
        checkpoint=fields.text("checkpoint"),
        policy=PolicyContract(
            action_hz=policy.number("action_hz", 1.0, 200.0),
            horizon_s=policy.number("horizon_s", 0.05, 10.0),
            action_offset_steps=policy.integer("action_offset_steps", 0, 10),
            replan_period_s=policy.number("replan_period_s", 0.0, 10.0),
            primary_cameras=cameras.texts("primary"),
            wrist_cameras=cameras.texts("wrist"),
            state=policy.texts("state"),
            action=policy.texts("action"),
        ),
        episode=Episode(timeout_s=episode.number("timeout_s", 1.0, 600.0), settle_s=episode.number("settle_s", 0.0, 10.0)),
        world=world,
        merge=_merge(fields),
    )
    _check_slots(task.policy.state, STATE_SLOTS, f"{where}.policy.state")
    _check_slots(task.policy.action, ACTION_SLOTS, f"{where}.policy.action")
    if not task.policy.primary_cameras:
        raise UserMistake(f"{where}.policy.cameras.primary: expected at least one camera; the subgoal is predicted for the first")
    if not 1 <= task.policy.steps <= 512:
        raise UserMistake(f"{where}.policy: horizon_s * action_hz gives {task.policy.steps} steps, expected 1 to 512")
    for part in (policy, cameras, episode, fields):
        part.done()
    return task


def _merge(fields: Fields) -> str:
    if not fields.has("executor"):
        return MERGES[0]
    executor = fields.child("executor")
    merge = executor.choice("merge", MERGES)
    executor.done()
    return merge


def _check_slots(slots: tuple[str, ...], known: dict[str, int], where: str) -> None:
    for slot in slots:
        if slot not in known:
            raise UserMistake(f"{where}: unknown slot '{slot}', expected {', '.join(known)}")

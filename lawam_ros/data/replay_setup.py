"""How a recorded run is run again: task, policy and settings as the recording tells them, cameras as it holds them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract, load_contract
from lawam_ros.contract.robot import COMPRESSED
from lawam_ros.contract.wire import BadMessage, status_from_message
from lawam_ros.data import cdr_stamp
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_streams import BagStreams, bag_streams, find_topic

_LATENCY_S = 0.1
_MAX_LATENCY_S = 5.0
_COMMAND_RAD, _COMMAND_RAD_OTHERWISE = "1e-3", "0.05"
"""Outside lock step a chunk is used some milliseconds earlier or later than it was, which moves the seams."""


def remap_rules(texts: Sequence[str]) -> dict[str, str]:
    """``THEIRS:=OURS`` as a mapping. Raises UserMistake."""
    rules = dict(text.split(":=", 1) for text in texts if ":=" in text)
    if len(rules) != len(texts) or not all(theirs and ours for theirs, ours in rules.items()):
        raise UserMistake(f"expected different topics as THEIRS:=OURS, such as /hand/color:=camera/wrist/image_raw, got {', '.join(texts)}")
    return rules


def run_info_of(bag: Bag, remap: Mapping[str, str]) -> dict[str, Any]:
    """Content of ``lawam/run_info``, empty where the bag has none that can be read."""
    topic = find_topic(bag.topics, "lawam/run_info", remap)
    for message in bag.messages({topic.name}) if topic else ():
        try:
            content = json.loads(bag.decode(message).data)
        except (BadMessage, ValueError):
            continue
        if isinstance(content, dict):
            return content
    return {}


def contract_of(bag: Bag, info: Mapping[str, Any], task: str, robot: str, overrides: Sequence[str], remap: Mapping[str, str]) -> Contract:
    """The contract of a recording; task, robot and overrides of the caller's go before what the bag tells. Raises UserMistake."""
    task = task or str(info.get("task", ""))
    if not task:
        raise UserMistake(f"{bag.path.name} does not say which task it is of; name it with --task")
    return load_contract(task, robot or str(info.get("robot", "")) or None, all_overrides(bag, info, task, robot, overrides, remap))


def all_overrides(
    bag: Bag, info: Mapping[str, Any], task: str, robot: str, overrides: Sequence[str], remap: Mapping[str, str]
) -> list[str]:
    """Of the recording, then the caller's, then what makes cameras be read as the bag holds them: raw or compressed."""
    known = [*str(info.get("overrides", "")).split(";"), *overrides]
    known = [override for override in known if override.strip()]
    contract = load_contract(task, robot or str(info.get("robot", "")) or None, known)
    streams = bag_streams(bag.topics, contract.robot, remap)
    for camera in contract.robot.cameras:
        held = streams.cameras.get(camera.name)
        if held is not None and (held.type == "sensor_msgs/msg/CompressedImage") != camera.is_compressed:
            topic = camera.topic.removesuffix(COMPRESSED) if camera.is_compressed else camera.topic + COMPRESSED
            known.append(f"robot.cameras.{camera.name}.topic={topic}")
    return known


def use_latency_s(bag: Bag, info: Mapping[str, Any], streams: BagStreams) -> float:
    """From an observation to the first command that uses its chunk: as set in lock step, else the median of what was recorded."""
    if info.get("lockstep"):
        return float(info.get("lockstep_latency_s", _LATENCY_S))
    if streams.chunks is None or streams.status is None:
        return _LATENCY_S
    observed: dict[int, int] = {}
    used: dict[int, float] = {}
    for message in bag.messages({streams.chunks.name, streams.status.name}):
        try:
            decoded = bag.decode(message)
            if message.topic == streams.chunks.name:
                sequence = decoded.points[0].positions[list(decoded.joint_names).index("chunk/sequence")]
                observed[int(sequence)] = cdr_stamp.stamp_ns(message.raw)
            else:
                status = status_from_message(decoded)
                if status.accepted_sequence in observed and status.accepted_sequence not in used:
                    used[status.accepted_sequence] = (status.stamp_ns - observed[status.accepted_sequence]) * 1e-9
        except (BadMessage, IndexError, ValueError):
            continue
    return min(_MAX_LATENCY_S, round(statistics.median(used.values()), 3)) if used else _LATENCY_S


def replay_values(path: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Every argument of ``bringup.REPLAY_ARGUMENTS``, with what the recording tells where ``given`` is empty. Raises UserMistake."""
    remap = remap_rules([rule for rule in given["remap"].split(";") if rule.strip()])
    overrides = [override for override in given["set"].split(";") if override.strip()]
    with Bag(path) as bag:
        info = run_info_of(bag, remap)
        contract = contract_of(bag, info, given["task"], given["robot"], overrides, remap)
        merged = all_overrides(bag, info, contract.task.name, contract.robot.name, overrides, remap)
        streams = bag_streams(bag.topics, contract.robot, remap)
        latency_s = given["latency_s"] or f"{use_latency_s(bag, info, streams):g}"
        in_lockstep = given["clock"] == "lockstep" and bool(info.get("lockstep"))
        has_commands = streams.reference is not None and len(streams.poses) == len(contract.robot.arms)
    return {
        **given,
        "task": contract.task.name,
        "robot": contract.robot.name,
        "set": ";".join(merged),
        "checkpoint": given["checkpoint"] or str(info.get("checkpoint", "")) or contract.task.checkpoint,
        "seed": given["seed"] or str(info.get("seed", 0)),
        "rtc": given["rtc"] or str(info.get("rtc", True)).lower(),
        "latency_s": latency_s,
        "tolerance_command_rad": given["tolerance_command_rad"] or (_COMMAND_RAD if in_lockstep else _COMMAND_RAD_OTHERWISE),
        "closed": "true" if given["closed"] == "true" or not has_commands else "false",
        "instruction": given["instruction"] or contract.task.instruction,
    }

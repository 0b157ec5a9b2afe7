"""The nodes of a replay, for ``lawam replay`` and ``launch/replay.launch.py`` alike."""

from collections.abc import Mapping

from lawam_ros.bringup import Argument, NodeSpec, Value
from lawam_ros.contract.errors import UserMistake

REPLAY_ARGUMENTS = (
    Argument("bag", "", "The recording: a folder of rosbag2, or one of its files."),
    Argument("task", "", "Task of the recording; empty takes what the bag tells."),
    Argument("robot", "", "Robot of the recording; empty takes what the bag tells."),
    Argument("set", "", "Contract overrides, behind those of the recording; separated by semicolons."),
    Argument("checkpoint", "", "What looks at the recording: as for a run; empty takes the recorded policy."),
    Argument("instruction", "", "What the policy is asked to do where the bag does not tell."),
    Argument("remap", "", "Topics that the bag calls otherwise: THEIRS:=OURS, separated by semicolons."),
    Argument("clock", "lockstep", "lockstep waits for everybody; steady plays in real time.", ("lockstep", "steady")),
    Argument("rate", "1.0", "In real time, speed as a multiple of the recorded one."),
    Argument("throttle", "1.0", "In lock step, share of the possible speed, to try what depends on it."),
    Argument("latency_s", "", "In lock step, from an observation to the use of its chunk; empty takes the recorded one."),
    Argument("closed", "false", "Chunks start from the new commands, not from the recorded ones.", ("true", "false")),
    Argument("against", "", "Another recording to compare with."),
    Argument("same_weights", "false", "Other weights than the recorded ones are a regression.", ("true", "false")),
    Argument("tolerance_m", "1e-4", "Largest deviation of a target in a chunk, in m."),
    Argument("tolerance_rad", "1e-3", "Largest deviation of an orientation in a chunk, in rad."),
    Argument("tolerance_command_rad", "", "Largest deviation of a commanded joint, in rad; empty: 0.001 in lock step, else 0.05."),
    Argument("report", "", "File for the report, as JSON."),
    Argument("namespace", "", "Namespace of every node and topic."),
    Argument("device", "auto", "Device of the model.", ("auto", "cpu", "cuda")),
    Argument("seed", "", "Seed of the policy's noise; empty takes the recorded one."),
    Argument("rtc", "", "Real-time chunking; empty takes what was recorded."),
)


def replay_nodes(values: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """Nodes of a replay; ``values`` holds every argument, those that the bag tells included. Raises UserMistake."""
    common: dict[str, Value] = {"task": values["task"], "robot": values["robot"], "overrides": values["set"]}
    timed: dict[str, Value] = {**common, "replay": "closed" if values["closed"] == "true" else "open"}
    timed |= {"lockstep": values["clock"] == "lockstep", "lockstep_latency_s": _number("latency_s", values)}
    player: dict[str, Value] = {name: values[name] for name in ("bag", "against", "remap", "report")}
    player |= {name: _number(name, values) for name in ("rate", "throttle", "tolerance_m", "tolerance_rad", "tolerance_command_rad")}
    return (
        # The player activates it, again for every episode.
        NodeSpec("chunk_executor", {**timed, "instruction": values["instruction"], "autostart": False, "discovery_s": 0.0}),
        NodeSpec(
            "policy",
            {
                **timed,
                "checkpoint": values["checkpoint"],
                "device": values["device"],
                "rtc": values["rtc"] == "true",
                "seed": int(_number("seed", values)),
            },
        ),
        NodeSpec("player", {**timed, **player, "same_weights": values["same_weights"] == "true"}),
    )


def _number(name: str, values: Mapping[str, str]) -> float:
    try:
        return float(values[name])
    except ValueError as error:
        raise UserMistake(f"{name}:={values[name]}: expected a number") from error

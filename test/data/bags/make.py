"""Makes the golden bags anew, after a change that is meant to change what the nodes do, or for another shipped checkpoint:

    python test/data/bags/make.py [NAME ...]

Runs in lock step, policies that read the compressed topics. What replays need is kept; features of subgoals and descriptions are left out.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lawam_ros import bringup
from lawam_ros.cli.simulated_run import SimulatedRun, simulated_run
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.sim.renderer import choose_renderer

HERE = Path(__file__).resolve().parent
LEFT_OUT = ("/lawam/subgoal/", "/robot_description", "/camera_info")
COMPRESSED = [f"robot.cameras.{name}.topic=camera/{name}/image_raw/compressed" for name in ("front", "wrist")]
Interfere = Callable[[SimulatedRun, float], None]


class Operator:
    """Holds, stops and resets, each once, at its instant of simulated time."""

    def __init__(self, *plan: tuple[float, str]) -> None:
        self._plan = list(plan)

    def __call__(self, run: SimulatedRun, time_s: float) -> None:
        if self._plan and time_s > self._plan[0][0]:
            run.client.trigger(f"chunk_executor/{self._plan.pop(0)[1]}")


def leave_alone(run: SimulatedRun, time_s: float) -> None:
    """An undisturbed run."""


@dataclass(frozen=True)
class Golden:
    """seconds: of simulated time. interferer: makes who interferes. losses: what the robot does not send, as the parameter of ``sim``."""

    task: str
    seed: int
    seconds: float
    interferer: Callable[[], Interfere] = lambda: leave_alone
    losses: str = ""


# The wrist camera is away for longer than a chunk takes, however slowly it is run through; after lost joint states only a reset leads on.
GOLDEN = {
    "pick_place": Golden("franka_pick_place", 10007, 3.0),
    "drawer": Golden("franka_drawer", 10003, 2.5),
    "operator": Golden("franka_pick_place", 10011, 3.5, lambda: Operator((0.6, "hold"), (1.0, "reset"), (1.6, "stop"), (2.4, "reset"))),
    "faults": Golden("franka_pick_place", 10007, 4.8, lambda: Operator((4.0, "reset")), "wrist:0.2:2.7;joint_states:3.3:3.5"),
}
"""By the name of the folder."""


def make(name: str, work: Path) -> Path:
    golden = GOLDEN[name]
    overrides = [*COMPRESSED, f"task.episode.timeout_s={golden.seconds}"]
    values = bringup.defaults(golden.task) | {"seed": str(golden.seed), "set": ";".join(overrides), "view": "false", "clock": "lockstep"}
    values |= {"record": "true", "bag": str(work / "whole"), "device": "cpu"}
    with simulated_run(golden.task, values, losses=golden.losses) as run:
        interfere = golden.interferer()
        run.client.reset_world(golden.seed)
        time.sleep(0.3)  # the first frames and joint states of the episode
        while not run.client.activate_executor():
            time.sleep(0.2)
        while not (run.client.world and run.client.world.over):  # through stops, too, which would end an episode of `lawam eval`
            if run.client.world:
                interfere(run, run.client.world.time_s)
            time.sleep(0.005)
        run.client.deactivate_executor()
    return keep_what_counts(work / "whole", HERE / name)


def keep_what_counts(whole: Path, out: Path) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    with Bag(whole) as bag, BagWriter(out, compressed=True) as writer:
        kept = {topic.name: topic.type for topic in bag.topics.values() if topic.count and not any(part in topic.name for part in LEFT_OUT)}
        for topic, type_name in kept.items():
            writer.add_topic(topic, type_name)
        for message in bag.messages(kept):
            writer.write(message.topic, message.received_ns, message.raw)
    return out


def main() -> None:
    choose_renderer()
    for name in sys.argv[1:] or GOLDEN:
        with tempfile.TemporaryDirectory() as work:
            out = make(name, Path(work))
        print(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

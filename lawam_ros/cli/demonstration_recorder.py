"""One demonstration after the other, rendered and encoded: what a process of ``lawam data make`` does."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lawam_ros.cli.dies_with_parent import signal_at_parents_death
from lawam_ros.contract.load import Contract, load_contract
from lawam_ros.contract.task import STATE_SLOTS
from lawam_ros.data.action_space import ABSOLUTE_WIDTH, state_vector
from lawam_ros.data.episode_schema import ACTION, IMAGE_PREFIX, REFERENCE, STATE, command_rows
from lawam_ros.data.lerobot_writer import RecordedEpisode
from lawam_ros.data.statistics import PICTURE_STRIDE, PictureSums
from lawam_ros.data.video import VideoWriter
from lawam_ros.observe.image import rotate
from lawam_ros.sim.renderer import choose_renderer

if TYPE_CHECKING:
    import mujoco

    from lawam_ros.cli.data_make import Recipe
    from lawam_ros.sim.demonstration import Demonstration, Driver

POLICY_LATENCY_S = 0.1
"""Modelled latency of a policy that works before the expert takes over."""


@dataclass(frozen=True)
class Attempt:
    """A recorded episode, or the reason why there is none."""

    seed: int
    episode: RecordedEpisode | None
    reason: str


class DemonstrationRecorder:
    """Keeps one world and one renderer for many episodes."""

    def __init__(self, recipe: "Recipe", staging: Path) -> None:
        choose_renderer()
        from lawam_ros.sim.cameras import CameraRig
        from lawam_ros.sim.demonstration import Demonstrator

        self._contract = load_contract(recipe.task, recipe.robot, recipe.overrides)
        self._noise = recipe.noise
        self._staging = staging
        self._demonstrator = Demonstrator(self._contract, recipe.policy_s)
        self._rig = CameraRig(self._demonstrator.world.model, self._contract.robot.cameras)
        if recipe.checkpoint:
            self._demonstrator.driver = _policy_driver(recipe, self._contract, self._demonstrator.world.model)

    def record(self, seed: int) -> Attempt:
        demonstration = self._demonstrator.demonstrate(seed, self._noise)
        if demonstration.failure is not None:
            return Attempt(seed, None, demonstration.failure)
        return Attempt(seed, self._episode(demonstration), "")

    def _episode(self, demonstration: "Demonstration") -> RecordedEpisode:
        moments = demonstration.moments
        arms = [[moment.arms[arm.name] for moment in moments] for arm in self._contract.robot.arms]
        commanded = np.concatenate(
            [command_rows([m.commanded_tcp for m in arm], [m.commanded_gripper_m for m in arm]) for arm in arms], axis=1
        )
        # The row after the last frame would be a command nobody gave; the arms rest by then, so the last one is repeated.
        following = np.concatenate([commanded[1:], commanded[-1:]])
        following[:, ABSOLUTE_WIDTH - 1 :: ABSOLUTE_WIDTH] = np.array([[m.wanted_gripper_m for m in arm] for arm in arms]).T
        slots = tuple(STATE_SLOTS)
        state = np.concatenate([[state_vector(m.measured_tcp, m.measured_gripper_m, slots) for m in arm] for arm in arms], axis=1)
        videos, sums = self._film(demonstration)
        return RecordedEpisode(
            seed=demonstration.seed,
            task=self._contract.task.instruction,
            vectors={STATE: state, REFERENCE: commanded, ACTION: following},
            videos=videos,
            picture_statistics={key: one.as_mapping() for key, one in sums.items()},
            notes={"start": demonstration.start.kind},
        )

    def _film(self, demonstration: "Demonstration") -> tuple[dict[str, Path], dict[str, PictureSums]]:
        videos: dict[str, Path] = {}
        sums: dict[str, PictureSums] = {}
        writers: dict[str, VideoWriter] = {}
        try:
            for number, moment in enumerate(demonstration.moments):
                self._rig.show(moment.snapshot)
                for camera in self._contract.robot.cameras:
                    picture = rotate(self._rig.render(camera.name), camera.rotate_deg)
                    key = IMAGE_PREFIX + camera.name
                    if key not in writers:
                        videos[key] = self._staging / f"{demonstration.seed}_{camera.name}.mp4"
                        writers[key] = VideoWriter(videos[key], round(self._contract.task.policy.action_hz), *picture.shape[:2])
                        sums[key] = PictureSums()
                    writers[key].write(picture)
                    if number % PICTURE_STRIDE == 0:
                        sums[key].add(picture)
        finally:
            for writer in writers.values():
                writer.close()
        return videos, sums


def _policy_driver(recipe: "Recipe", contract: Contract, model: "mujoco.MjModel") -> "Driver":
    import torch

    from lawam_ros.cli.direct_episodes import PolicyInTheLoop
    from lawam_ros.policies.choose import choose_policy

    torch.set_num_threads(1)
    return PolicyInTheLoop(contract, choose_policy(recipe.checkpoint, contract, "cpu"), model, POLICY_LATENCY_S, run_seed=0)


_recorder: list[DemonstrationRecorder] = []


def start_worker(recipe: "Recipe", staging: Path) -> None:
    """Initialiser of a worker process. Ctrl-C is the parent's business; its end is this process's too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal_at_parents_death(signal.SIGTERM)
    _recorder[:] = [DemonstrationRecorder(recipe, staging)]


def record_in_worker(seed: int) -> Attempt:
    return _recorder[0].record(seed)

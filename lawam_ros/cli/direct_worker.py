"""A process of ``lawam eval --through direct``: one world, one policy, episode after episode."""

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from lawam_ros import bringup
from lawam_ros.cli.dies_with_parent import signal_at_parents_death
from lawam_ros.sim.renderer import choose_renderer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lawam_ros.cli.direct_episodes import DirectMeasurements
    from lawam_ros.cli.episodes import EpisodeResult


@dataclass(frozen=True)
class DirectJob:
    """What a worker needs to know: launch arguments, the run's seed, where to film which seeds."""

    task: str
    values: dict[str, str]
    run_seed: int
    out: Path | None
    filmed: Sequence[int]


@dataclass(frozen=True)
class DirectOutcome:
    result: "EpisodeResult"
    measured: "DirectMeasurements"
    film: str | None
    last_frame: "NDArray[np.uint8]"


class DirectWorker:
    """World, policy and cameras of one process."""

    def __init__(self, job: DirectJob) -> None:
        choose_renderer()
        import torch

        from lawam_ros.cli.direct_episodes import DirectRunner
        from lawam_ros.policies.choose import choose_policy

        torch.set_num_threads(1)
        contract = bringup.contract_for(job.task, job.values)
        contract = replace(contract, task=replace(contract.task, instruction=job.values["instruction"]))
        wanted = job.values["device"]
        device = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
        policy = choose_policy(job.values["checkpoint"], contract, device)
        policy.warm_up()
        self._job, self._size = job, contract.robot.camera(contract.task.policy.primary_cameras[0])
        self._runner = DirectRunner(contract, policy, float(job.values["latency_s"]), job.run_seed, job.values["rtc"] == "true")

    def episode(self, seed: int) -> DirectOutcome:
        from lawam_ros.cli.direct_episodes import DirectMeasurements
        from lawam_ros.data.video import VideoWriter

        runner, path = self._runner, None
        driver = runner.policy
        driver.measured = DirectMeasurements()
        if self._job.out is not None and seed in self._job.filmed:
            path = self._job.out / f"{self._job.task}_{seed}.mp4"
        writer = VideoWriter(path, round(self._size.rate_hz), self._size.height, self._size.width) if path else None
        try:
            result = runner.episode(seed, writer.write if writer is not None else None)
        finally:
            if writer is not None:
                writer.close()
        return DirectOutcome(result, driver.measured, str(path) if path else None, driver.last_picture())


_worker: list[DirectWorker] = []


def outcomes(job: DirectJob, seeds: Sequence[int], jobs: int) -> "Iterator[DirectOutcome]":
    """Episodes in the order of ``seeds``, ``jobs`` of them at the same time."""
    if jobs == 1:
        worker = DirectWorker(job)
        yield from map(worker.episode, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=start_worker, initargs=(job,)) as pool:
        yield from pool.map(episode_in_worker, seeds)


def start_worker(job: DirectJob) -> None:
    """First thing in a process of a pool: it ends with its parent."""
    signal_at_parents_death(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.append(DirectWorker(job))


def episode_in_worker(seed: int) -> DirectOutcome:
    return _worker[0].episode(seed)

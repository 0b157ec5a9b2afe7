"""Films an episode from what the run client sees."""

import itertools
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.robot import Arm
from lawam_ros.control.base_frames import BaseFrames
from lawam_ros.data.video import VideoWriter
from lawam_ros.nodes.run_client import RunClient
from lawam_ros.viz.run_video import path_panel, strip

FPS = 10


class Film:
    """One strip (camera, subgoal heatmap, reference path) per tenth of a second of wall time, to ``path``; nothing when that is None."""

    def __init__(self, path: Path | None, client: RunClient, contract: Contract, seed: int) -> None:
        self.path, self._client, self._contract, self._seed = path, client, contract, seed
        robot = contract.robot
        self._frames = BaseFrames(robot, (urdf_dir() / robot.urdf).read_text(encoding="utf-8"))
        corners = np.concatenate([self._frames.points_to_base(arm.name, _box_corners(arm)) for arm in robot.arms])
        self._lower_m, self._upper_m = corners.min(axis=0), corners.max(axis=0)
        self._writer: VideoWriter | None = None
        self._next_s = time.monotonic()

    @property
    def written(self) -> bool:
        return self._writer is not None

    def tick(self) -> None:
        """Take a frame when one is due."""
        client = self._client
        if self.path is None or time.monotonic() < self._next_s or client.frame is None:
            return
        self._next_s = max(self._next_s + 1.0 / FPS, time.monotonic() - 1.0 / FPS)
        frame = client.frame
        to_base = self._frames.points_to_base
        so_far = [to_base(name, np.array(path).reshape(-1, 3)) for name, path in client.paths_m.items()]
        plans = [to_base(name, plan) for name, plan in client.targets_m.items()]
        path = path_panel(so_far, plans, self._lower_m, self._upper_m, frame.shape[:2])
        status = client.status
        state = f"{status.state} {status.reason}" if status else ""
        picture = strip(frame, client.heatmap, path, f"{self._contract.task.instruction}   seed {self._seed}   {state}")
        if self._writer is None:
            self._writer = VideoWriter(self.path, FPS, *picture.shape[:2])
        self._writer.write(picture)

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


def _box_corners(arm: Arm) -> NDArray[np.float64]:
    """(8, 3), of the workspace, in the arm's base frame."""
    return np.array(list(itertools.product(*zip(arm.workspace_lower_m, arm.workspace_upper_m, strict=True))))

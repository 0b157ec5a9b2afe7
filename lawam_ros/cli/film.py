"""Films an episode from what the run client sees."""

import time
from pathlib import Path

import numpy as np

from lawam_ros.contract.load import Contract
from lawam_ros.data.video import VideoWriter
from lawam_ros.nodes.run_client import RunClient
from lawam_ros.viz.run_video import path_panel, strip

FPS = 10


class Film:
    """One strip (camera, subgoal heatmap, reference path) per tenth of a second of wall time, to ``path``; nothing when that is None."""

    def __init__(self, path: Path | None, client: RunClient, contract: Contract, seed: int) -> None:
        self.path, self._client, self._contract, self._seed = path, client, contract, seed
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
        arm = self._contract.robot.arms[0]
        frame, so_far = client.frame, np.array(client.path_m).reshape(-1, 3)
        path = path_panel(so_far, client.targets_m, arm.workspace_lower_m, arm.workspace_upper_m, frame.shape[:2])
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

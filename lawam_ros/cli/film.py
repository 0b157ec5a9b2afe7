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
    """One strip (camera, subgoal heatmap, reference path) per tenth of a second of wall time."""

    def __init__(self, path: Path, client: RunClient, contract: Contract, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._client, self._contract, self._seed = path, client, contract, seed
        self._writer: VideoWriter | None = None
        self._next_s = time.monotonic()

    def tick(self) -> None:
        """Take a frame when one is due."""
        client = self._client
        if time.monotonic() < self._next_s or client.frame is None:
            return
        self._next_s = max(self._next_s + 1.0 / FPS, time.monotonic() - 1.0 / FPS)
        arm = self._contract.robot.arms[0]
        frame = client.frame
        path = path_panel(
            np.array(client.path_m).reshape(-1, 3), client.targets_m, arm.workspace_lower_m, arm.workspace_upper_m, frame.shape[:2]
        )
        state = client.status.state if client.status else ""
        picture = strip(frame, client.heatmap, path, f"{self._contract.task.instruction}   seed {self._seed}   {state}")
        if self._writer is None:
            self._writer = VideoWriter(self._path, FPS, *picture.shape[:2])
        self._writer.write(picture)

    def close(self) -> str:
        if self._writer is not None:
            self._writer.close()
        return str(self._path)

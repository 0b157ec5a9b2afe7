"""The simulated cameras' pictures, drawn by another process.

Software draws for a third of a core's time and more, which must not be under SCHED_FIFO as the physics are; and a thread of ordinary
priority in their process would hold them up: Python's threads hand the interpreter to each other, and whoever hands it over waits until the
other one has got a core (117 ms were measured on two busy ones).
"""

import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.robot import Camera
from lawam_ros.nodes.priority import take_ordinary_priority

if TYPE_CHECKING:
    from lawam_ros.sim.world_state import Snapshot

_END_S = 2.0


class CameraProcess:
    """As ``sim.cameras.CameraRig``, for one thread at a time. Raises LawamError where the process has ended."""

    def __init__(self) -> None:
        self._connection, others = Pipe()
        with others:
            command = [sys.executable, "-m", "lawam_ros.nodes.camera_process", str(others.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[others.fileno()])

    def show(self, model: Any, cameras: tuple[Camera, ...]) -> None:
        """What the pictures are of, to be said once. model: ``mujoco.MjModel``, which is copied."""
        self._send((model, cameras))

    def pictures(self, snapshot: "Snapshot") -> dict[str, NDArray[np.uint8]]:
        """Every camera's picture of one instant, as mounted."""
        self._send(snapshot)
        try:
            pictures: dict[str, NDArray[np.uint8]] = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        return pictures

    def close(self) -> None:
        self._connection.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, what: object) -> None:
        try:
            self._connection.send(what)
        except OSError as error:
            raise self._ended() from error

    def _ended(self) -> LawamError:
        try:
            code: object = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            code = "none yet"
        return LawamError(f"expected pictures from the process that draws them, it has ended (exit code {code}); its last words tell why")


def draw(connection: Connection) -> None:
    """Answers snapshots with a picture of each camera until the other side closes."""
    from lawam_ros.sim.cameras import CameraRig

    try:
        rig = CameraRig(*connection.recv())
        while True:
            connection.send(rig.pictures(connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass


def main() -> int:
    take_ordinary_priority()
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the node, which still asks for pictures until it has stopped
        signal.signal(number, signal.SIG_IGN)
    draw(Connection(int(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())

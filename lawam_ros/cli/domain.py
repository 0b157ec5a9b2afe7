"""A ROS domain of one's own: runs side by side must not hear each other, nor a robot in the lab."""

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from lawam_ros.contract.errors import EnvironmentLacks

FIRST, LAST = 1, 101


class ReservedDomain:
    """Holds one domain number for the life of this object; the lock ends with the process, however it ends.

    The one that was used longest ago: a process that was killed leaves shared memory behind, and who speaks to its port waits for it.
    """

    def __init__(self, wanted: int | None = None) -> None:
        folder = Path(tempfile.gettempdir()) / f"lawam_domains_{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._file: IO[str] | None = None
        candidates = [wanted] if wanted is not None else sorted(range(FIRST, LAST + 1), key=lambda number: _used_s(folder / str(number)))
        for number in candidates:
            file = (folder / str(number)).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            self._file, self.number = file, number
            return
        if wanted is not None:
            raise EnvironmentLacks(f"ROS domain {wanted} is held by another lawam run; leave out --domain or wait")
        raise EnvironmentLacks(f"all ROS domains from {FIRST} to {LAST} are held by other lawam runs; end some")

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _used_s(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0

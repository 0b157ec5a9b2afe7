"""When an episode in stepped time is over, and a hash of all that was commanded until then."""

from lawam_ros.contract.command_digest import CommandDigest
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.task import Episode


class EpisodeEnd:
    """reason: empty while it goes on, then ``success`` (held for the settling time) or ``timeout``."""

    def __init__(self, episode: Episode) -> None:
        self._timeout_ns, self._settle_ns = round(episode.timeout_s * 1e9), round(episode.settle_s * 1e9)
        self._start_ns: int | None = None
        self._succeeded_ns: int | None = None
        self._digest = CommandDigest()
        self.reason = ""

    @property
    def command_hash(self) -> str:
        """Of all that was commanded, see ``contract/command_digest.py``."""
        return self._digest.hexdigest

    def update(self, now_ns: int, command: JointCommand, success: bool) -> None:
        """One period that was commanded at ``now_ns`` and what the task's measure says after it."""
        if self.reason:
            return
        self._start_ns = now_ns if self._start_ns is None else self._start_ns
        self._digest.add(now_ns, command)
        self._succeeded_ns = (now_ns if self._succeeded_ns is None else self._succeeded_ns) if success else None
        if self._succeeded_ns is not None and now_ns - self._succeeded_ns >= self._settle_ns:
            self.reason = "success"
        elif now_ns - self._start_ns >= self._timeout_ns:
            self.reason = "timeout"

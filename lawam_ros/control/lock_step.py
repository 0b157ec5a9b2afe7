"""Lock step: one owner of time waits for everybody, so that a run depends on nothing but its inputs (docs/time.md).

Pure bookkeeping for its three sides. All stamps are int ns of stepped time.
"""

from collections.abc import Iterable, Mapping

INFER, SKIP, FAILED = "infer", "skip", "failed"
"""What ``lawam/observed`` says about a primary frame: inferred on, passed over; and that no chunk will come of it."""


class StepLedger:
    """The newest announced step, and whether everything it says was published has arrived."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._arrived: dict[str, int] = dict.fromkeys(topics, -1)
        self._listed: Mapping[str, int] = {}
        self.stamp_ns: int | None = None

    def announce(self, stamp_ns: int, newest: Mapping[str, int]) -> None:
        """Step ``stamp_ns``; ``newest``: topic -> stamp of its newest message so far. An older step than the newest is ignored."""
        if self.stamp_ns is None or stamp_ns >= self.stamp_ns:
            self.stamp_ns, self._listed = stamp_ns, newest

    def arrived(self, topic: str, stamp_ns: int) -> None:
        self._arrived[topic] = max(self._arrived[topic], stamp_ns)

    @property
    def complete(self) -> bool:
        """Whether a step is announced and no listed message of the own topics is on its way."""
        return self.stamp_ns is not None and all(seen >= self._listed.get(topic, -1) for topic, seen in self._arrived.items())


class LookRule:
    """Which primary frames a policy with a modelled latency looks at: a rule of stepped time alone."""

    def __init__(self, latency_ns: int, replan_period_ns: int) -> None:
        self._gap_ns = max(latency_ns, replan_period_ns)
        self._last_ns: int | None = None

    def looks(self, frame_ns: int, wants_chunks: bool, epoch_stamp_ns: int) -> bool:
        """Whether to infer on this frame; asked once per frame, in their order."""
        if not wants_chunks or frame_ns <= epoch_stamp_ns:
            return False
        if self._last_ns is not None and self._last_ns > epoch_stamp_ns and frame_ns < self._last_ns + self._gap_ns:
            return False
        self._last_ns = frame_ns
        return True


class PlannedLooks:
    """The looks of a recording: exactly its frames, while somebody wants chunks. Without a plan, whatever ``rule`` says.

    The plan is set once, before the first frame.
    """

    def __init__(self, rule: LookRule) -> None:
        self._rule = rule
        self.frames: frozenset[int] = frozenset()

    def looks(self, frame_ns: int, wants_chunks: bool, epoch_stamp_ns: int) -> bool:
        if not self.frames:
            return self._rule.looks(frame_ns, wants_chunks, epoch_stamp_ns)
        return wants_chunks and frame_ns > epoch_stamp_ns and frame_ns in self.frames


class TimeGate:
    """The owner's side: what is still missing before time may move on."""

    def __init__(self, latency_ns: int, period_ns: int) -> None:
        self._latency_ns, self._period_ns = latency_ns, period_ns
        self._reference_ns = self._status_ns = self._judged_ns = -1
        self._unseen: dict[int, int] = {}
        self._inferring: set[int] = set()
        self._observations: dict[int, int] = {}

    def frame(self, stamp_ns: int, observation_ns: int | None = None) -> None:
        """A primary frame was published. observation_ns: instant of the observation it completes, where a slower camera decides on it."""
        self._unseen[stamp_ns] = stamp_ns if observation_ns is None else observation_ns

    def reference(self, stamp_ns: int) -> None:
        """The executor has ticked ``stamp_ns``."""
        self._reference_ns = max(self._reference_ns, stamp_ns)

    def status(self, stamp_ns: int, judged_ns: int) -> None:
        """The executor's state after a tick, and the stamp of the newest chunk it has in hand or has refused."""
        self._status_ns, self._judged_ns = max(self._status_ns, stamp_ns), max(self._judged_ns, judged_ns)
        self._inferring = {stamp for stamp in self._inferring if stamp > self._judged_ns}

    def observed(self, stamp_ns: int, verdict: str) -> None:
        """The policy's word on a frame; a frame already spoken of may only fail."""
        if stamp_ns in self._unseen:
            observation_ns = self._observations[stamp_ns] = self._unseen.pop(stamp_ns)
            if verdict == INFER and observation_ns > self._judged_ns:
                self._inferring.add(observation_ns)
        if verdict == FAILED:
            self._inferring.discard(self._observations.get(stamp_ns, stamp_ns))

    def forget(self) -> None:
        """A new episode: what was asked in the last one will not be answered."""
        self._unseen.clear()
        self._inferring.clear()
        self._observations.clear()

    def missing(self, now_ns: int) -> list[str]:
        """Who has not answered step ``now_ns``, in words; empty when time may move on by one period."""
        missing = []
        if self._reference_ns < now_ns:
            missing.append("chunk_executor: lawam/reference of this step")
        if self._status_ns < now_ns:
            missing.append("chunk_executor: lawam/status of this step")
        if self._unseen:
            missing.append(f"policy: lawam/observed of {len(self._unseen)} frame(s)")
        due = [stamp for stamp in self._inferring if stamp + self._latency_ns <= now_ns + self._period_ns]
        if due:
            missing.append(f"policy: the chunk of the frame {(now_ns - min(due)) * 1e-9:.3f} s ago")
        return missing

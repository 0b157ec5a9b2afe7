"""The policy's side of lock step: what it says of every primary frame, and when."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from lawam_ros.control.lock_step import INFER, SKIP, LookRule, PlannedLooks, StepLedger
from lawam_ros.nodes.status import ExecutorStatus

_KEPT = 64


class SteppedLooks:
    """Decides on a frame once everything published up to its step has arrived, the executor's state after that step included.

    One thread; stamps are int ns of stepped time.
    """

    def __init__(self, primary_topic: str, topics: Iterable[str], rule: LookRule | PlannedLooks) -> None:
        self._primary = primary_topic
        self._ledger = StepLedger(topics)
        self._rule = rule
        self._status: ExecutorStatus | None = None
        self._verdicts: OrderedDict[int, str | None] = OrderedDict()

    def arrived(self, topic: str, stamp_ns: int) -> str | None:
        """A message; of a primary frame that was decided on before, the verdict that has to be said again."""
        self._ledger.arrived(topic, stamp_ns)
        if topic != self._primary:
            return None
        verdict = self._verdicts.setdefault(stamp_ns, None)
        if len(self._verdicts) > _KEPT:
            self._verdicts.popitem(last=False)
        return verdict

    def step(self, stamp_ns: int, newest: Mapping[str, int]) -> None:
        self._ledger.announce(stamp_ns, newest)

    def status(self, status: ExecutorStatus) -> None:
        self._status = status

    def decided(self, sees: Callable[[int], bool]) -> tuple[int, str, ExecutorStatus] | None:
        """The oldest frame that can be decided on now, with the verdict and the executor's status it rests on; None if there is none.

        sees: whether there is an observation to infer on at a frame. Where something is missing the next frame is looked at.
        """
        frame_ns = next((stamp for stamp, verdict in self._verdicts.items() if verdict is None), None)
        status, step_ns = self._status, self._ledger.stamp_ns
        if frame_ns is None or status is None or step_ns is None:
            return None
        if not self._ledger.complete or step_ns < frame_ns or status.stamp_ns < frame_ns:
            return None
        wants = status.wants_chunks and sees(frame_ns)
        verdict = INFER if self._rule.looks(frame_ns, wants, status.epoch_stamp_ns) else SKIP
        self._verdicts[frame_ns] = verdict
        return frame_ns, verdict, status

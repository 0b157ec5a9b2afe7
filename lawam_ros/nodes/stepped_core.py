"""Ticks of the executor's core in lock step: nobody waits for a deadline, a step is ticked when all of it has arrived."""

from collections.abc import Mapping
from dataclasses import replace

from lawam_ros.contract.records import ActionChunk
from lawam_ros.control.tick_output import Status, TickOutput
from lawam_ros.nodes.executor_outputs import ExecutorOutputs
from lawam_ros.nodes.shared_core import SharedCore
from lawam_ros.nodes.stepped_ticks import SILENT_S, SteppedTicks

Refused = tuple[ActionChunk, str]
"""A chunk that the core did not take, and why."""


class SteppedCore:
    """Called by the inputs as messages arrive, and by transitions."""

    def __init__(self, shared: SharedCore, steps: SteppedTicks, outputs: ExecutorOutputs, period_ns: int) -> None:
        self._shared = shared
        self._steps = steps
        self._outputs = outputs
        self._period_ns = period_ns

    def announced(self, step_ns: int, newest: Mapping[str, int]) -> list[Refused]:
        """A step was announced, or its answer is asked for again. Chunks that were refused in its tick."""
        with self._shared.lock:
            if self._steps.announced(step_ns, newest):
                return self._tick(self._steps.due_ns())
        self.answer_again()
        return []

    def arrived(self, topic: str, stamp_ns: int) -> list[Refused]:
        """topic: resolved name, of those that a step may list. Chunks that were refused, where this completed a step and it was ticked."""
        with self._shared.lock:
            self._steps.ledger.arrived(topic, stamp_ns)
            return self._tick(self._steps.due_ns())

    def take(self, chunk: ActionChunk) -> None:
        """A chunk is in hand; it is offered when its latency has passed."""
        with self._shared.lock:
            self._steps.hold(chunk)
            self._judge(chunk.stamp_ns)

    def judged(self, stamp_ns: int) -> None:
        """The chunk with this stamp will not come to anything: the owner of time need not wait for it."""
        with self._shared.lock:
            self._judge(stamp_ns)

    def answer_again(self) -> None:
        """The last step's answer, with the state as it is now: transitions come between steps."""
        with self._shared.lock:
            if self._shared.core is not None and self._shared.output is not None:
                self._publish(replace(self._shared.output, status=self._shared.core.status))

    def brake_alone(self) -> None:
        """One tick without a step, where the owner of time has fallen silent: a braking arm comes to rest all the same."""
        with self._shared.lock:
            if self._steps.silent_s > SILENT_S:
                self._tick(self._steps.now_ns + self._period_ns)

    def _tick(self, now_ns: int | None) -> list[Refused]:
        """With the lock held. Nothing where no tick is due."""
        core = self._shared.core
        if now_ns is None or core is None:
            return []
        answers = [(chunk, core.offer_chunk(chunk, now_ns)) for chunk in self._steps.released(now_ns)]
        self._steps.ticked_ns = now_ns
        output = self._shared.output = core.tick(now_ns)
        self._publish(output)
        return [(chunk, reason) for chunk, reason in answers if reason is not None]

    def _judge(self, stamp_ns: int) -> None:
        """With the lock held. The owner of time waits to hear that a chunk is in hand."""
        self._steps.judged_ns = max(self._steps.judged_ns, stamp_ns)
        if self._shared.core is not None and self._shared.output is not None:
            self._outputs.publish_status(self._with_judged(self._shared.core.status), self._steps.now_ns)

    def _publish(self, output: TickOutput) -> None:
        self._outputs.publish(replace(output, status=self._with_judged(output.status)), 0)

    def _with_judged(self, status: Status) -> Status:
        return status if self._steps.judged_ns < 0 else replace(status, judged_stamp_ns=self._steps.judged_ns)

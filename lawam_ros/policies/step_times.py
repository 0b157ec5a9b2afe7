"""Where the time goes from the exposure of an image to the first command that uses its chunk."""

from collections import deque
from collections.abc import Iterable

import numpy as np

STEPS = ("arrival", "queue", "preparation", "reference", "model", "publication", "first_command")
"""Exposure to arrival of the last image of the set; until the worker takes it; images and joints made ready; commanded poses of that
instant awaited; the model; until the chunk is sent; until the tick that first uses it. Together they are the whole way."""
TOTAL = "observation_to_command"
_KEPT = 1000


class StepClock:
    """Times one chunk: each step lasts from the end of the one before; a step may come twice. Times are int ns of one clock."""

    def __init__(self, exposure_ns: int) -> None:
        self._exposure_ns = self.last_ns = exposure_ns
        self.took_ns: dict[str, int] = {}

    def done(self, step: str, now_ns: int) -> None:
        self.took_ns[step] = self.took_ns.get(step, 0) + now_ns - self.last_ns
        self.last_ns = now_ns

    @property
    def total_ns(self) -> int:
        return self.last_ns - self._exposure_ns


class StepTimes:
    """Steps of the newest chunks whose use is known."""

    def __init__(self) -> None:
        self._ms: dict[str, deque[float]] = {name: deque(maxlen=_KEPT) for name in (*STEPS, TOTAL)}

    def add(self, clock: StepClock) -> None:
        for name in STEPS:
            self._ms[name].append(clock.took_ns.get(name, 0) * 1e-6)
        self._ms[TOTAL].append(clock.total_ns * 1e-6)

    def report(self) -> dict[str, object]:
        """``step_ms_<name>_p50`` and ``_p99`` of every step and of the whole way; empty before the first chunk was used."""
        return {f"step_ms_{name}_{label}": value for name, samples in self._ms.items() for label, value in quantiles(samples).items()}


def quantiles(samples: Iterable[float]) -> dict[str, float]:
    """p50 and p99; nothing of nothing."""
    values = list(samples)
    return dict(zip(("p50", "p99"), np.percentile(values, [50, 99]).tolist(), strict=True)) if values else {}

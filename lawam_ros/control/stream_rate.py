"""How often a stream is heard, and how long ago: for diagnostics."""

from collections import deque

_KEPT = 50


class StreamRate:
    """Arrivals of one stream, int ns of one clock."""

    def __init__(self) -> None:
        self._arrivals_ns: deque[int] = deque(maxlen=_KEPT)

    def heard(self, now_ns: int) -> None:
        self._arrivals_ns.append(now_ns)

    def report(self, name: str, now_ns: int) -> dict[str, object]:
        """``<name>_hz`` over the last arrivals and ``<name>_age_ms``; nothing before the first."""
        arrivals = list(self._arrivals_ns)
        if not arrivals:
            return {}
        span_s = (arrivals[-1] - arrivals[0]) * 1e-9
        rate: dict[str, object] = {f"{name}_hz": (len(arrivals) - 1) / span_s} if span_s > 0.0 else {}
        return rate | {f"{name}_age_ms": (now_ns - arrivals[-1]) * 1e-6}

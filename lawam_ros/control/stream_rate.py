"""How often a stream is heard, how long ago, and for how long already."""

from collections import deque

_KEPT = 50
_GAP_NS = 1_000_000_000


class StreamRate:
    """Arrivals of one stream, int ns of one clock."""

    def __init__(self) -> None:
        self._arrivals_ns: deque[int] = deque(maxlen=_KEPT)
        self._since_ns = 0

    def heard(self, now_ns: int) -> None:
        if not self._is_heard(now_ns):
            self._since_ns = now_ns
        self._arrivals_ns.append(now_ns)

    def heard_for_s(self, now_ns: int) -> float | None:
        """Seconds since the first arrival after which none was missing for longer than a second; None while nothing is heard."""
        return (now_ns - self._since_ns) * 1e-9 if self._is_heard(now_ns) else None

    def report(self, name: str, now_ns: int) -> dict[str, object]:
        """``<name>_hz`` over the last arrivals and ``<name>_age_ms``; nothing before the first."""
        arrivals = list(self._arrivals_ns)
        if not arrivals:
            return {}
        span_s = (arrivals[-1] - arrivals[0]) * 1e-9
        rate: dict[str, object] = {f"{name}_hz": (len(arrivals) - 1) / span_s} if span_s > 0.0 else {}
        return rate | {f"{name}_age_ms": (now_ns - arrivals[-1]) * 1e-6}

    def _is_heard(self, now_ns: int) -> bool:
        return bool(self._arrivals_ns) and now_ns - self._arrivals_ns[-1] <= _GAP_NS

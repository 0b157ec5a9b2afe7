"""What is wrong with the stream of one camera: silence, stamps that cannot be, pictures that do not change, bytes that are no picture."""

import math
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lawam_ros.observe.timed_buffer import CLOCK_SET_BACK_NS

SILENT_PERIODS = 2.0
FROZEN_FRAMES = 3
REFUSED_FRAMES = 3
UNIFORM_FRAMES = 5
_MOVED_RAD = 0.05
_DARK, _BRIGHT = 4.0, 251.0
_SAMPLE_BYTES = 65536


def sampled(data: memoryview | bytes) -> NDArray[np.uint8]:
    """Some 65536 bytes spread over an image and over its colours, enough to tell it from another one."""
    values = np.frombuffer(data, np.uint8)
    step = max(1, len(values) // _SAMPLE_BYTES)
    while step > 1 and (step % 2 == 0 or step % 3 == 0):
        step += 1
    return values[::step]


class CameraWatch:
    """Judges every frame as it arrives. Times are int ns on one clock.

    An unchanged picture is a frozen camera only while the arm moves: a simulated one looks the same as long as nothing does.
    refuse_uniform: whether a camera that stays black or saturated is of no use, and not merely odd.
    """

    def __init__(self, rate_hz: float, future_stamp_s: float, refuse_uniform: bool = False) -> None:
        self._refuse_uniform = refuse_uniform
        self._period_ns = 1e9 / rate_hz
        self._future_ns = future_stamp_s * 1e9
        self._arrival_ns: int | None = None
        self._stamp_ns: int | None = None
        self._print: int | None = None
        self._same_stamps = 0
        self._same_pictures = 0
        self._joints_then: Mapping[str, float] | None = None
        self._frozen = False
        self._refused = 0
        self._refusal = ""
        self._uniform = 0
        self._look = ""
        self.dropped = 0
        self.last_drop = ""
        """Why the newest frame was dropped, empty when it was not."""

    def frame(self, stamp_ns: int, arrival_ns: int, sample: NDArray[np.uint8], joints: Mapping[str, float] | None) -> bool:
        """Whether to keep a frame. sample: from ``sampled``. joints: newest measured positions by name (rad), None before the first."""
        self._arrival_ns = arrival_ns
        self._refused, self._refusal = 0, ""
        self._note_look(sample)
        self.last_drop = self._wrong_stamp(stamp_ns, arrival_ns) or self._unchanged(zlib.crc32(sample.tobytes()), joints)
        if self._refuse_uniform:
            self.last_drop = self.last_drop or self._uniform_look
        if self.last_drop:
            self.dropped += 1
        return not self.last_drop

    def refused(self, arrival_ns: int, reason: str) -> None:
        """A frame that is no usable picture: wrong encoding, size or bytes."""
        self._arrival_ns = arrival_ns
        self._refused += 1
        self._refusal = self.last_drop = reason
        self.dropped += 1

    @property
    def refusal(self) -> str:
        """Why the last frames, at least ``REFUSED_FRAMES``, were no usable pictures; empty otherwise."""
        return self._refusal if self._refused >= REFUSED_FRAMES else ""

    def problem(self, now_ns: int) -> str:
        """Why there is no usable stream now, empty when there is one or none has come yet."""
        if self._arrival_ns is None:
            return ""
        silent_ns = now_ns - self._arrival_ns
        if silent_ns > SILENT_PERIODS * self._period_ns:
            return f"no frame for {silent_ns * 1e-9:.2f} s, expected one every {self._period_ns * 1e-9:.3f} s"
        if self.refusal:
            return self.refusal
        if self._same_stamps >= FROZEN_FRAMES - 1:
            return f"frozen: {self._same_stamps + 1} frames with one stamp"
        if self._frozen:
            return f"frozen: {self._same_pictures + 1} equal frames while the arm moved"
        return self._uniform_look if self._refuse_uniform else ""

    def warning(self) -> str:
        """What is odd but no reason to stop: the last frame dropped for its stamp, or a uniform picture."""
        return self._uniform_look or ("" if self.refusal else self.last_drop)

    @property
    def _uniform_look(self) -> str:
        return f"{self._look} for {self._uniform} frames" if self._uniform >= UNIFORM_FRAMES else ""

    def _wrong_stamp(self, stamp_ns: int, arrival_ns: int) -> str:
        ahead_ns = stamp_ns - arrival_ns
        if ahead_ns > self._future_ns:
            return f"stamped {ahead_ns * 1e-9:.2f} s in the future; synchronise the clocks of camera and computer"
        before_ns, back_ns = self._stamp_ns, 0 if self._stamp_ns is None else self._stamp_ns - stamp_ns
        self._same_stamps = self._same_stamps + 1 if stamp_ns == before_ns else 0
        if before_ns is not None and 0 <= back_ns <= CLOCK_SET_BACK_NS:
            return "stamped as the frame before" if back_ns == 0 else f"stamped {back_ns * 1e-9:.3f} s before the frame before"
        self._stamp_ns = stamp_ns
        return ""

    def _unchanged(self, print_: int, joints: Mapping[str, float] | None) -> str:
        if print_ != self._print:
            self._print, self._joints_then, self._same_pictures, self._frozen = print_, joints, 0, False
            return ""
        self._same_pictures += 1
        if self._same_pictures >= FROZEN_FRAMES - 1 and _moved_rad(self._joints_then, joints) > _MOVED_RAD:
            self._frozen = True
        return "the same picture again while the arm moved" if self._frozen else ""

    def _note_look(self, sample: NDArray[np.uint8]) -> None:
        mean = float(sample.mean()) if sample.size else math.nan
        look = "black" if mean < _DARK else "saturated" if mean > _BRIGHT else ""
        self._uniform = self._uniform + 1 if look and look == self._look else int(bool(look))
        self._look = look


def _moved_rad(before: Mapping[str, float] | None, now: Mapping[str, float] | None) -> float:
    if before is None or now is None:
        return 0.0
    return max((abs(value - before[name]) for name, value in now.items() if name in before), default=0.0)

"""Frames at a constant rate out of streams with stamps of their own: what a dataset holds, the same live and from a bag.

A tick half a period after each nominal frame takes what was newest by then; a message stamped at the tick itself counts. A tick is taken
when every stream has gone past it, so that it matters neither which message came first nor where a recording ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import Budgets
from lawam_ros.observe.alignment import Aligned, ImageT, NotAligned, align, pose_at
from lawam_ros.observe.timed_buffer import TimedBuffer

_KEPT = 1000
SILENT_NS = 2_000_000_000
"""A stream that is so far behind another one is no longer waited for."""


@dataclass(frozen=True)
class Commanded:
    """What an arm is commanded at one instant: pose of the TCP in the arm's base frame, opening in m."""

    pose: Pose
    opening_m: float


@dataclass(frozen=True)
class Frame(Generic[ImageT]):
    """commanded: arm -> command at the observation's instant, empty where no commands are given."""

    observation: Aligned[ImageT]
    commanded: Mapping[str, Commanded]


class FrameStream(Generic[ImageT]):
    """Stamps in ns; of images the exposure. arms: whose commands are given, too; none where a recording has no commands.

    Ticks count from the first image of the first camera. Before the first frame missing streams are waited for; later they are a fault.
    """

    def __init__(self, cameras: Sequence[str], arms: Sequence[str], rate_hz: float, budgets: Budgets) -> None:
        self._period_ns, self._budgets, self._primary = 1e9 / rate_hz, budgets, cameras[0]
        self._images: dict[str, TimedBuffer[ImageT]] = {name: TimedBuffer(_KEPT) for name in cameras}
        self._joints: TimedBuffer[Mapping[str, float]] = TimedBuffer(_KEPT)
        self._poses: dict[str, TimedBuffer[Pose]] = {arm: TimedBuffer(_KEPT) for arm in arms}
        self._openings: TimedBuffer[Mapping[str, float]] = TimedBuffer(_KEPT)
        self._waiting: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        for name in cameras:
            self._waiting["image", name] = []
        self._waiting["joints", ""] = []
        for arm in arms:
            self._waiting["pose", arm] = []
        if arms:
            self._waiting["openings", ""] = []
        self._first_ns: int | None = None
        self._last_image_ns = 0
        self._ticks = 0
        self.tick_ns = 0
        """Instant of the tick that was taken last."""
        self.frames = 0
        self.fault = ""
        """Why there is no frame at a tick after the first frame; there are no more then."""

    def image(self, camera: str, exposure_ns: int, image: ImageT) -> None:
        if camera == self._primary and self._first_ns is None:
            self._first_ns = exposure_ns
        self._last_image_ns = max(self._last_image_ns, exposure_ns)
        self._waiting["image", camera].append((exposure_ns, image))

    def joints(self, stamp_ns: int, positions: Mapping[str, float]) -> None:
        self._waiting["joints", ""].append((stamp_ns, positions))

    def pose(self, arm: str, stamp_ns: int, pose: Pose) -> None:
        self._waiting["pose", arm].append((stamp_ns, pose))

    def openings(self, stamp_ns: int, opening_m: Mapping[str, float]) -> None:
        self._waiting["openings", ""].append((stamp_ns, opening_m))

    def ready(self) -> Iterator[Frame[ImageT]]:
        """Frames that nothing still to come can change."""
        while not self.fault and (tick_ns := self._due()) is not None:
            frame = self._taken(tick_ns)
            if frame is not None:
                self.frames += 1
                yield frame

    def end(self) -> None:
        """Nothing more comes. Ticks that are left give no frames, because what was still to come could have changed them; but where a
        stream had fallen silent before the last image, that is a fault."""
        while self.frames and not self.fault and (tick_ns := self._next_tick_ns()) <= self._last_image_ns:
            self._taken(tick_ns)

    def _next_tick_ns(self) -> int:
        return (self._first_ns or 0) + round((self._ticks + 0.5) * self._period_ns)

    def _due(self) -> int | None:
        if self._first_ns is None:
            return None
        tick_ns = self._next_tick_ns()
        newest = [waiting[-1][0] if waiting else 0 for waiting in self._waiting.values()]
        return tick_ns if min(newest) > tick_ns or max(newest) > tick_ns + SILENT_NS else None

    def _taken(self, tick_ns: int) -> Frame[ImageT] | None:
        self._ticks += 1
        self.tick_ns = tick_ns
        self._take_over(tick_ns)
        found = self._frame(tick_ns)
        self._forget()
        if isinstance(found, Frame):
            return found
        if self.frames:
            self.fault = f"{(tick_ns - (self._first_ns or 0)) * 1e-9:.2f} s after its first image, {found.stream}: {found.reason}"
        return None

    def _forget(self) -> None:
        """No frame to come is older than the newest image of the camera that is furthest behind."""
        newest = [sample.stamp_ns for sample in (buffer.newest() for buffer in self._images.values()) if sample is not None]
        for buffer in self._images.values() if newest else ():
            buffer.forget_before(min(newest))

    def _take_over(self, tick_ns: int) -> None:
        for (kind, name), waiting in self._waiting.items():
            count = 0
            for stamp_ns, value in waiting:
                if stamp_ns > tick_ns:
                    break
                count += 1
                buffer: TimedBuffer[Any]
                if kind == "image":
                    buffer = self._images[name]
                elif kind == "joints":
                    buffer = self._joints
                else:
                    buffer = self._poses[name] if kind == "pose" else self._openings
                buffer.push(stamp_ns, value)
            del waiting[:count]

    def _frame(self, tick_ns: int) -> Frame[ImageT] | NotAligned:
        observation = align(self._images, self._joints, tick_ns, self._budgets)
        if isinstance(observation, NotAligned):
            return observation
        commanded: dict[str, Commanded] = {}
        skew_s = self._budgets.camera_joint_skew_s
        opening = self._openings.newest_until(observation.stamp_ns)
        for arm, poses in self._poses.items():
            pose = pose_at(poses, observation.stamp_ns, skew_s)
            if pose is None or opening is None:
                return NotAligned("commands", f"none within {skew_s} s of the image")
            commanded[arm] = Commanded(pose, float(opening.value[arm]))
        return Frame(observation, commanded)

"""Streams aligned to one instant: the exposure of the slowest camera, with the other streams as they were then."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from lawam_ros.contract.records import Pose
from lawam_ros.contract.robot import Budgets
from lawam_ros.contract.rotations import quat_slerp
from lawam_ros.observe.timed_buffer import TimedBuffer

JOINT_STATES = "joint_states"
"""Name of that stream in ``NotAligned``; cameras are called ``camera <name>``."""

ImageT = TypeVar("ImageT")
"""A decoded image or a message still to be decoded: live, decoding waits until an image is known to be used."""


@dataclass(frozen=True)
class Aligned(Generic[ImageT]):
    """stamp_ns: reference time; images by camera with their stamps; joints by URDF name, interpolated to stamp_ns."""

    stamp_ns: int
    images: dict[str, ImageT]
    image_stamps_ns: dict[str, int]
    joints: dict[str, float]


@dataclass(frozen=True)
class NotAligned:
    """Why there is no observation; ``stream`` is the one to look at."""

    stream: str
    reason: str


def align(
    cameras: Mapping[str, TimedBuffer[ImageT]],
    joints: TimedBuffer[Mapping[str, float]],
    now_ns: int,
    budgets: Budgets,
) -> Aligned[ImageT] | NotAligned:
    """Newest set of samples that belong together.

    The reference time is the newest image of the camera whose newest image is oldest; each other camera gives its newest image at or before
    it, which includes one stamped exactly then. Buffers hold stamps with the sensor latency already subtracted.
    """
    newest = {name: buffer.newest() for name, buffer in cameras.items()}
    for name, sample in newest.items():
        if sample is None:
            return NotAligned(f"camera {name}", "no image yet")
    for name, sample in newest.items():
        if sample is not None and sample.stamp_ns - now_ns > budgets.future_stamp_s * 1e9:
            ahead_s = (sample.stamp_ns - now_ns) * 1e-9
            return NotAligned(f"camera {name}", f"stamped {ahead_s:.2f} s in the future; synchronise the clocks of camera and computer")
    reference_ns = min(sample.stamp_ns for sample in newest.values() if sample is not None)
    if now_ns - reference_ns > budgets.camera_age_s * 1e9:
        slowest = min(newest, key=lambda name: newest[name].stamp_ns if newest[name] else 0)  # type: ignore[union-attr]
        return NotAligned(
            f"camera {slowest}", f"newest image is {(now_ns - reference_ns) * 1e-9:.2f} s old, budget {budgets.camera_age_s} s"
        )
    images: dict[str, ImageT] = {}
    stamps: dict[str, int] = {}
    for name, buffer in cameras.items():
        image = buffer.newest_until(reference_ns)
        if image is None or reference_ns - image.stamp_ns > budgets.camera_age_s * 1e9:
            return NotAligned(f"camera {name}", "no image near the reference time")
        images[name], stamps[name] = image.value, image.stamp_ns
    joint_positions = joints_at(joints, reference_ns, budgets.camera_joint_skew_s)
    if joint_positions is None:
        return NotAligned(JOINT_STATES, f"none within {budgets.camera_joint_skew_s} s of the image")
    return Aligned(reference_ns, images, stamps, joint_positions)


def joints_at(joints: TimedBuffer[Mapping[str, float]], stamp_ns: int, skew_s: float) -> dict[str, float] | None:
    """Joint positions at ``stamp_ns``, linear between neighbours; the newest one holds for up to ``skew_s`` when nothing newer is there."""
    pair = joints.around(stamp_ns)
    if pair is None:
        last = joints.newest_until(stamp_ns)
        return dict(last.value) if last is not None and stamp_ns - last.stamp_ns <= skew_s * 1e9 else None
    before, after = pair
    if after.stamp_ns - before.stamp_ns > 2e9 * skew_s:
        return None
    fraction = (stamp_ns - before.stamp_ns) / max(1, after.stamp_ns - before.stamp_ns)
    return {name: value + fraction * (after.value[name] - value) for name, value in before.value.items() if name in after.value}


def pose_at(poses: TimedBuffer[Pose], stamp_ns: int, skew_s: float) -> Pose | None:
    """Pose at ``stamp_ns``: positions linear, orientation by slerp between neighbours, the newest held for up to ``skew_s``."""
    pair = poses.around(stamp_ns)
    if pair is None:
        last = poses.newest_until(stamp_ns)
        return last.value if last is not None and stamp_ns - last.stamp_ns <= skew_s * 1e9 else None
    before, after = pair
    if before.stamp_ns == stamp_ns:
        return before.value
    fraction = (stamp_ns - before.stamp_ns) / max(1, after.stamp_ns - before.stamp_ns)
    return Pose(
        position_m=before.value.position_m + fraction * (after.value.position_m - before.value.position_m),
        quat_xyzw=quat_slerp(before.value.quat_xyzw, after.value.quat_xyzw, fraction),
    )

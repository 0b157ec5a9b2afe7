"""A replay held against a recording: chunks, commands, holds and stops within stated tolerances."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.command_digest import CommandDigest
from lawam_ros.contract.records import ActionChunk, JointCommand
from lawam_ros.contract.rotations import quat_inverse, quat_multiply, quat_normalise, rotvec_from_quat

Array = NDArray[np.float64]
Halt = tuple[int, str]
"""Stamp in ns and reason."""

POSITION, ANGLE, GRIPPER, JOINTS = "position", "orientation", "gripper", "joints"
_QUATERNION = ("qx", "qy", "qz", "qw")
_AXES = ("x", "y", "z")
_SAME_USE_NS = 20_000_000
"""A chunk used so much earlier or later still leads to the same commands, within the tolerance for them."""


@dataclass(frozen=True)
class Tolerances:
    """Largest deviation that is no regression: of targets in a chunk (m, rad, m of opening), of commanded joints (rad), of stops (s)."""

    position_m: float = 1e-4
    angle_rad: float = 1e-3
    gripper_m: float = 1e-3
    command_rad: float = 1e-3
    stop_s: float = 0.1


@dataclass(frozen=True)
class Replayed:
    """What a run of the nodes came to, recorded or replayed; stamps in ns of the recording's time.

    commands: one sequence per episode. uses: observation of a chunk -> first command that came of it. chunk_ms: median of an inference.
    """

    chunks: Sequence[ActionChunk]
    commands: Sequence[Sequence[JointCommand]]
    holds: Sequence[Halt]
    stops: Sequence[Halt]
    uses: Mapping[int, int]
    chunk_ms: float | None

    @property
    def command_hash(self) -> str:
        """Of every command, bit for bit; the hashes of several episodes one behind the other."""
        digests = [CommandDigest() for _ in self.commands]
        for digest, episode in zip(digests, self.commands, strict=True):
            for command in episode:
                digest.add(command.stamp_ns, command)
        return "-".join(digest.hexdigest for digest in digests)


@dataclass(frozen=True)
class Row:
    """One line of the table. worst: largest deviation, in ``unit``; allowed None: told, not judged."""

    name: str
    count: str
    worst: float | None
    allowed: float | None
    unit: str
    good: bool


@dataclass(frozen=True)
class Comparison:
    rows: tuple[Row, ...]

    @property
    def good(self) -> bool:
        return all(row.good for row in self.rows)

    def as_mapping(self) -> dict[str, Any]:
        return {"good": self.good, "rows": [asdict(row) for row in self.rows]}


def compare(recorded: Replayed, replayed: Replayed, tolerances: Tolerances, with_commands: bool, in_step: bool) -> Comparison:
    """with_commands: whether the commands are of the same instants, so that they can be held against each other.

    in_step: recorded and replayed in lock step. Otherwise commands are compared until a chunk was not used when the recorded one was, and
    holds, which a chunk that is late for a moment brings about, are told and not judged.
    """
    rows = _chunk_rows(recorded.chunks, replayed.chunks, tolerances)
    if with_commands and any(recorded.commands):
        apart_ns = [] if in_step else used_apart_ns(recorded, replayed)
        rows.append(_command_row(recorded.commands, replayed.commands, tolerances.command_rad, apart_ns))
    rows.append(_halt_row("holds", recorded.holds, replayed.holds, tolerances.stop_s if in_step else None))
    rows.append(_halt_row("stops", recorded.stops, replayed.stops, tolerances.stop_s))
    for name, chunk_ms in (("inference, recorded", recorded.chunk_ms), ("inference, replayed", replayed.chunk_ms)):
        if chunk_ms is not None:
            rows.append(Row(name, "median", round(chunk_ms, 1), None, "ms", True))
    return Comparison(tuple(rows))


def used_apart_ns(recorded: Replayed, replayed: Replayed) -> list[int]:
    """Instants from which the commands go ways of their own until the episode ends: a chunk was used by one of the two alone, or by one
    earlier than by the other. The joints' limits and the pace of a plan make up for no lead, so that the ways do not meet again.

    Empty where the recording does not tell when its chunks were used.
    """
    if not recorded.uses:
        return []
    apart = []
    for observation_ns in recorded.uses.keys() | replayed.uses.keys():
        used = [run.uses[observation_ns] for run in (recorded, replayed) if observation_ns in run.uses]
        if len(used) < 2 or abs(used[1] - used[0]) > _SAME_USE_NS:
            apart.append(min(used))
    return sorted(apart)


def chunk_deviation(expected: ActionChunk, got: ActionChunk) -> dict[str, Array]:
    """Quantity (POSITION in m, ANGLE in rad, GRIPPER in m, JOINTS in rad) -> deviation (N,) of every point, the worst over the arms.

    Raises ValueError where the two do not have the same points and components.
    """
    if set(expected.components) != set(got.components) or not np.array_equal(expected.time_from_start_s, got.time_from_start_s):
        raise ValueError("expected chunks of the same components and times")
    order = [got.components.index(name) for name in expected.components]
    a, b = expected.values, got.values[:, order]
    found: dict[str, list[Array]] = {}
    for arm in dict.fromkeys(name.split("/")[0] for name in expected.components):
        own = {name.split("/")[1]: i for i, name in enumerate(expected.components) if name.startswith(f"{arm}/")}
        cartesian = all(axis in own for axis in (*_AXES, *_QUATERNION))
        if cartesian:
            xyz, quat = [own[name] for name in _AXES], [own[name] for name in _QUATERNION]
            found.setdefault(POSITION, []).append(np.linalg.norm(a[:, xyz] - b[:, xyz], axis=1))
            found.setdefault(ANGLE, []).append(_angle_rad(a[:, quat], b[:, quat]))
        else:
            joints = [i for name, i in own.items() if name != "gripper"]
            found.setdefault(JOINTS, []).append(np.abs(a[:, joints] - b[:, joints]).max(axis=1))
        if "gripper" in own:
            found.setdefault(GRIPPER, []).append(np.abs(a[:, own["gripper"]] - b[:, own["gripper"]]))
    return {quantity: np.max(parts, axis=0) for quantity, parts in found.items()}


def _angle_rad(a: Array, b: Array) -> Array:
    turn = quat_multiply(quat_normalise(b), quat_inverse(quat_normalise(a)))
    return np.asarray(np.linalg.norm(rotvec_from_quat(turn), axis=1))


def _chunk_rows(recorded: Sequence[ActionChunk], replayed: Sequence[ActionChunk], tolerances: Tolerances) -> list[Row]:
    by_stamp = {chunk.stamp_ns: chunk for chunk in replayed}
    pairs = [(chunk, by_stamp[chunk.stamp_ns]) for chunk in recorded if chunk.stamp_ns in by_stamp]
    allowed = {POSITION: tolerances.position_m, ANGLE: tolerances.angle_rad, GRIPPER: tolerances.gripper_m, JOINTS: tolerances.command_rad}
    units = {POSITION: "m", ANGLE: "rad", GRIPPER: "m", JOINTS: "rad"}
    worst: dict[str, float] = {}
    alike = 0
    for expected, got in pairs:
        try:
            deviations = chunk_deviation(expected, got)
        except ValueError:
            continue
        alike += 1
        for quantity, values in deviations.items():
            worst[quantity] = max(worst.get(quantity, 0.0), float(values.max()))
    rows = [Row("chunks", f"{alike} of {len(recorded)}", None, None, "", alike == len(recorded))] if recorded else []
    for quantity, value in worst.items():
        good = bool(value <= allowed[quantity])  # not a number is no good
        rows.append(Row(f"chunks, {quantity}", "", value, allowed[quantity], units[quantity], good))
    return rows


def _command_row(
    recorded: Sequence[Sequence[JointCommand]], replayed: Sequence[Sequence[JointCommand]], allowed_rad: float, apart_ns: Sequence[int]
) -> Row:
    """apart_ns: instants from which the commands of an episode are not compared."""
    worst, compared, identical = 0.0, 0, [len(episode) for episode in recorded] == [len(episode) for episode in replayed]
    for expected, got in zip(recorded, replayed, strict=False):
        if not expected or not got:
            continue
        stamps, positions = _track(expected)
        at, reached = _track(got)
        until_ns = next((instant for instant in apart_ns if instant >= stamps[0]), stamps[-1] + 1)
        inside = (at >= stamps[0]) & (at <= stamps[-1]) & (at < until_ns)
        columns = [np.interp(at[inside], stamps, positions[:, i]) for i in range(positions.shape[1])]
        deviation = np.abs(np.column_stack(columns) - reached[inside])
        worst, compared = max(worst, float(deviation.max(initial=0.0))), compared + len(deviation)
        identical = identical and deviation.size > 0 and not deviation.any()
    possible = sum(map(len, replayed))
    count = f"{compared}, identical" if identical else f"{compared} of {possible}" if apart_ns else str(compared)
    return Row("commands", count, worst, allowed_rad, "rad", compared > 0 and bool(worst <= allowed_rad))


def _track(commands: Sequence[JointCommand]) -> tuple[NDArray[np.int64], Array]:
    return np.array([command.stamp_ns for command in commands]), np.array([command.positions_rad for command in commands])


def _halt_row(name: str, recorded: Sequence[Halt], replayed: Sequence[Halt], allowed_s: float | None) -> Row:
    """allowed_s: how far apart in time two that belong together may be; None where nothing is judged."""
    reasons = [[reason for _, reason in halts] for halts in (recorded, replayed)]
    if reasons[0] != reasons[1]:
        told = f"expected {', '.join(reasons[0]) or 'none'}; got {', '.join(reasons[1]) or 'none'}"
        return Row(name, told, None, None, "", allowed_s is None)
    if not recorded:
        return Row(name, "none", None, None, "", True)
    worst_s = max(abs(a - b) * 1e-9 for (a, _), (b, _) in zip(recorded, replayed, strict=True))
    return Row(name, ", ".join(reasons[0]), worst_s, allowed_s, "s", allowed_s is None or worst_s <= allowed_s)


def table(comparison: Comparison) -> str:
    """For people."""
    lines = [f"{'':<24} {'':<28} {'worst':>12} {'allowed':>12}"]
    for row in comparison.rows:
        worst = "-" if row.worst is None else f"{row.worst:.3g} {row.unit}"
        allowed = "-" if row.allowed is None else f"{row.allowed:.3g} {row.unit}"
        lines.append(f"{row.name:<24} {row.count:<28} {worst:>12} {allowed:>12}  {'' if row.good else 'MISSED'}".rstrip())
    return "\n".join(lines)


def weights_row(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> Row:
    """Whether both runs had the same weights, of what their policies told of themselves (``nodes.run_info``)."""
    same = bool(recorded.get("checkpoint_sha256")) and recorded.get("checkpoint_sha256") == replayed.get("checkpoint_sha256")
    return Row("weights", "as recorded" if same else "other than recorded", None, None, "", same)

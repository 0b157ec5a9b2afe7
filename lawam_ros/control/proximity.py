"""Keeps the hands off the table and off each other: a filter of the TCP targets of all arms, and the question whether commands touch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.robot import Proximity, Robot
from lawam_ros.control import scalar_rotations as rot
from lawam_ros.control.kinematics import fixed_transform
from lawam_ros.control.projection import nearest_allowed
from lawam_ros.control.workspace import APPROACH_DECELERATION_M_S2

Array = NDArray[np.float64]
Target = tuple[rot.Vector, rot.Quat]
"""TCP position (m) and quaternion in the arm's base frame."""

TABLE_CLEARANCE_M = 0.002
"""Targets keep so far above the table: joints overshoot a target that stops there by some tenths of a millimetre, and the guard's line,
where the arm is stopped for good, is the table itself."""


@dataclass(frozen=True)
class _Scene:
    """Where the spheres are. centres: (S, 3) in the robot's base frame, offsets: (S, 3) from the TCPs; distances: (P + S,) of the surfaces
    of the pairs and, above the table, of the spheres, m."""

    centres: Array
    offsets: Array
    distances: Array


class ProximityFilter:
    """Moves TCP positions of all arms together, as little as possible, so that spheres stay apart and above the table.

    Each pair of spheres gives one half space, across the line between them, and each sphere one above the table; the nearest point that
    all allow is taken, so that a hand slides along. Things near each other only as fast as they can stop. What is too near already may stay
    so, not come nearer. Where nothing is allowed, all arms keep their targets.
    """

    def __init__(self, robot: Robot, proximity: Proximity, urdf_text: str, dt_s: float) -> None:
        self._arms = robot.arms
        self._dt_s = dt_s
        self._table_z_m = 0.0 if proximity.table_z_m is None else proximity.table_z_m
        bases = [fixed_transform(urdf_text, robot.base_frame, arm.base_frame) for arm in robot.arms]
        self._turns = np.array([base[:3, :3] for base in bases])
        self._origins = np.array([base[:3, 3] for base in bases])
        spheres = [proximity.spheres.get(arm.name, np.empty((0, 4))) for arm in robot.arms]
        self._local = np.concatenate([one[:, :3] for one in spheres])[..., None]
        self._radii = np.concatenate([one[:, 3] for one in spheres])
        self._owner = np.repeat(np.arange(len(spheres)), [len(one) for one in spheres])
        pairs = [(j, k) for j, k in combinations(range(len(self._owner)), 2) if self._owner[j] != self._owner[k]]
        self._first, self._second = (np.array(pairs, dtype=int).reshape(-1, 2).T) if pairs else np.empty((2, 0), dtype=int)
        self._touch = self._radii[self._first] + self._radii[self._second]
        over_table = self._radii if proximity.table_z_m is not None else np.empty(0)
        self._grounded = len(over_table)
        self._limits = np.concatenate([np.full(len(self._touch), proximity.clearance_m), np.full(self._grounded, TABLE_CLEARANCE_M)])
        self._extents = [float((np.linalg.norm(one[:, :3], axis=-1) + one[:, 3]).max(initial=0.0)) for one in spheres]
        self._chosen: list[Target] = []
        self._seen: tuple[list[Target], _Scene] | None = None
        self._room_m = 0.0
        self._step_half = 0.5 * APPROACH_DECELERATION_M_S2 * dt_s
        self.hits = 0

    def allowed(self, targets: Sequence[Target], before: Sequence[Target]) -> list[Target]:
        """Targets of this tick, moved where needed. before: those of the tick before."""
        asked, then = list(targets), list(before)
        step = self._largest_step(asked, then)
        self._room_m = self._room_m - step if then == self._chosen else 0.0
        if self._room_m <= 0.0 or step > self._farthest(self._room_m):
            asked = self._looked_at(asked, then)
        self._chosen = asked
        return asked

    def distance_m(self, targets: Sequence[Target]) -> float:
        """Smallest distance between surfaces, negative where they overlap; infinite without anything to be near to."""
        return float(self._scene(list(targets)).distances.min(initial=math.inf))

    @property
    def aimed_distance_m(self) -> float:
        """A distance that the targets which were allowed last surely keep."""
        return self._room_m

    def _largest_step(self, now: list[Target], then: list[Target]) -> float:
        """By how much two surfaces can have neared each other at most, m: what all hands moved and turned."""
        step = 0.0
        for (position, quat), (position_before, quat_before), extent in zip(now, then, self._extents, strict=True):
            chord = min(math.dist(quat, quat_before), math.dist(quat, [-x for x in quat_before]))
            # A turn by t has the chord 2 sin(t / 4) in quaternions, and moves no point by more than t times its distance.
            step += math.dist(position, position_before) + 4.0 * math.asin(min(1.0, 0.5 * chord)) * extent
        return step

    def _farthest(self, room_m: float) -> float:
        return (math.sqrt(self._step_half * self._step_half + 2.0 * APPROACH_DECELERATION_M_S2 * room_m) - self._step_half) * self._dt_s

    def _looked_at(self, asked: list[Target], before: list[Target]) -> list[Target]:
        """What is allowed, and how much room it leaves, by looking at every sphere."""
        seen, now = self._seen, self._scene(asked)
        then = seen[1] if seen is not None and seen[0] == before else self._scene(before)
        if not self._near_slowly(then, now):
            self.hits += 1
            asked = self._moved(asked, before, then, now)
            now = self._scene(asked)
        self._seen = (asked, now)
        self._room_m = float((now.distances - self._limits).min(initial=math.inf))
        return asked

    def _scene(self, targets: list[Target]) -> _Scene:
        turns = self._turns @ np.array([x for _, quat in targets for row in rot.to_rows(quat) for x in row]).reshape(-1, 3, 3)
        places = self._origins + (self._turns @ np.array([position for position, _ in targets])[..., None])[..., 0]
        offsets = (turns[self._owner] @ self._local)[..., 0]
        centres = offsets + places[self._owner]
        between = centres[self._first] - centres[self._second]
        gaps = np.sqrt(np.einsum("pi,pi->p", between, between)) - self._touch
        heights = centres[: self._grounded, 2] - (self._radii[: self._grounded] + self._table_z_m)
        return _Scene(centres, offsets, np.concatenate([gaps, heights]))

    def _near_slowly(self, then: _Scene, now: _Scene) -> bool:
        return bool((now.distances >= self._lowest(then.distances)).all())

    def _lowest(self, distances_m: Array) -> Array:
        """Distances that may be left after this tick, so that equal ticks of the approach deceleration still end at the limits."""
        room = np.maximum(distances_m - self._limits, 0.0)
        half = 0.5 * APPROACH_DECELERATION_M_S2 * self._dt_s
        stopping = distances_m - (np.sqrt(half * half + 2.0 * APPROACH_DECELERATION_M_S2 * room) - half) * self._dt_s
        return np.asarray(np.maximum(stopping, np.minimum(distances_m, self._limits)))

    def _moved(self, asked: list[Target], before: list[Target], then: _Scene, now: _Scene) -> list[Target]:
        wanted = np.concatenate([position for position, _ in asked])
        found = nearest_allowed(wanted, *self._constraints(before, then, now))
        if found is None:
            return before
        return [((x, y, z), quat) for (x, y, z), (_, quat) in zip(found.reshape(-1, 3).tolist(), asked, strict=True)]

    def _constraints(self, before: list[Target], then: _Scene, now: _Scene) -> tuple[Array, Array]:
        """normals (m, 3 A), bounds (m,) on the stacked positions: workspace, pairs, table. Turns are taken as asked."""
        count = len(before)
        starts = np.concatenate([position for position, _ in before])
        lower = np.minimum(np.concatenate([arm.workspace_lower_m for arm in self._arms]), starts)
        upper = np.maximum(np.concatenate([arm.workspace_upper_m for arm in self._arms]), starts)
        # How the centres move with the positions, and where they are without them.
        reach = np.zeros((len(self._owner), 3, 3 * count))
        for sphere, owner in enumerate(self._owner.tolist()):
            reach[sphere, :, 3 * owner : 3 * owner + 3] = self._turns[owner]
        fixed = now.offsets + self._origins[self._owner]
        between = then.centres[self._first] - then.centres[self._second]
        apart = np.sqrt((between * between).sum(axis=-1, keepdims=True))
        across = np.where(apart > 1e-9, between / np.maximum(apart, 1e-9), [0.0, 1.0, 0.0])
        pairs = np.einsum("pi,pij->pj", across, reach[self._first] - reach[self._second])
        lowest, count_pairs = self._lowest(then.distances), len(pairs)
        pair_bounds = lowest[:count_pairs] + self._touch - (across * (fixed[self._first] - fixed[self._second])).sum(axis=-1)
        grounded = slice(0, self._grounded)
        table_bounds = lowest[count_pairs:] + self._radii[grounded] + self._table_z_m - fixed[grounded, 2]
        normals = [np.eye(3 * count), -np.eye(3 * count), pairs, reach[grounded, 2]]
        return np.concatenate(normals), np.concatenate([lower, -upper, pair_bounds, table_bounds])

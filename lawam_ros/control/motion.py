"""The motion of all arms, one tick at a time: plan, workspace filter, inverse kinematics, limiter, guard."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.control import scalar_rotations as rot
from lawam_ros.control.acceptance import arm_values, starts_from_rest
from lawam_ros.control.follower import ruckig_follower
from lawam_ros.control.gripper import GripperRamp
from lawam_ros.control.guard import Guard
from lawam_ros.control.inverse_kinematics import InverseKinematics
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.limiter import JointLimiter, JointState, stacked_limits, with_reserve
from lawam_ros.control.merge import merge_named, tables_on_time
from lawam_ros.control.pace import Pace
from lawam_ros.control.proximity import ProximityFilter, Target
from lawam_ros.control.timeline import Plan, TcpState, at_rest, splice, tracks_of
from lawam_ros.control.workspace import WorkspaceFilter

Array = NDArray[np.float64]

_SPEED_SHARE = 0.97
_LAG_FREE_RAD, LAG_FULL_RAD = 0.01, 0.06
"""Joints behind the plan: it slows down from the first on, and is slowest at the second."""
_IK_FREE_M, _IK_FULL_M = 0.01, 0.04
_SLOWEST = 0.05
_SETTLED_LAG_RAD = 5e-5
_SETTLED_SPEED_RAD_S = 1e-3
_SETTLED_ERROR_M = 1e-4
_SETTLE_TIMEOUT_S = 1.0
_NEAR_M = 0.05
"""Targets farther from everything cannot stand for commands that touch: the joints lag behind by less."""

_STOP_M, _STOP_S = 0.01, 0.25
"""Hands with more room than the first, and as much as they near in the second, can stop; nearer than that, their stop is worked out."""


class _ArmMotion:
    """What one arm carries from tick to tick."""

    def __init__(self, arm: Arm, urdf_text: str, joints: slice, dt_s: float) -> None:
        self.arm = arm
        self.joints = joints
        self.chain = Chain.from_urdf(urdf_text, arm.base_frame, arm.tcp_frame)
        if self.chain.joint_names != arm.joints:
            raise ValueError(
                f"arm {arm.name}: the URDF has joints {self.chain.joint_names}, the robot file {arm.joints}; expected the same order"
            )
        self.box = WorkspaceFilter(arm, dt_s)
        self.ramp = GripperRamp(arm.gripper, dt_s)
        self.target: TcpState = at_rest((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


class _IkGroup:
    """Arms of equally many joints, whose inverse kinematics are worked out at once."""

    def __init__(self, members: list[_ArmMotion], dt_s: float) -> None:
        self.members = members
        self.ik = InverseKinematics(tuple(one.arm for one in members), tuple(one.chain for one in members), dt_s)
        self.ik_error_m = 0.0
        self.speed_share = 0.0
        self.pace = 1.0

    def rest_at(self, joints_rad: Array) -> None:
        """joints_rad: of all arms of the robot."""
        for one, (position, quat) in zip(self.members, self.ik.start(np.array([joints_rad[m.joints] for m in self.members])), strict=True):
            one.target = at_rest(position, quat)
        self.ik_error_m = self.speed_share = 0.0
        self.pace = 1.0

    def poses_at(self, joints_rad: Array) -> dict[str, Pose]:
        """TCP per member. joints_rad: of all arms of the robot."""
        transforms = self.ik.chain.transform(np.array([joints_rad[one.joints] for one in self.members]))
        quats = [rot.from_rows(rows) for rows in transforms.tolist()]
        return {
            one.arm.name: Pose(transform[:3, 3], np.array(quat))
            for one, transform, quat in zip(self.members, transforms, quats, strict=True)
        }

    def step(self) -> tuple[Array, Array]:
        """One tick towards the targets of the members: joint positions and velocities (A, n)."""
        step = self.ik.step([one.target.position_m for one in self.members], [one.target.quat_xyzw for one in self.members])
        self.ik_error_m, self.speed_share, self.pace = max(step.error_m), max(step.speed_share), min(step.pace)
        return step.position_rad, step.velocity_rad_s


def _groups(arms: list[_ArmMotion], dt_s: float) -> list[_IkGroup]:
    sizes = sorted({len(one.arm.joints) for one in arms})
    return [_IkGroup([one for one in arms if len(one.arm.joints) == size], dt_s) for size in sizes]


class Motion:
    """Commanded motion of a robot. Knows plans and limits, but no clock, no ladder and nothing measured."""

    def __init__(self, robot: Robot, urdf_text: str, merge: str = "replace") -> None:
        """merge: what becomes of overlapping chunks, a name of ``control.merge``."""
        self._merge = merge_named(merge, robot.arms)
        self._dt_s = robot.tick_period_ns * 1e-9
        self._robot = robot
        limits = stacked_limits([arm.limits for arm in robot.arms])
        self._guard = Guard(limits, self._dt_s)
        self._highest_acceleration, self._lowest_acceleration = limits.acceleration_rad_s2, -limits.acceleration_rad_s2
        kept = with_reserve(limits)
        self._limiter = JointLimiter(kept, self._dt_s, ruckig_follower(kept, self._dt_s) if robot.follower == "ruckig" else None)
        self._proximity = ProximityFilter(robot, robot.proximity, urdf_text, self._dt_s) if robot.proximity else None
        self._arms = [_ArmMotion(arm, urdf_text, robot.joint_slice(arm.name), self._dt_s) for arm in robot.arms]
        self._plan: Plan | None = None
        self._pace: Pace | None = None
        self._groups = _groups(self._arms, self._dt_s)
        self._target_position = np.zeros(len(robot.joint_names))
        self._target_velocity = np.zeros(len(robot.joint_names))
        self._settling_ticks = 0
        self._synced = True
        self._poses: dict[str, Pose] = {}
        self._posed: JointState | None = None

    @property
    def joints(self) -> JointState:
        return self._limiter.state

    @property
    def plan_ended(self) -> bool:
        """The plan has been run through (the joints may still be settling)."""
        return self._pace is None or self._pace.finished

    @property
    def resting(self) -> bool:
        """No plan and no movement: the command stays as it is."""
        return self._plan is None and self._synced and self._limiter.standing

    @property
    def ik_error_m(self) -> float:
        return max([group.ik_error_m for group in self._groups])

    @property
    def lag_rad(self) -> float:
        """How far the joints are behind the plan, which their limits do not let them follow; none without a plan."""
        return 0.0 if self._plan is None else max(np.abs(self._target_position - self._limiter.state.position).tolist())

    @property
    def limit_hits(self) -> int:
        return self._limiter.hits

    @property
    def workspace_hits(self) -> int:
        return sum(one.box.hits for one in self._arms) + (self._proximity.hits if self._proximity else 0)

    def targets(self) -> dict[str, TcpState]:
        """What the last tick aimed at, arm by arm."""
        return {one.arm.name: one.target for one in self._arms}

    def plan_starts(self) -> dict[str, TcpState]:
        """Where the plan begins that was released since the last tick; after a tick, and without a plan, it is the present place of it."""
        plan, pace = self._plan, self._pace
        return {} if plan is None or pace is None else {one.arm.name: plan.state(one.arm.name, pace) for one in self._arms}

    def openings(self) -> dict[str, float]:
        return {one.arm.name: one.ramp.opening_m for one in self._arms}

    def poses(self) -> dict[str, Pose]:
        """Commanded TCP per arm in its base frame."""
        if self._posed is not self._limiter.state:
            self._posed = self._limiter.state
            self._poses = self.poses_at(self._posed.position)
        return self._poses

    def poses_at(self, joints_rad: Array) -> dict[str, Pose]:
        found: dict[str, Pose] = {}
        for group in self._groups:
            found |= group.poses_at(joints_rad)
        return {one.arm.name: found[one.arm.name] for one in self._arms}

    def start(self, joints_rad: Array, openings_m: dict[str, float]) -> None:
        """Stand at these joints and gripper openings."""
        self._limiter.reset(joints_rad)
        for one in self._arms:
            one.ramp.reset(openings_m[one.arm.name])
        self.hold_here()

    def hold_here(self) -> None:
        """Drop the plan; the present command becomes the target of every arm."""
        self._plan = self._pace = None
        self._target_velocity = np.zeros_like(self._target_velocity)
        self._settling_ticks = 0
        self._synced = True
        self._target_position = self._limiter.state.position
        for group in self._groups:
            group.rest_at(self._target_position)

    def rejoin(self, state: JointState) -> None:
        """Go on from another state that has been promised to the controller; only ``stop_tick`` leads on from there."""
        self._plan = self._pace = None
        self._synced = False
        self._limiter.restore(state)

    def way_to_rest(self) -> tuple[Array, Array, Array]:
        """Positions, velocities, accelerations (K, n) of the ticks to come if all of them are ``stop_tick``; K = 0 at rest."""
        return self._limiter.way_to_rest()

    def forget_chunks(self) -> None:
        """The next chunk is not merged with those before it."""
        self._merge.forget()

    def release(self, chunk: ActionChunk, action_hz: float, stamp_ns: int, resting_since_ns: int | None) -> None:
        """Let a judged chunk take over from the target of the last command, stamped ``stamp_ns``."""
        first = float(chunk.time_from_start_s[0])
        origin_s = (stamp_ns - chunk.stamp_ns) * 1e-9
        if starts_from_rest(chunk, resting_since_ns):
            origin_s = first - min(first, 1.0 / action_hz)
            self._merge.forget()
        end_s = max(float(chunk.time_from_start_s[-1]) - origin_s, self._dt_s)
        arms, values = self._robot.arms, arm_values(chunk, self._robot)
        merged = self._merge.merged(tables_on_time(values, arms, chunk.time_from_start_s, stamp_ns - round(origin_s * 1e9)))
        tracks = tracks_of(chunk, arms, {arm.name: merged[:, i] for i, arm in enumerate(arms)}, origin_s)
        now = {one.arm.name: one.target for one in self._arms}
        self._plan = splice(tracks, arms, now, end_s, chunk.sequence)
        self._pace = self._plan.start()
        self._settling_ticks = 0
        self._synced = False

    def follow_tick(self, running: bool) -> str | None:
        """One tick along the plan, or braking along it when not ``running``. Returns what the guard found wrong, None if nothing."""
        if self._plan is None or self._pace is None:
            return self._stand_tick()
        self._pace.advance(self._dt_s, self._follow_scale(self._pace.rate) if running else 0.0)
        try:
            self._aim_all(self._plan, self._pace)
            position, velocity = self._joint_targets()
        except (np.linalg.LinAlgError, ArithmeticError, ValueError):
            # Numbers that no mathematics takes, and so no joint target: the prepared stop goes on, the caller climbs to STOP.
            self._limiter.brake()
            return "no_target"
        acceleration = (velocity - self._target_velocity) / self._dt_s
        acceleration = np.minimum(np.maximum(acceleration, self._lowest_acceleration), self._highest_acceleration)
        self._target_position, self._target_velocity = position, velocity
        before = self._limiter.state
        self._limiter.track(position, velocity, acceleration)
        failure = self._checked(before)
        near = self._near(before) if failure is None else None
        if near is not None and self._stops_short(before, *near):
            self._plan, self._pace, self._synced = None, None, False
            self._move_grippers()
            return self._checked(before)
        if near is not None:
            failure = self._touching(before, *near)
        self._move_grippers(self._plan if running else None, self._pace.time_s)
        if self._pace.still:
            self._settle(position, velocity)
        return failure

    def _stand_tick(self) -> str | None:
        """One tick without a plan: come to exact rest, then take the commanded pose as the target the next plan starts from."""
        before = self._limiter.state
        self._limiter.brake()
        if not self._synced and self._limiter.standing:
            self.hold_here()
        self._move_grippers()
        return self._checked(before)

    def stop_tick(self) -> str | None:
        """One tick of the shortest stop of every joint; grippers stay where they are."""
        before = self._limiter.state
        self._limiter.brake()
        for one in self._arms:
            one.ramp.stop()
        if self._limiter.standing and not self._synced:
            self.hold_here()
        return self._checked(before)

    def _joint_targets(self) -> tuple[Array, Array]:
        """Positions and velocities of all joints, in the robot's order."""
        if len(self._groups) == 1:
            positions, velocities = self._groups[0].step()
            return positions.reshape(-1), velocities.reshape(-1)
        position, velocity = np.empty_like(self._target_velocity), np.empty_like(self._target_velocity)
        for group in self._groups:
            for one, *rows in zip(group.members, *group.step(), strict=True):
                position[one.joints], velocity[one.joints] = rows
        return position, velocity

    def _aim_all(self, plan: Plan, pace: Pace) -> None:
        """Set the targets of this tick, inside the workspaces and apart from each other."""
        before = [one.target for one in self._arms]
        for one in self._arms:
            self._aim(one, plan, pace)
        if self._proximity is not None:
            self._keep_apart(self._proximity, before)

    def _aim(self, one: _ArmMotion, plan: Plan, pace: Pace) -> None:
        """Set the arm's target of this tick, inside the workspace."""
        state = plan.state(one.arm.name, pace)
        position, moved = one.box.inside(state.position_m, one.target.position_m)
        if any(moved):
            state = state._replace(
                position_m=position,
                velocity_m_s=_where_free(state.velocity_m_s, moved),
                acceleration_m_s2=_where_free(state.acceleration_m_s2, moved),
            )
        one.target = state

    def _keep_apart(self, proximity: ProximityFilter, before: Sequence[TcpState]) -> None:
        """Move the targets of all arms together, off the table and off each other."""
        wanted = [(one.target.position_m, one.target.quat_xyzw) for one in self._arms]
        allowed = proximity.allowed(wanted, [(old.position_m, old.quat_xyzw) for old in before])
        for one, old, asked, (position, quat) in zip(self._arms, before, wanted, allowed, strict=True):
            if (position, quat) == asked:
                continue
            x, y, z = ((now - then) / self._dt_s for now, then in zip(position, old.position_m, strict=True))
            spin = one.target.angular_velocity_rad_s if quat == asked[1] else (0.0, 0.0, 0.0)
            one.target = at_rest(position, quat)._replace(velocity_m_s=(x, y, z), angular_velocity_rad_s=spin)

    def _near(self, before: JointState) -> tuple[float, float] | None:
        """Smallest distance of the commanded hands to each other and the table, now and in the command before, m; None far from all."""
        if self._proximity is None or self._proximity.aimed_distance_m > _NEAR_M:
            return None
        return self._distance_m(self.poses()), self._distance_m(self.poses_at(before.position))

    def _distance_m(self, poses: Mapping[str, Pose]) -> float:
        assert self._proximity is not None
        return self._proximity.distance_m(_targets_of(poses))

    def _stops_short(self, before: JointState, now_m: float, then_m: float) -> bool:
        """Whether the way to rest of this tick's command would touch, as joints swing some millimetres past a target that stops short of
        things. Then the tick is one of the way to rest of the command before, which does not, and the plan is dropped: the next one leads
        on from there, while joints that hurry after this one would take the straight way, through what is in it."""
        if now_m > _STOP_M + _STOP_S * max(0.0, then_m - now_m) / self._dt_s:
            return False
        room, wanted = self._room_to_rest(), self._limiter.state
        if room > 0.0:
            return False
        self._limiter.restore(before)
        if room >= self._room_to_rest():  # it was as near before: what parts may go on
            self._limiter.restore(wanted)
            return False
        self._limiter.brake()
        assert self._proximity is not None
        self._proximity.hits += 1
        return True

    def _room_to_rest(self) -> float:
        """Smallest distance of the hands now, at the end of the shortest stop, and half way there, m."""
        ways, *_ = self._limiter.way_to_rest()
        looks = [self.poses(), *(self.poses_at(ways[k]) for k in {len(ways) // 2, len(ways) - 1} if len(ways))]
        return min(self._distance_m(poses) for poses in looks)

    def _touching(self, before: JointState, now_m: float, then_m: float) -> str | None:
        """The guard's last question: commanded hands that touch each other or the table and come nearer still."""
        if now_m > 0.0 or now_m >= then_m:
            return None
        self._limiter.restore(before)
        self._limiter.brake()
        return "collision"

    def _follow_scale(self, rate: float) -> float:
        """Pace that waits for joints that cannot follow: near their speed limits, behind their targets, or where the kinematics end."""
        share = max([group.speed_share for group in self._groups])
        by_speed = 1.0 if share < _SPEED_SHARE else max(rate, _SLOWEST) * _SPEED_SHARE / share
        by_lag = 1.0 - (self.lag_rad - _LAG_FREE_RAD) / (LAG_FULL_RAD - _LAG_FREE_RAD)
        by_ik = 1.0 - (self.ik_error_m - _IK_FREE_M) / (_IK_FULL_M - _IK_FREE_M)
        by_singularity = min([group.pace for group in self._groups])
        return min(1.0, max(_SLOWEST, min(by_speed, by_lag, by_ik, by_singularity)))

    def _checked(self, before: JointState) -> str | None:
        """The guard's verdict; a refused command is replaced by the stop prepared with the previous one."""
        failure = self._guard.failure(self._limiter.state, before)
        if failure is not None:
            self._limiter.restore(before)
            self._limiter.brake()
        return failure

    def _move_grippers(self, plan: Plan | None = None, time_s: float = 0.0) -> None:
        for one in self._arms:
            one.ramp.step(None if plan is None else plan.tracks[one.arm.name].opening_m(time_s))

    def _settle(self, position: Array, velocity: Array) -> None:
        """The plan stands still: once the joints have arrived, drop it, so that rest is exact and nothing creeps."""
        self._settling_ticks += 1
        lag = float(np.abs(position - self._limiter.state.position).max())
        speed = max(float(np.abs(velocity).max()), float(np.abs(self._limiter.state.velocity).max()))
        arrived = lag < _SETTLED_LAG_RAD and speed < _SETTLED_SPEED_RAD_S and self.ik_error_m < _SETTLED_ERROR_M
        if arrived or self._settling_ticks * self._dt_s > _SETTLE_TIMEOUT_S:
            self._plan = self._pace = None
            self._target_velocity = np.zeros_like(self._target_velocity)


def _targets_of(poses: Mapping[str, Pose]) -> list[Target]:
    found: list[Target] = []
    for pose in poses.values():
        (x, y, z), (qx, qy, qz, qw) = pose.position_m.tolist(), pose.quat_xyzw.tolist()
        found.append(((x, y, z), (qx, qy, qz, qw)))
    return found


def _where_free(values: rot.Vector, moved: Sequence[bool]) -> rot.Vector:
    """Zero along the axes in which the workspace moved a target."""
    return (0.0 if moved[0] else values[0], 0.0 if moved[1] else values[1], 0.0 if moved[2] else values[2])

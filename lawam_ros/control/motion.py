"""The motion of all arms, one tick at a time: plan, workspace filter, inverse kinematics, limiter, guard."""

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import ActionChunk, Pose
from lawam_ros.contract.robot import Arm, Robot
from lawam_ros.control.acceptance import arm_values, starts_from_rest
from lawam_ros.control.gripper import GripperRamp
from lawam_ros.control.guard import guard
from lawam_ros.control.inverse_kinematics import InverseKinematics
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.limiter import JointLimiter, JointState, stacked_limits, with_reserve
from lawam_ros.control.pace import Pace
from lawam_ros.control.timeline import Plan, TcpState, at_rest, splice, tracks_of
from lawam_ros.control.workspace import WorkspaceFilter

Array = NDArray[np.float64]

_SPEED_SHARE = 0.97
_LAG_FREE_RAD, _LAG_FULL_RAD = 0.01, 0.06
_IK_FREE_M, _IK_FULL_M = 0.01, 0.04
_SLOWEST = 0.05
_SETTLED_LAG_RAD = 5e-5
_SETTLED_SPEED_RAD_S = 1e-3
_SETTLED_ERROR_M = 1e-4
_SETTLE_TIMEOUT_S = 1.0


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
        self.ik = InverseKinematics(arm, self.chain, dt_s)
        self.box = WorkspaceFilter(arm, dt_s)
        self.ramp = GripperRamp(arm.gripper, dt_s)
        self.target: TcpState = at_rest(np.zeros(3), (0.0, 0.0, 0.0, 1.0))
        self.ik_error_m = 0.0
        self.speed_share = 0.0

    def rest_at(self, joints_rad: Array) -> None:
        self.target = at_rest(*self.ik.start(joints_rad))
        self.ik_error_m = self.speed_share = 0.0


class Motion:
    """Commanded motion of a robot. Knows plans and limits, but no clock, no ladder and nothing measured."""

    def __init__(self, robot: Robot, urdf_text: str) -> None:
        self._dt_s = robot.tick_period_ns * 1e-9
        self._robot = robot
        self._limits = stacked_limits([arm.limits for arm in robot.arms])
        self._limiter = JointLimiter(with_reserve(self._limits), self._dt_s)
        self._arms = [_ArmMotion(arm, urdf_text, robot.joint_slice(arm.name), self._dt_s) for arm in robot.arms]
        self._plan: Plan | None = None
        self._pace: Pace | None = None
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
        return max(one.ik_error_m for one in self._arms)

    @property
    def limit_hits(self) -> int:
        return self._limiter.hits

    @property
    def workspace_hits(self) -> int:
        return sum(one.box.hits for one in self._arms)

    def openings(self) -> dict[str, float]:
        return {one.arm.name: one.ramp.opening_m for one in self._arms}

    def poses(self) -> dict[str, Pose]:
        """Commanded TCP per arm in its base frame."""
        if self._posed is not self._limiter.state:
            self._posed = self._limiter.state
            self._poses = self.poses_at(self._posed.position)
        return self._poses

    def poses_at(self, joints_rad: Array) -> dict[str, Pose]:
        return {one.arm.name: one.chain.pose(joints_rad[one.joints]) for one in self._arms}

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
        for one in self._arms:
            one.rest_at(self._limiter.state.position[one.joints])

    def release(self, chunk: ActionChunk, action_hz: float, stamp_ns: int, resting_since_ns: int | None) -> None:
        """Let a judged chunk take over from the target of the last command, stamped ``stamp_ns``."""
        first = float(chunk.time_from_start_s[0])
        origin_s = (stamp_ns - chunk.stamp_ns) * 1e-9
        if starts_from_rest(chunk, resting_since_ns):
            origin_s = first - min(first, 1.0 / action_hz)
        end_s = max(float(chunk.time_from_start_s[-1]) - origin_s, self._dt_s)
        tracks = tracks_of(chunk, self._robot.arms, arm_values(chunk, self._robot), origin_s)
        now = {one.arm.name: one.target for one in self._arms}
        self._plan = splice(tracks, self._robot.arms, now, end_s, chunk.sequence)
        self._pace = self._plan.start()
        self._settling_ticks = 0
        self._synced = False

    def follow_tick(self, running: bool) -> str | None:
        """One tick along the plan, or braking along it when not ``running``. Returns what the guard found wrong, None if nothing."""
        if self._plan is None or self._pace is None:
            return self._stand_tick()
        self._pace.advance(self._dt_s, self._follow_scale(self._pace.rate) if running else 0.0)
        position = np.empty_like(self._target_velocity)
        velocity = np.empty_like(self._target_velocity)
        for one in self._arms:
            self._aim(one, self._plan, self._pace)
            try:
                step = one.ik.step(one.target.position_m, one.target.quat_xyzw)
            except np.linalg.LinAlgError:
                # No joint target this tick: the prepared stop goes on, the caller climbs to STOP.
                self._limiter.brake()
                return "inverse_kinematics"
            position[one.joints], velocity[one.joints] = step.position_rad, step.velocity_rad_s
            one.ik_error_m, one.speed_share = step.error_m, step.speed_share
        bound = self._limits.acceleration_rad_s2
        acceleration = np.minimum(np.maximum((velocity - self._target_velocity) / self._dt_s, -bound), bound)
        self._target_velocity = velocity
        before = self._limiter.state
        self._limiter.track(position, velocity, acceleration)
        failure = self._checked(before)
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

    def _aim(self, one: _ArmMotion, plan: Plan, pace: Pace) -> None:
        """Set the arm's target of this tick, inside the workspace."""
        state = plan.state(one.arm.name, pace)
        position, moved = one.box.inside(state.position_m, one.target.position_m)
        if moved.any():
            still = np.logical_not(moved)
            state = TcpState(
                position, state.quat_xyzw, state.velocity_m_s * still, state.angular_velocity_rad_s, state.acceleration_m_s2 * still
            )
        one.target = state

    def _follow_scale(self, rate: float) -> float:
        """Pace that waits for joints that cannot follow: near their speed limits, behind their targets, or at the end of the kinematics."""
        share = max(one.speed_share for one in self._arms)
        by_speed = 1.0 if share < _SPEED_SHARE else max(rate, _SLOWEST) * _SPEED_SHARE / share
        lag = max(float(np.abs(one.ik.position_rad - self._limiter.state.position[one.joints]).max()) for one in self._arms)
        by_lag = 1.0 - (lag - _LAG_FREE_RAD) / (_LAG_FULL_RAD - _LAG_FREE_RAD)
        by_ik = 1.0 - (self.ik_error_m - _IK_FREE_M) / (_IK_FULL_M - _IK_FREE_M)
        return min(1.0, max(_SLOWEST, min(by_speed, by_lag, by_ik)))

    def _checked(self, before: JointState) -> str | None:
        """The guard's verdict; a refused command is replaced by the stop prepared with the previous one."""
        failure = guard(self._limiter.state, before, self._limits, self._dt_s)
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

"""Rows of a dataset from aligned frames: the same for frames heard live and read from a bag."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.load import Contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.task import STATE_SLOTS
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.measured import robot_state
from lawam_ros.data.action_space import ABSOLUTE_WIDTH, state_vector
from lawam_ros.data.episode_schema import ACTION, IMAGE_PREFIX, REFERENCE, STATE, command_rows, episode_schema
from lawam_ros.data.lerobot_layout import Schema, VectorFeature
from lawam_ros.observe.frame_stream import Commanded, Frame

JOINTS, STAMP = "observation.joints", "observation.stamp"
"""Measured joints, and the instant of the observation in ns: with them a dataset becomes a recording again."""
LONGEST_MOVE_S = 2.0
"""How long a movement of a gripper is followed to see where it leads."""


def recorded_schema(contract: Contract, cameras: Sequence[str]) -> Schema:
    """As for simulated demonstrations, with joints and stamps, and the cameras that there are."""
    schema = episode_schema(contract)
    further = (VectorFeature(JOINTS, joint_names(contract), "float64"), VectorFeature(STAMP, ("ns",), "int64"))
    videos = tuple(video for video in schema.videos if video.key.removeprefix(IMAGE_PREFIX) in cameras)
    return replace(schema, vectors=(*schema.vectors, *further), videos=videos)


def joint_names(contract: Contract) -> tuple[str, ...]:
    return (*contract.robot.joint_names, *(joint for arm in contract.robot.arms for joint in arm.gripper.joints))


def chains_of(contract: Contract) -> dict[str, Chain]:
    urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
    return {arm.name: Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame) for arm in contract.robot.arms}


class EpisodeRows:
    """Rows of one episode, frame after frame. A frame counts as soon as nothing still to come can change its action: what comes after a
    recording was cut does not matter. Where no commands were recorded, what the arm did next stands for what it was told.
    """

    def __init__(self, contract: Contract, chains: Mapping[str, Chain], end_ns: int) -> None:
        """end_ns: frames of later observations are no part of the episode; they only tell actions of those before."""
        self._contract, self._chains, self._end_ns = contract, chains, end_ns
        self._stamps_ns: list[int] = []
        self._joints: list[Mapping[str, float]] = []
        self._states: list[NDArray[np.float64]] = []
        self._told: list[Mapping[str, Commanded]] = []
        self._longest_move = round(LONGEST_MOVE_S * contract.task.policy.action_hz)
        self._grippers = {arm.name: _GripperCourse(self._longest_move) for arm in contract.robot.arms}
        self._waiting: deque[Frame[Any]] = deque()
        self.count = 0
        """Frames that count."""
        self.complete = False
        """Whether all frames of the episode count."""

    def add(self, frame: Frame[Any]) -> Iterator[Frame[Any]]:
        """Frames that count from now on. Raises KeyError for a joint of the robot file that is not measured."""
        observation, arms = frame.observation, self._contract.robot.arms
        tcp, opening_m, _ = robot_state(self._contract.robot, self._chains, observation.joints)
        slots = tuple(STATE_SLOTS)
        self._states.append(np.concatenate([state_vector(tcp[arm.name], opening_m[arm.name], slots) for arm in arms]))
        self._told.append(frame.commanded or {arm.name: Commanded(tcp[arm.name], opening_m[arm.name]) for arm in arms})
        self._joints.append(observation.joints)
        self._stamps_ns.append(observation.stamp_ns)
        for name, course in self._grippers.items():
            course.add(self._told[-1][name].opening_m)
        if observation.stamp_ns <= self._end_ns:
            self._waiting.append(frame)
        # The action of a frame is the command of the next one.
        known = min(course.known for course in self._grippers.values()) - 1
        while self._waiting and self.count < known:
            self.count += 1
            yield self._waiting.popleft()
        self.complete = observation.stamp_ns > self._end_ns and not self._waiting

    def columns(self) -> dict[str, NDArray[Any]]:
        """Of the frames that count, (T, D)."""
        commanded, names = self._commanded(), joint_names(self._contract)
        return {
            STATE: np.array(self._states[: self.count]),
            REFERENCE: commanded[: self.count],
            ACTION: self._with_destinations(commanded)[1 : self.count + 1],
            JOINTS: np.array([[joints[name] for name in names] for joints in self._joints[: self.count]]),
            STAMP: np.array(self._stamps_ns[: self.count], dtype=np.int64)[:, None],
        }

    def wanted(self) -> NDArray[np.float64]:
        """Absolute rows of the frames that count: the commanded pose, and the opening that the gripper moves to."""
        return self._with_destinations(self._commanded())[: self.count]

    def _commanded(self) -> NDArray[np.float64]:
        per_arm = [
            command_rows([row[arm.name].pose for row in self._told], [row[arm.name].opening_m for row in self._told])
            for arm in self._contract.robot.arms
        ]
        return np.concatenate(per_arm, axis=1)

    def _with_destinations(self, commanded: NDArray[np.float64]) -> NDArray[np.float64]:
        wanted = commanded.copy()
        for column in range(ABSOLUTE_WIDTH - 1, commanded.shape[1], ABSOLUTE_WIDTH):
            wanted[:, column] = destinations(commanded[:, column], self._longest_move)
        return wanted


class _GripperCourse:
    """Openings one after the other; ``known``: how many of them, from the first, have ``destinations`` that nothing to come can change."""

    def __init__(self, longest_move: int) -> None:
        self._longest_move = longest_move
        self._count, self._opening_m, self._step_m = 0, 0.0, 0.0
        self.known = 0

    def add(self, opening_m: float) -> None:
        step_m = opening_m - self._opening_m if self._count else 0.0
        if step_m == 0.0:
            self.known = self._count
        elif step_m * self._step_m < 0.0:
            self.known = self._count - 1
        self._count, self._opening_m, self._step_m = self._count + 1, opening_m, step_m
        self.known = max(self.known, self._count - self._longest_move)


def destinations(openings_m: NDArray[np.float64], longest_move: int) -> NDArray[np.float64]:
    """Where each movement of a gripper leads, followed for so many frames: recordings hold openings under way, an action the wanted one."""
    ends = np.arange(len(openings_m))
    for index in range(len(openings_m) - 2, -1, -1):
        here, following, end = openings_m[index], openings_m[index + 1], openings_m[ends[index + 1]]
        if following != here:
            ends[index] = ends[index + 1] if (following - here) * (end - following) >= 0.0 else index + 1
    return openings_m[np.minimum(ends, np.arange(len(openings_m)) + longest_move)]

"""A recording that nobody made: an arm in motion, and pictures with as much detail, motion and noise as those of a real camera."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lawam_ros.cli.frame_rows import chains_of, joint_names
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import JointCommand
from lawam_ros.contract.robot import Camera
from lawam_ros.control.measured import joints_of_command, robot_state
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.input_messages import InputMessages
from lawam_ros.observe.image import jpeg_from_rgb

_START_NS = 1_700_000_000_000_000_000
_JOINT_STATES_HZ = 125.0
_COMMANDS_HZ = 250.0
_JPEG_QUALITY = 90
_NOISE_LEVELS = 1.5
"""Standard deviation of a pixel, of a common camera in room light."""
_PERIOD_S = 6.0


def write_recording(folder: Path, contract: Contract, seconds: float) -> Iterator[float]:
    """One bag with joint states, commands and every camera, as JPEG where its topic is compressed; yields the time of every image in s."""
    robot = contract.robot
    chains, names = chains_of(contract), joint_names(contract)
    films = {camera.name: _film(camera, seed) for seed, camera in enumerate(robot.cameras)}
    rates = {"joints": _JOINT_STATES_HZ, "command": _COMMANDS_HZ} | {camera.name: camera.rate_hz for camera in robot.cameras}
    due = sorted((index / rate, name) for name, rate in rates.items() for index in range(round(seconds * rate)))
    with BagWriter(folder) as writer:
        messages = InputMessages(writer)
        for time_s, name in due:
            stamp_ns = _START_NS + round(time_s * 1e9)
            command = _command(contract, stamp_ns, time_s)
            if name == "joints":
                standing = joints_of_command(command, robot)
                messages.joints(f"/{robot.joint_states_topic}", stamp_ns, names, np.array([standing[joint] for joint in names]))
            elif name == "command":
                messages.command("/lawam/reference", command, robot)
                poses, _, _ = robot_state(robot, chains, joints_of_command(command, robot))
                for arm in robot.arms:
                    messages.pose(f"/lawam/reference_pose/{arm.name}", stamp_ns, arm.base_frame, poses[arm.name])
            else:
                camera, rgb = robot.camera(name), next(films[name])
                if camera.is_compressed:
                    messages.jpeg(f"/{camera.topic}", stamp_ns, jpeg_from_rgb(rgb, _JPEG_QUALITY))
                else:
                    messages.image(f"/{camera.topic}", stamp_ns, rgb)
                yield time_s


def _command(contract: Contract, stamp_ns: int, time_s: float) -> JointCommand:
    """Joints swing about home, the gripper closes and opens again, once in ``_PERIOD_S``."""
    arms, rate = contract.robot.arms, 2.0 * np.pi / _PERIOD_S
    home = np.concatenate([arm.home_rad for arm in arms])
    swing, turn = 0.2 * np.sin(rate * time_s), 0.2 * rate * np.cos(rate * time_s)
    closing = float(np.clip(2.0 * np.sin(rate * time_s), 0.0, 1.0))
    return JointCommand(
        stamp_ns=stamp_ns,
        positions_rad=home + swing,
        velocities_rad_s=np.full(len(home), turn),
        accelerations_rad_s2=np.full(len(home), -swing * rate**2),
        gripper_m={arm.name: arm.gripper.opening_max_m * (1.0 - closing) for arm in arms},
    )


def _film(camera: Camera, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures of a cluttered table without end: a wrist camera glides over it, through that of any other one passes a hand."""
    rng = np.random.default_rng(seed)
    (height, width), margin = camera.mounted_hw, 64
    table = _table(rng, height + 2 * margin, width + 2 * margin)
    hand = _table(rng, height // 3, width // 5)
    noise = rng.normal(0.0, _NOISE_LEVELS, (height + 64, width + 64, 3)).astype(np.float32)
    glides = "wrist" in camera.name
    for number in range(10**9):
        phase = 2.0 * np.pi * number / (camera.rate_hz * _PERIOD_S)
        aside, along = np.sin(phase), np.cos(phase)
        x, y = (margin * aside, margin * along) if glides else (0.0, 0.0)
        centre = (margin + (width - 1) / 2 + x, margin + (height - 1) / 2 + y)
        picture = cv2.getRectSubPix(table, (width, height), centre)
        if not glides:
            top = round((height - hand.shape[0]) * (0.5 + 0.5 * along))
            left = round((width - hand.shape[1]) * (0.5 + 0.4 * aside))
            picture[top : top + hand.shape[0], left : left + hand.shape[1]] = hand
        down, right = rng.integers(0, 64, 2)
        noisy = cv2.add(picture, noise[down : down + height, right : right + width])
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def _table(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A picture (height, width, 3) with detail of every size, weaker the finer it is as in photographs, and things with sharp edges."""
    table = np.full((height, width, 3), 110.0, np.float32)
    cells = 4
    while cells < width:
        grain = rng.normal(0.0, 60.0 / cells**0.5, (max(2, cells * height // width), cells, 3)).astype(np.float32)
        table += cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
        cells *= 2
    for _ in range(20):
        corner, size = rng.integers(0, (width, height)), rng.integers(8, 60, 2)
        colour = tuple(map(float, rng.uniform(20, 235, 3)))
        cv2.rectangle(table, tuple(map(int, corner)), tuple(map(int, corner + size)), colour, -1, cv2.LINE_AA)
    return table

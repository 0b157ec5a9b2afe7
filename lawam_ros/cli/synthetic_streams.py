"""Cameras and joints that are not there, each published by a process of its own as drivers would, until it is killed."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lawam_ros.cli.dies_with_parent import signal_at_parents_death
from lawam_ros.contract.load import Contract

JOINT_STATES_HZ = 125.0


def publish_cameras(contract: Contract, domain: int) -> None:
    """Every camera of the task at the rate of the first, all exposed at one instant: just before the first image is published."""
    from sensor_msgs.msg import Image

    from lawam_ros.nodes import messages, qos
    from lawam_ros.nodes.images import rgb_to_image

    node = _driver("synthetic_cameras", domain)
    robot, policy = contract.robot, contract.task.policy
    cameras = [robot.camera(name) for name in policy.primary_cameras + policy.wrist_cameras]
    noise = np.random.default_rng(0)
    images = [rgb_to_image(noise.integers(0, 255, (*c.mounted_hw, 3), dtype=np.uint8), 0, c.name) for c in cameras]
    publishers = [node.create_publisher(Image, camera.topic, qos.IMAGE_OUT) for camera in cameras]

    def frame(count: int) -> None:
        stamp_ns = time.time_ns()
        for image, publisher in zip(images, publishers, strict=True):
            image.header.stamp = messages.stamp(stamp_ns)
            image.data[0] = count % 256
            publisher.publish(image)

    _at_rate(cameras[0].rate_hz, frame)


def publish_joints(contract: Contract, domain: int) -> None:
    """Joints that stand at home with half open grippers, in real time as a robot's driver has it."""
    from sensor_msgs.msg import JointState

    from lawam_ros.nodes import messages, qos
    from lawam_ros.nodes.priority import PHYSICS, raise_priority

    raise_priority(PHYSICS)
    node, robot = _driver("synthetic_joints", domain), contract.robot
    publisher = node.create_publisher(JointState, robot.joint_states_topic, qos.SENSOR)
    joints = dict(zip(robot.joint_names, np.concatenate([arm.home_rad for arm in robot.arms]).tolist(), strict=True))
    for arm in robot.arms:
        joints |= dict.fromkeys(arm.gripper.joints, 0.5 * arm.gripper.opening_max_m / arm.gripper.opening_per_joint)
    still = dict.fromkeys(joints, 0.0)
    _at_rate(JOINT_STATES_HZ, lambda _: publisher.publish(messages.joint_state_to_message(time.time_ns(), joints, still)))


def _driver(name: str, domain: int) -> Any:
    """Node of this process, which ends with its parent."""
    signal_at_parents_death(signal.SIGKILL)
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    import rclpy

    rclpy.init()
    return rclpy.create_node(name)


def _at_rate(rate_hz: float, work: Callable[[int], None]) -> None:
    """``work`` of 0, 1, 2 and so on at absolute deadlines; those that have passed are left out."""
    start, count = time.monotonic(), 0
    while True:
        work(count)
        count = max(count + 1, int((time.monotonic() - start) * rate_hz))
        time.sleep(max(0.0, start + count / rate_hz - time.monotonic()))

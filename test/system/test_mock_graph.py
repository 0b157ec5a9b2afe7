"""hardware:=mock in real processes: the arm that does as told, for any robot."""

import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from lawam_ros import bringup
from lawam_ros.cli.domain import ReservedDomain
from lawam_ros.cli.process_group import ProcessGroup
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.control.limiter import stacked_limits
from lawam_ros.nodes.run_client import RunClient

TASK, ROBOT = "franka_pick_place", "franka_fr3"


def wait(condition, seconds, client, what):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"waited {seconds} s for {what}; last status {client.status}"
        time.sleep(0.01)


def chunk_to_the_side(contract, epoch, distance_m):
    arm, policy = contract.robot.arms[0], contract.task.policy
    urdf = (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8")
    pose = Chain.from_urdf(urdf, arm.base_frame, arm.tcp_frame).pose(arm.home_rad)
    way = np.arange(1, policy.steps + 1) / policy.steps * distance_m
    rows = [[pose.position_m[0], pose.position_m[1] + y, pose.position_m[2], *pose.quat_xyzw, 0.08] for y in way]
    return ActionChunk(
        stamp_ns=time.time_ns(),
        frame_id=contract.robot.base_frame,
        components=tuple(f"arm/{part}" for part in CARTESIAN_COMPONENTS),
        values=np.array(rows),
        time_from_start_s=(np.arange(len(rows)) + policy.action_offset_steps) / policy.action_hz,
        sequence=1,
        epoch=epoch,
        contract_crc=contract.crc,
    )


def test_the_mocked_fr3_does_as_told_within_its_limits():
    values = bringup.defaults(TASK) | {"hardware": "mock", "robot": ROBOT, "view": "false"}
    contract = bringup.contract_for(TASK, values)
    nodes = [
        replace(node, parameters={**node.parameters, **({"await_policy": False} if node.name == "chunk_executor" else {})})
        for node in bringup.nodes_for(TASK, values)
        if node.name != "policy"
    ]
    assert [node.name for node in nodes] == ["mock", "chunk_executor"]
    domain = ReservedDomain()
    checker = LimitChecker(stacked_limits([arm.limits for arm in contract.robot.arms]))
    violations, commands = [], []

    def judge(command):
        commands.append(command)
        violations.extend(checker.add(command.stamp_ns, command.positions_rad, command.velocities_rad_s, command.accelerations_rad_s2))

    with ProcessGroup(nodes, "", bringup.environment("mock") | {"ROS_DOMAIN_ID": str(domain.number)}) as group:
        client = RunClient(contract, "", domain.number, judge)
        try:
            wait(lambda: client.status is not None and client.status.state == "HOLD", 20, client, "HOLD")
            wait(lambda: client.frame is not None, 5, client, "a picture")
            client.publish_chunk(chunk_to_the_side(contract, client.status.epoch, 0.1))
            wait(lambda: client.status.accepted_sequence == 1, 2, client, "the chunk to be taken")
            wait(lambda: client.status.state == "HOLD" and not np.any(commands[-1].velocities_rad_s), 5, client, "the end of the chunk")
            moved_m = client.paths_m["arm"][-1][1] - client.paths_m["arm"][0][1]
            assert moved_m == pytest.approx(0.1, abs=2e-3)
            assert (violations, client.status.initialised_from) == ([], "measured")
        finally:
            client.close()
            domain.release()
    assert group.exit_codes == {"mock": 0, "chunk_executor": 0}

"""An inference that raises: tried again, more slowly each time, in the end given up, which the executor hears as silence."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn

from lawam_ros.contract.errors import LawamError
from lawam_ros.contract.records import Observation
from lawam_ros.nodes import policy
from lawam_ros.nodes.commanded_rows import CommandedRows
from lawam_ros.nodes.images import rgb_to_image
from lawam_ros.nodes.policy import PolicyNode
from lawam_ros.nodes.status import ExecutorStatus
from lawam_ros.observe.alignment import Aligned
from lawam_ros.policies.interface import Inference, Reference, Targets

STATUS = ExecutorStatus(10**9, "RUN", "", 0, 1, 1, "move", "measured", 0, 0, 0, "")


class Failing:
    """Raises what is in ``errors``, one by one."""

    description = "fails"

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []

    def warm_up(self) -> None:
        pass

    def look(self, observation: Observation, seed: int, committed: object = None) -> Inference:
        error = self.errors.pop(0)
        if error is not None:
            raise error
        return Inference(actions=np.zeros((24, 8)))

    def place(self, inference: Inference, reference: Reference) -> Targets:
        return Targets((), inference.actions, np.arange(24.0))


@pytest.fixture
def model() -> Failing:
    return Failing()


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, model: Failing) -> Iterator[PolicyNode]:
    monkeypatch.setattr(policy, "choose_policy", lambda *_: model)
    rclpy.init(args=["--ros-args", "-p", "autostart:=false"], domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    made = PolicyNode()
    assert made.trigger_configure() == TransitionCallbackReturn.SUCCESS
    yield made
    made.close()
    made.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def slept_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(policy.time, "sleep", slept.append)
    return slept


def aligned(node: PolicyNode) -> Aligned:
    robot = node.contract().robot
    images = {camera.name: rgb_to_image(np.zeros((camera.height, camera.width, 3), np.uint8), 10**9, "") for camera in robot.cameras}
    joints = dict(zip(robot.joint_names, robot.arms[0].home_rad.tolist(), strict=True)) | dict.fromkeys(robot.arms[0].gripper.joints, 0.02)
    return Aligned(10**9, images, dict.fromkeys(images, 10**9), joints)


def test_a_failing_inference_is_tried_again_ever_more_slowly_and_given_up_after_five(
    node: PolicyNode, model: Failing, slept_s: list[float]
) -> None:
    model.errors = [RuntimeError("CUDA error: device-side assert"), MemoryError("out of memory"), *(ValueError("odd") for _ in range(3))]
    for count in range(1, 6):
        assert not node.finished.is_set()
        assert not node._one_chunk(aligned(node), STATUS)
        assert node.report()[1]["failures"] == count
    assert slept_s == [0.2, 0.4, 0.8, 1.6, 2.0]
    assert node.finished.is_set() and node.exit_code == LawamError.exit_code


def test_one_good_inference_makes_up_for_four_bad_ones(node: PolicyNode, model: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy.time, "sleep", lambda _: None)
    monkeypatch.setattr(CommandedRows, "at", lambda self, *_, settled: {})
    monkeypatch.setattr(PolicyNode, "_publish_chunk", lambda self, chunk: None)
    model.errors = [ValueError("odd")] * 4 + [None] + [ValueError("odd")] * 4
    results = [node._one_chunk(aligned(node), STATUS) for _ in range(9)]
    assert results == [False] * 4 + [True] + [False] * 4
    assert not node.finished.is_set()

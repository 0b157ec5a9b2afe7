"""The view draws what the policy foresees, and no message ends it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from lawam_ros.contract.load import load_contract
from lawam_ros.nodes import messages
from lawam_ros.nodes.images import image_to_rgb, rgb_to_image
from lawam_ros.nodes.subgoal_view import SubgoalViewNode
from lawam_ros.viz.heatmap import HeatmapStyle, anchor_feature, overlay, similarity_map

CAMERA = load_contract("franka_pick_place").robot.camera("front")
RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
CURRENT = RNG.normal(size=(256, 12)).astype(np.float32)
PREDICTED = RNG.normal(size=(256, 12)).astype(np.float32)
STAMP_NS = 5_000_000_000

Start = Callable[..., SubgoalViewNode]


@pytest.fixture
def start() -> Iterator[Start]:
    nodes: list[SubgoalViewNode] = []

    def make(**given: float) -> SubgoalViewNode:
        arguments = ["--ros-args", "-p", "autostart:=false"]
        for name, value in given.items():
            arguments += ["-p", f"{name}:={value}"]
        rclpy.init(args=arguments, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
        nodes.append(SubgoalViewNode())
        return nodes[0]

    yield make
    for node in nodes:
        node.close()
        node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def view(start: Start, monkeypatch: pytest.MonkeyPatch) -> tuple[SubgoalViewNode, list[Image]]:
    """A configured node and the pictures that it publishes."""
    node = start()
    drawn: list[Image] = []
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    monkeypatch.setattr(node._heatmap, "publish", drawn.append)
    return node, drawn


def features(table: np.ndarray) -> Image:
    return messages.features_to_message(table, STAMP_NS, "front")


def show(node: SubgoalViewNode) -> None:
    node._on_frame(rgb_to_image(RGB, STAMP_NS, "front_optical_frame"))
    node._on_current(features(CURRENT))
    node._on_predicted(features(PREDICTED))


def test_draws_over_the_frame_of_the_observation(view: tuple[SubgoalViewNode, list[Image]]) -> None:
    node, drawn = view
    node._on_frame(rgb_to_image(RGB, STAMP_NS - 50_000_000, ""))
    show(node)
    node._on_frame(rgb_to_image(255 - RGB, STAMP_NS + 50_000_000, ""))
    style = HeatmapStyle()
    anchor = anchor_feature(CURRENT, (16, 16), style.anchor_patch)
    np.testing.assert_array_equal(image_to_rgb(drawn[0], CAMERA), overlay(RGB, similarity_map(PREDICTED, anchor, (16, 16)), style))
    assert messages.nanoseconds(drawn[0].header.stamp) == STAMP_NS
    assert drawn[0].header.frame_id == "front_optical_frame"
    assert node.report() == ("", {"drawn": 1, "anchor_epoch": -1})


def test_the_anchor_stays_for_an_epoch(view: tuple[SubgoalViewNode, list[Image]]) -> None:
    node, drawn = view
    show(node)
    node._on_current(features(PREDICTED))
    node._on_predicted(features(PREDICTED))
    assert drawn[1].data == drawn[0].data
    node._epoch = 1
    node._on_current(features(PREDICTED))
    node._on_predicted(features(PREDICTED))
    assert drawn[2].data != drawn[0].data


def test_frames_are_found_by_exposure_as_the_policy_does(view: tuple[SubgoalViewNode, list[Image]]) -> None:
    node, drawn = view
    node._latency_ns = 30_000_000
    node._on_frame(rgb_to_image(RGB, STAMP_NS + 30_000_000, ""))
    node._on_current(features(CURRENT))
    node._on_predicted(features(PREDICTED))
    assert len(drawn) == 1


def broken() -> list[Image]:
    good = features(PREDICTED)
    other_encoding, short = features(PREDICTED), features(PREDICTED)
    other_encoding.encoding = "rgb8"
    short.data = short.data[:-4]
    assert good.encoding == "32FC1"
    empty = Image(header=messages.header(STAMP_NS))
    return [empty, other_encoding, short, features(PREDICTED[:15]), features(PREDICTED[:0])]


@pytest.mark.parametrize("index", range(5))
def test_broken_features_are_told_and_passed_over(view: tuple[SubgoalViewNode, list[Image]], index: int) -> None:
    node, drawn = view
    node._on_current(broken()[index])
    assert node.report()[0].startswith("lawam/subgoal/current: expected")
    show(node)
    node._on_predicted(broken()[index])
    assert node.report()[0].startswith("lawam/subgoal/predicted: expected")
    assert len(drawn) == 1
    node._on_predicted(features(PREDICTED))
    assert len(drawn) == 2
    assert node.report()[0] == ""


def test_features_of_another_width_are_passed_over(view: tuple[SubgoalViewNode, list[Image]]) -> None:
    node, drawn = view
    show(node)
    node._on_predicted(features(PREDICTED[:, :5]))
    assert node.report()[0].startswith("lawam/subgoal/predicted: ")
    assert len(drawn) == 1


def test_broken_frames_and_status_are_passed_over(view: tuple[SubgoalViewNode, list[Image]]) -> None:
    node, drawn = view
    node._on_status(DiagnosticArray())
    assert node.report()[0].startswith("lawam/status: ")
    show(node)
    node._frames.clear()
    node._on_frame(rgb_to_image(RGB[:10], STAMP_NS, ""))
    node._on_predicted(features(PREDICTED))
    assert "expected 320x240 pixels" in node.report()[0]
    assert len(drawn) == 1


def test_an_anchor_outside_the_grid_is_told(start: Start) -> None:
    node = start(anchor_row=16)
    node.trigger_configure()
    node._on_current(features(CURRENT))
    assert "expected an anchor patch inside the 16x16 grid" in node.report()[0]


def test_colours_without_a_range_are_refused(start: Start) -> None:
    node = start(similarity_low=0.5, similarity_high=0.5)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "similarity_low" in node._last_refusal


def test_style_of_the_parameters(start: Start) -> None:
    node = start(alpha=0.25, anchor_column=9)
    node.trigger_configure()
    assert node._style == replace(HeatmapStyle(), alpha=0.25, anchor_patch=(3, 9))

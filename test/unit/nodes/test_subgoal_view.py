"""The view draws what the policy foresees and where it sends the arm, and no message ends it."""

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.records import ActionChunk
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.control.link_frames import LinkFrames, transform_of
from lawam_ros.nodes import messages
from lawam_ros.nodes.images import image_to_rgb, rgb_to_image
from lawam_ros.nodes.subgoal_view import DISTANCE, SubgoalViewNode
from lawam_ros.viz.heatmap import HeatmapStyle, anchor_feature, overlay, similarity_map
from lawam_ros.viz.subgoal_views import SubgoalViews, ViewStyle

CONTRACT = load_contract("franka_pick_place")
ROBOT = CONTRACT.robot
CAMERA = ROBOT.camera("front")
RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
GREY = np.full_like(RGB, 90)
CURRENT, PREDICTED = RNG.normal(size=(2, 256, 12)).astype(np.float32)
STAMP_NS = 5_000_000_000
FOCAL_PX = 300.0
HOME = dict(zip(ROBOT.joint_names, ROBOT.arms[0].home_rad, strict=True)) | dict.fromkeys(ROBOT.arms[0].gripper.joints, 0.04)

Start = Callable[..., SubgoalViewNode]
Published = dict[str, list[Any]]


@pytest.fixture
def start() -> Iterator[Start]:
    nodes: list[SubgoalViewNode] = []

    def make(**given: object) -> SubgoalViewNode:
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
def view(start: Start, monkeypatch: pytest.MonkeyPatch) -> tuple[SubgoalViewNode, Published]:
    """A configured node, and by short topic what it publishes to somebody who looks at everything."""
    node = start()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    published: Published = {}
    publishers = {**node._pictures, "distance": node._distances, "markers": node._markers}
    publishers |= {f"overlay/{name}": one._publisher for name, one in node._overlays.items()}
    for name, publisher in publishers.items():
        published[name] = []
        monkeypatch.setattr(publisher, "publish", published[name].append)
        monkeypatch.setattr(publisher, "get_subscription_count", lambda: 1)
    return node, published


def features(table: np.ndarray, stamp_ns: int = STAMP_NS, camera: str = "front") -> Image:
    return messages.features_to_message(table, stamp_ns, camera)


def frame(node: SubgoalViewNode, rgb: np.ndarray = RGB, stamp_ns: int = STAMP_NS, camera: str = "front") -> None:
    node._on_frame(camera, rgb_to_image(rgb, stamp_ns, f"{camera}_optical_frame"))


def show(node: SubgoalViewNode, current: Image | None = None, predicted: Image | None = None) -> None:
    node._on_features("current", current or features(CURRENT))
    node._on_features("predicted", predicted or features(PREDICTED))


def joints(node: SubgoalViewNode, stamp_ns: int = STAMP_NS) -> None:
    node._on_joint_states(messages.joint_state_to_message(stamp_ns, HOME, dict.fromkeys(HOME, 0.0)))


def chunk(points_m: np.ndarray, epoch: int = -1, gripper_m: float = 0.08) -> JointTrajectory:
    rows = [[*point, 1.0, 0.0, 0.0, 0.0, gripper_m] for point in points_m]
    times_s = 0.05 * np.arange(1, len(points_m) + 1)
    components = tuple(f"arm/{name}" for name in CARTESIAN_COMPONENTS)
    record = ActionChunk(STAMP_NS, ROBOT.base_frame, components, np.array(rows), times_s, sequence=1, epoch=max(epoch, 0), contract_crc=0)
    return messages.chunk_to_message(record)


def calibrate(node: SubgoalViewNode, camera: str = "front") -> None:
    header = messages.header(STAMP_NS, f"{camera}_optical_frame")
    node._overlays[camera]._view.calibrate(messages.camera_info(header, CAMERA.height, CAMERA.width, FOCAL_PX))


def test_draws_over_the_frame_of_the_observation(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    frame(node, 255 - RGB, STAMP_NS - 50_000_000)
    frame(node)
    frame(node, 255 - RGB, STAMP_NS + 50_000_000)
    show(node)
    style = HeatmapStyle()
    anchor = anchor_feature(CURRENT, (16, 16), style.anchor_patch)
    heatmap = published["heatmap"][0]
    np.testing.assert_array_equal(image_to_rgb(heatmap, CAMERA), overlay(RGB, similarity_map(PREDICTED, anchor, (16, 16)), style))
    assert messages.nanoseconds(heatmap.header.stamp) == STAMP_NS
    assert heatmap.header.frame_id == "front_optical_frame"
    assert node.report() == ("", {"drawn": 1, "epoch": -1, "distance": 1.0, "overlays_front": 3, "overlays_wrist": 0})


def test_change_map_components_and_distance(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    frame(node)
    show(node)
    later = STAMP_NS + 400_000_000
    halfway = (CURRENT + PREDICTED) / 2
    show(node, features(halfway, later), features(PREDICTED, later))
    expected = SubgoalViews(ViewStyle(), 1.2)
    expected.take(STAMP_NS, CURRENT, PREDICTED, (16, 16))
    np.testing.assert_array_equal(image_to_rgb(published["change"][0], CAMERA), expected.change(RGB))
    pca = published["pca"][0]
    assert (pca.height, pca.width) == (CAMERA.height, 2 * CAMERA.width)
    assert [one.name for one in published["distance"]] == [[DISTANCE]] * 2
    np.testing.assert_allclose([one.position[0] for one in published["distance"]], [1.0, 0.5], atol=1e-5)


def test_nothing_is_drawn_for_nobody(view: tuple[SubgoalViewNode, Published], monkeypatch: pytest.MonkeyPatch) -> None:
    node, published = view
    for publisher in [*node._pictures.values(), *(one._publisher for one in node._overlays.values())]:
        monkeypatch.setattr(publisher, "get_subscription_count", lambda: 0)
    monkeypatch.setattr("lawam_ros.viz.subgoal_views.overlay", lambda *_: pytest.fail("drawn"))
    frame(node)
    show(node)
    assert not published["heatmap"] and not published["overlay/front"] and len(published["distance"]) == 1


def test_the_anchor_stays_for_an_epoch(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    frame(node)
    show(node)
    show(node, features(PREDICTED))
    assert published["heatmap"][1].data == published["heatmap"][0].data
    node._views.begin()
    show(node, features(PREDICTED))
    assert published["heatmap"][2].data != published["heatmap"][0].data


@pytest.mark.parametrize("halves", [("current", "predicted"), ("predicted", "current")])
def test_only_features_of_one_observation_belong_together(view: tuple[SubgoalViewNode, Published], halves: tuple[str, str]) -> None:
    node, published = view
    frame(node)
    tables = {"current": CURRENT, "predicted": PREDICTED}
    node._on_features(halves[0], features(tables[halves[0]], STAMP_NS - 100))
    node._on_features(halves[1], features(tables[halves[1]]))
    assert not published["distance"]
    node._on_features(halves[0], features(tables[halves[0]]))
    assert len(published["heatmap"]) == len(published["distance"]) == 1


def test_frames_are_found_by_exposure_as_the_policy_does(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    node = start(overrides="robot.cameras.front.latency_s=0.03")
    node.trigger_configure()
    drawn: list[Image] = []
    monkeypatch.setattr(node._pictures["heatmap"], "publish", drawn.append)
    monkeypatch.setattr(node._pictures["heatmap"], "get_subscription_count", lambda: 1)
    frame(node, stamp_ns=STAMP_NS + 30_000_000)
    show(node)
    assert len(drawn) == 1


def broken() -> list[Image]:
    other_encoding, short = features(PREDICTED), features(PREDICTED)
    other_encoding.encoding = "rgb8"
    short.data = short.data[:-4]
    return [Image(header=messages.header(STAMP_NS)), other_encoding, short, features(PREDICTED[:15]), features(PREDICTED[:0])]


@pytest.mark.parametrize("half", ["current", "predicted"])
@pytest.mark.parametrize("index", range(5))
def test_broken_features_are_told_and_passed_over(view: tuple[SubgoalViewNode, Published], half: str, index: int) -> None:
    node, published = view
    frame(node)
    show(node, **{half: broken()[index]})
    assert node.report()[0].startswith(f"lawam/subgoal: {half}: expected")
    show(node)
    assert len(published["heatmap"]) == 1 and node.report()[0] == ""


def test_features_that_do_not_belong_together_are_passed_over(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    frame(node)
    show(node, predicted=features(PREDICTED[:, :5]))
    assert node.report()[0].startswith("lawam/subgoal: expected predicted features of shape (256, 12)")
    show(node, features(CURRENT, camera="elbow"), features(PREDICTED, camera="elbow"))
    assert "expected features of a primary camera (front)" in node.report()[0]
    assert not published["heatmap"]


def test_broken_frames_and_status_are_passed_over(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    node._on_status(DiagnosticArray())
    assert node.report()[0].startswith("lawam/status: ")
    frame(node, RGB[:10])
    show(node)
    assert "expected 320x240 pixels" in node.report()[0] and "expected 320x240 pixels" in node.warning()
    assert not published["heatmap"] and not published["overlay/front"]


def test_an_anchor_outside_the_grid_is_told(start: Start) -> None:
    node = start(anchor_row=16)
    node.trigger_configure()
    show(node)
    assert "expected an anchor patch inside the 16x16 grid" in node.report()[0]


def test_colours_without_a_range_are_refused(start: Start) -> None:
    node = start(similarity_low=0.5, similarity_high=0.5)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "similarity_low" in node._last_refusal


def test_style_of_the_parameters(start: Start) -> None:
    node = start(alpha=0.25, anchor_column=9, change_high=2.0, remove_change_bias="false")
    assert node._style() == ViewStyle(HeatmapStyle(alpha=0.25, anchor_patch=(3, 9)), 2.0, False)


def projected(camera: str, point_m: np.ndarray) -> tuple[int, int]:
    """Row and column by hand, for a camera of FOCAL_PX without distortion."""
    mount = ROBOT.camera(camera).mount
    assert mount is not None
    poses = LinkFrames((urdf_dir() / ROBOT.urdf).read_text()).poses(HOME)
    x, y, z = (np.linalg.inv(poses[mount.link] @ transform_of(mount.optical)) @ [*point_m, 1.0])[:3]
    return round(y / z * FOCAL_PX + CAMERA.height / 2), round(x / z * FOCAL_PX + CAMERA.width / 2)


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_the_path_lies_where_the_camera_sees_it(view: tuple[SubgoalViewNode, Published], camera: str) -> None:
    node, published = view
    joints(node)
    calibrate(node, camera)
    tcp_m = node._chains["arm"].pose(ROBOT.arms[0].home_rad).position_m
    points_m = np.linspace(tcp_m, tcp_m + [0.05, 0.05, -0.05], 20)
    node._epoch = 0
    node._on_chunk(chunk(points_m))
    frame(node, GREY, camera=camera)
    picture = image_to_rgb(published[f"overlay/{camera}"][0], CAMERA)
    row, column = projected(camera, points_m[-1])
    assert picture[row, column].tolist() == [235, 40, 120]
    changed = np.argwhere((picture != GREY).any(axis=2))
    ends = np.array([projected(camera, point) for point in points_m])
    assert (changed >= ends.min(axis=0) - 6).all() and (changed <= ends.max(axis=0) + 6).all()
    assert node.warning() == ""


def test_tf_outranks_the_robot_file(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    joints(node)
    calibrate(node)
    node._epoch = 0
    node._on_chunk(chunk(np.linspace([0.4, -0.1, 0.2], [0.6, 0.1, 0.3], 20)))
    frame(node, GREY)
    elsewhere = TransformStamped(child_frame_id="front_optical_frame")
    elsewhere.header.frame_id = "panda_link0"
    elsewhere.transform.rotation.w = 1.0
    elsewhere.transform.translation.z = 5.0  # it looks up, away from everything
    node._overlays["front"]._tree.take(SimpleNamespace(transforms=[elsewhere]))
    frame(node, GREY, STAMP_NS + 1)
    drawn = [(image_to_rgb(message, CAMERA) != GREY).any() for message in published["overlay/front"]]
    assert drawn == [True, False] and node.warning() == ""


def test_a_camera_nobody_knows_shows_its_picture_and_says_why(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    node._epoch = 0
    node._on_chunk(chunk(np.array([[0.5, 0.0, 0.3]] * 3)))
    frame(node, GREY)
    assert "expected joint states" in node.warning()
    joints(node)
    frame(node, GREY, STAMP_NS + 1)
    assert "lawam/overlay/front: expected a calibration on camera/front/camera_info" in node.warning()
    header = messages.header(STAMP_NS)
    node._overlays["front"]._view.calibrate(messages.camera_info(header, 480, 640, FOCAL_PX))
    frame(node, GREY, STAMP_NS + 2)
    assert "for 320x240 pixels, got 640x480" in node.warning()
    for message in published["overlay/front"]:
        np.testing.assert_array_equal(image_to_rgb(message, CAMERA), GREY)
    assert len(published["overlay/front"]) == 3 and node.report()[0] == ""


def test_a_path_that_is_long_over_is_not_drawn(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    joints(node)
    calibrate(node)
    node._epoch = 0
    node._on_chunk(chunk(np.linspace([0.4, -0.1, 0.2], [0.6, 0.1, 0.3], 20)))
    for late_s in (0.0, 1.9, 2.1):
        frame(node, GREY, STAMP_NS + round(late_s * 1e9))
    drawn = [(image_to_rgb(message, CAMERA) != GREY).any() for message in published["overlay/front"]]
    assert drawn == [True, True, False]


def status(epoch: int) -> DiagnosticArray:
    names = ("hold_since", "epoch_stamp", "judged_stamp", "accepted_sequence", "rejected")
    texts = ("state", "reason", "instruction", "initialised_from", "rejected_reason")
    return messages.diagnostics(STAMP_NS, "lawam/status", "", dict.fromkeys(names, 0) | dict.fromkeys(texts, "") | {"epoch": epoch})


def test_markers_follow_the_chunk_and_the_epoch(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    node._on_status(status(3))
    node._on_chunk(chunk(np.array([[0.5, 0.0, 0.3], [0.5, 0.1, 0.3]]), epoch=3))
    node._on_chunk(chunk(np.array([[0.5, 0.0, 0.3]] * 5), epoch=2))
    node._on_status(status(3))
    node._on_status(status(4))
    arrays = [{marker.ns: marker for marker in message.markers} for message in published["markers"]]
    assert [markers["chunk"].action for markers in arrays] == [Marker.DELETE, Marker.ADD, Marker.DELETE]
    line, box = arrays[1]["chunk"], arrays[1]["workspace"]
    assert [(p.x, p.y, p.z) for p in line.points] == [(0.5, 0.0, 0.3), (0.5, 0.1, 0.3)] and len(line.colors) == 2
    assert line.header.frame_id == "panda_link0" and line.pose.orientation.w == 1.0 and line.scale.x > 0 and line.colors[0].a == 1.0
    corners = {(p.x, p.y, p.z) for p in box.points}
    assert len(box.points) == 24 and len(corners) == 8 and box.action == Marker.ADD
    np.testing.assert_array_equal(np.min(list(corners), axis=0), ROBOT.arms[0].workspace_lower_m)
    np.testing.assert_array_equal(np.max(list(corners), axis=0), ROBOT.arms[0].workspace_upper_m)


def test_broken_chunks_and_joint_states_are_told(view: tuple[SubgoalViewNode, Published]) -> None:
    node, published = view
    node._on_chunk(JointTrajectory())
    assert "lawam/action_chunk: expected a chunk" in node.report()[0] and not published["markers"]
    node._on_joint_states(JointState(name=["a", "a"], position=[0.0, 0.0]))
    assert "joint_states: joint name repeated" in node.report()[0]


def test_arms_and_fingers_may_come_in_messages_of_their_own(view: tuple[SubgoalViewNode, Published]) -> None:
    node, _ = view
    for part, stamp_ns in ((ROBOT.joint_names, STAMP_NS), (ROBOT.arms[0].gripper.joints, STAMP_NS + 1)):
        node._on_joint_states(messages.joint_state_to_message(stamp_ns, {name: HOME[name] for name in part}, dict.fromkeys(part, 0.0)))
    assert node._joints_at(STAMP_NS + 5) == HOME

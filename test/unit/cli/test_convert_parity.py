"""The same frames live, from the bag and from the dataset made of it; and recordings cut, damaged, resumed, and made anew."""

import json
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 messages are not installed")

from geometry_msgs.msg import PoseStamped
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, JointState
from trajectory_msgs.msg import JointTrajectory

from lawam_ros.cli import bag_to_lerobot
from lawam_ros.cli.frame_rows import JOINTS, STAMP, EpisodeRows, chains_of, destinations
from lawam_ros.cli.main import main
from lawam_ros.cli.synthetic_recording import write_recording
from lawam_ros.contract.load import load_contract
from lawam_ros.data.bag_cuts import marked_spans, moving_spans
from lawam_ros.data.bag_frames import BagFrames
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_streams import bag_streams, picture
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.episode_schema import ACTION, IMAGE_PREFIX, REFERENCE, STATE
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.data.recorded_run import read_run
from lawam_ros.nodes import messages
from lawam_ros.nodes.images import image_to_rgb
from lawam_ros.observe.frame_stream import FrameStream

BAG = Path(__file__).resolve().parents[2] / "data" / "bags" / "pick_place"
CONTRACT = load_contract(
    "franka_pick_place", overrides=[f"robot.cameras.{c}.topic=camera/{c}/image_raw/compressed" for c in ("front", "wrist")]
)
CAMERAS = ("front", "wrist")
HZ = CONTRACT.task.policy.action_hz
SMALL_OVERRIDES = [
    f"robot.cameras.{camera}.{key}={value}"
    for camera in CAMERAS
    for key, value in {"topic": f"camera/{camera}/image_raw/compressed", "width": 64, "height": 48, "rate_hz": 30.0}.items()
]
SMALL = load_contract("franka_pick_place", overrides=SMALL_OVERRIDES)
TYPES = {
    "/joint_states": JointState,
    "/lawam/reference": JointTrajectory,
    "/lawam/reference_pose/arm": PoseStamped,
    **{f"/camera/{name}/image_raw/compressed": CompressedImage for name in CAMERAS},
}


def converted(source: Path, out: Path, *arguments: str) -> dict:
    code = main(["convert", str(source), "--to", "lerobot-v3", "--out", str(out), *arguments, "--json"])
    return {"code": code}


def heard_live(start_ns: int, recording: Path):
    """The messages as a node gets them, for as long as there are any: by ROS's own classes, topic after topic as a transport may deliver
    them, not in the bag's order."""
    stream: FrameStream = FrameStream(CAMERAS, ["arm"], CONTRACT.task.policy.action_hz, CONTRACT.robot.budgets)
    with Bag(recording) as bag:
        heard = [(m.topic, deserialize_message(m.raw, TYPES[m.topic])) for m in bag.messages(TYPES)]
    batches = [heard[start : start + 40] for start in range(0, len(heard), 40)]
    newest: dict[str, int] = {}
    for batch in batches:
        for topic, message in sorted(batch, key=lambda one: one[0], reverse=True):
            stamp_ns = messages.nanoseconds(message.header.stamp)
            if stamp_ns <= newest.get(topic, -1) or stamp_ns < start_ns:
                continue
            newest[topic] = stamp_ns
            if topic == "/joint_states":
                stream.joints(stamp_ns, messages.joint_positions(message))
            elif topic == "/lawam/reference":
                stream.openings(stamp_ns, messages.command_from_message(message, CONTRACT.robot).gripper_m)
            elif topic.startswith("/lawam/reference_pose"):
                stream.pose("arm", stamp_ns, messages.pose_from_message(message))
            else:
                stream.image(topic.split("/")[2], stamp_ns, message)
        yield from stream.ready()


def live_rows(start_ns: int, end_ns: int, recording: Path = BAG) -> tuple[dict, list]:
    """Columns of an episode between two instants, and its frames."""
    rows = EpisodeRows(CONTRACT, chains_of(CONTRACT), end_ns)
    frames = [known for frame in heard_live(start_ns, recording) for known in rows.add(frame)]
    return rows.columns(), frames


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> LeRobotDataset:
    out = tmp_path_factory.mktemp("parity") / "set"
    assert converted(BAG, out, "--lossless")["code"] == 0
    return LeRobotDataset(out)


def test_live_bag_and_dataset_hold_the_same_frames_bit_for_bit(lossless: LeRobotDataset) -> None:
    stored = lossless.rows(0)
    rows, frames = live_rows(int(stored[STAMP][0, 0]), int(stored[STAMP][-1, 0]))
    assert len(frames) > 50
    np.testing.assert_array_equal(stored[STAMP], rows[STAMP])
    np.testing.assert_array_equal(stored[JOINTS], rows[JOINTS])
    for key in (STATE, REFERENCE, ACTION):
        np.testing.assert_array_equal(stored[key], rows[key].astype(np.float32))
    np.testing.assert_array_equal(stored[ACTION][:-1, :7], stored[REFERENCE][1:, :7])
    np.testing.assert_array_equal(stored["frame_index"], np.arange(len(frames)))
    for name in CAMERAS:
        for frame, pixels in zip(frames, lossless.frames_of(0, IMAGE_PREFIX + name), strict=True):
            np.testing.assert_array_equal(image_to_rgb(frame.observation.images[name], CONTRACT.robot.camera(name)), pixels)


def test_wherever_a_recording_is_cut_its_rows_are_those_heard_live(tmp_path: Path) -> None:
    """The recorder is stopped between any two messages: within a period, between images of one instant, while the gripper moves. It gets
    images later than joint states, one camera's later than the other's."""
    latency_ns = {"/camera/front/image_raw/compressed": 45_000_000, "/camera/wrist/image_raw/compressed": 12_000_000}
    for _ in write_recording(tmp_path / "whole", SMALL, seconds=4.0):
        pass
    with Bag(tmp_path / "whole") as bag:
        written = list(bag.messages(TYPES))
    start_ns = written[0].received_ns
    entries = [m._replace(received_ns=m.received_ns + latency_ns.get(m.topic, 0)) for m in written]
    entries.sort(key=lambda m: m.received_ns)
    live, _ = live_rows(start_ns, start_ns + 10**10, tmp_path / "whole")
    opening_s = 2.5, 3.0
    cuts = [index for index, m in enumerate(entries) if (m.received_ns - start_ns) * 1e-9 > opening_s[0] - 0.2][:690:29]
    for cut in cuts:
        folder, cut_s = tmp_path / f"cut{cut}", (entries[cut].received_ns - start_ns) * 1e-9
        with BagWriter(folder) as writer:
            for m in entries[:cut]:
                writer.add_topic(m.topic, m.type)
                writer.write(m.topic, m.received_ns, m.raw)
        rows = rows_of(folder)
        settled_s = opening_s[0] if opening_s[0] < cut_s < opening_s[1] + 0.2 else cut_s
        assert rows.count >= settled_s * HZ - 4
        for key, column in rows.columns().items():
            np.testing.assert_array_equal(column, live[key][: rows.count], err_msg=f"{key} of a recording cut after {cut_s:.3f} s")


def rows_of(recording: Path, span: tuple[int, int] | None = None) -> EpisodeRows:
    """Rows of a recording of ``SMALL``, whole or between two instants."""
    with Bag(recording) as bag:
        streams = bag_streams(bag.topics, SMALL.robot, {})
        run = read_run(bag, streams, SMALL.robot)
        assert run.span_ns is not None
        span = span or run.span_ns
        rows = EpisodeRows(SMALL, chains_of(SMALL), span[1])
        reader = BagFrames(bag, streams, SMALL.robot, run, span, HZ)
        for frame in reader:
            list(rows.add(frame))
            if rows.complete:
                break
        assert reader.problem == ""
    return rows


def test_a_late_demonstration_of_a_long_recording_is_read_without_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in write_recording(tmp_path / "bag", SMALL, seconds=8.0):
        pass
    with Bag(tmp_path / "bag") as bag:
        start_ns = next(bag.messages(TYPES)).received_ns
    span = (start_ns + 5_110_000_000, start_ns + 6_000_000_000)
    messages_of, first_ns = Bag.messages, []

    def watched(bag: Bag, *arguments):
        for number, m in enumerate(messages_of(bag, *arguments)):
            if number == 0:
                first_ns.append(m.received_ns)
            yield m

    monkeypatch.setattr(Bag, "messages", watched)
    rows = rows_of(tmp_path / "bag", span)
    live, _ = live_rows(*span, tmp_path / "bag")
    assert rows.complete and rows.count >= 17
    for key, column in rows.columns().items():
        np.testing.assert_array_equal(column, live[key])
    whole, demonstration, _ = first_ns
    assert whole == start_ns and demonstration > span[0] - 3 * 10**9


def test_ordinary_videos_are_close(lossless: LeRobotDataset, tmp_path: Path) -> None:
    assert converted(BAG, tmp_path / "set")["code"] == 0
    dataset = LeRobotDataset(tmp_path / "set")
    for name in CAMERAS:
        pairs = zip(dataset.frames_of(0, IMAGE_PREFIX + name), lossless.frames_of(0, IMAGE_PREFIX + name), strict=True)
        errors = [np.mean((a.astype(float) - b) ** 2) for a, b in pairs]
        assert 10 * np.log10(255**2 / np.mean(errors)) >= 35.0


def test_a_dataset_becomes_bags_from_which_the_same_dataset_is_made(lossless: LeRobotDataset, tmp_path: Path) -> None:
    call = ["convert", str(lossless.root), "--to", "bag", "--out", str(tmp_path / "bags")]
    assert main(call) == 0
    unfinished = tmp_path / "bags" / "episode_00000"
    (unfinished / "metadata.yaml").unlink()  # as a conversion that was killed leaves it
    assert main(call) == 0
    again = tmp_path / "again"
    assert converted(tmp_path / "bags" / "episode_00000", again, "--lossless", "--task", "franka_pick_place")["code"] == 0
    first, second = lossless.rows(0), LeRobotDataset(again).rows(0)
    for key in (STAMP, JOINTS, STATE):
        np.testing.assert_array_equal(first[key], second[key])


def test_damaged_demonstrations_are_left_out_and_named_and_the_rest_is_converted(tmp_path: Path, capsys) -> None:
    """Two marked demonstrations; in the second one a camera falls silent for a second."""
    with Bag(BAG) as bag, BagWriter(tmp_path / "marked") as writer:
        entries = list(bag.messages({*TYPES, "/lawam/run_info"}))
        for name in {m.topic: m.type for m in entries}.items():
            writer.add_topic(*name)
        writer.add_topic("/lawam/episode", "std_msgs/msg/String")
        text = writer.message_class("std_msgs/msg/String")
        count = len(entries)
        marks = {count // 10: "start", count // 2: "end", count // 2 + 5: "start", count - 5: "end"}
        for index, m in enumerate(entries):
            if index in marks:
                writer.write_message("/lawam/episode", m.received_ns, text(marks[index]))
            silent = count * 6 // 10 < index < count * 9 // 10
            if not (silent and "wrist" in m.topic):
                writer.write(m.topic, m.received_ns, m.raw)
    assert converted(tmp_path / "marked", tmp_path / "set")["code"] == 0
    said = capsys.readouterr().out
    summary = json.loads(said.splitlines()[-1])
    assert summary["episodes"] == 1
    (name, reason) = summary["skipped"][-1]
    assert name == "marked#1" and "camera wrist" in reason
    assert f"left out: {name}: {reason}" in said
    assert converted(tmp_path / "marked", tmp_path / "set")["code"] == 2, "not empty"
    assert converted(tmp_path / "marked", tmp_path / "set", "--resume")["code"] == 0
    assert len(LeRobotDataset(tmp_path / "set")) == 1


class CountedBytes(bytes):
    """An image as received; ``alive`` counts those that anybody holds."""

    alive = most = 0

    def __init__(self, *_: object) -> None:
        CountedBytes.alive += 1
        CountedBytes.most = max(CountedBytes.most, CountedBytes.alive)

    def __del__(self) -> None:
        CountedBytes.alive -= 1


def test_a_conversion_holds_the_images_of_a_moment_and_not_those_of_an_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in write_recording(tmp_path / "bag", SMALL, seconds=12.0):
        pass
    messages_of, decoded, most_decoded = Bag.messages, [], [0]

    def counted_messages(bag: Bag, *arguments):
        for m in messages_of(bag, *arguments):
            yield m._replace(raw=CountedBytes(m.raw)) if "camera" in m.topic else m

    def counted_picture(message, camera):
        rgb = picture(message, camera)
        decoded.append(weakref.ref(rgb))
        most_decoded[0] = max(most_decoded[0], sum(one() is not None for one in decoded))
        return rgb

    monkeypatch.setattr(Bag, "messages", counted_messages)
    monkeypatch.setattr(bag_to_lerobot, "picture", counted_picture)
    small = [f"--set={override}" for override in SMALL_OVERRIDES]
    assert converted(tmp_path / "bag", tmp_path / "set", "--task", "franka_pick_place", *small)["code"] == 0
    assert len(LeRobotDataset(tmp_path / "set").rows(0)[STAMP]) > 230
    assert 2 <= CountedBytes.most <= 40, "of 720: those of the half second in which the gripper moves"
    assert most_decoded[0] <= 2 * (bag_to_lerobot.WAITING_PICTURES + 3)


def test_marks_cut_a_recording() -> None:
    whole = (0, 1000)
    assert marked_spans([(10, "start"), (50, "end"), (60, "start"), (90, "discard"), (95, "start")], whole) == [(10, 50), (95, 1000)]
    assert marked_spans([(10, "start"), (50, "start"), (80, "end"), (85, "end")], whole) == [(10, 50), (50, 80)]


def test_pauses_cut_a_recording() -> None:
    second = 1_000_000_000
    positions, angle = [], 0.0
    for k in range(0, 60):  # 6 s: still, moving for 2 s, still for 2 s, moving
        angle += 0.02 if 10 <= k < 30 or k >= 50 else 0.0
        positions.append((k * second // 10, [angle, 0.0]))
    spans = moving_spans(positions, (0, 6 * second), pause_s=1.0)
    assert [(round(a / second, 1), round(b / second, 1)) for a, b in spans] == [(0.9, 2.9), (4.9, 5.9)]


def test_an_action_names_the_opening_a_gripper_moves_to() -> None:
    openings = np.array([0.08, 0.08, 0.06, 0.04, 0.04, 0.04, 0.06, 0.08])
    np.testing.assert_array_equal(destinations(openings, 40), [0.08, 0.04, 0.04, 0.04, 0.04, 0.08, 0.08, 0.08])
    at_once_back = np.array([0.08, 0.06, 0.04, 0.06, 0.08])
    np.testing.assert_array_equal(destinations(at_once_back, 40), [0.04, 0.04, 0.08, 0.08, 0.08])
    creeping = np.array([0.08, 0.07, 0.06, 0.05, 0.04])
    np.testing.assert_array_equal(destinations(creeping, 2), [0.06, 0.05, 0.04, 0.04, 0.04])

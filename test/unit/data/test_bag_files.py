"""Bags by this package and by other recorders, whole and damaged."""

from pathlib import Path

import bag_files
import numpy as np
import pytest
from bag_files import IMAGE, JOINT_STATE, STRING

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.wire import BadMessage
from lawam_ros.data import cdr_stamp
from lawam_ros.data.bag_reader import Bag, BagMessage, Topic
from lawam_ros.data.bag_streams import bag_streams, find_topic, picture
from lawam_ros.data.bag_writer import BagWriter

MS = 1_000_000
ENTRIES = [
    *(("/joint_states", JOINT_STATE, k * 8 * MS, bag_files.joints(k * 8 * MS - MS, {"a": float(k), "b": -1.0})) for k in range(1, 200)),
    ("/instruction", STRING, 1601 * MS, bag_files.string("fold the towel")),
]


def written(folder: Path, storage: str) -> Path:
    with BagWriter(folder, storage) as writer:
        for topic, type_name, received_ns, raw in ENTRIES:
            writer.add_topic(topic, type_name, latched=topic == "/instruction")
            writer.write(topic, received_ns, raw)
    return folder


@pytest.fixture(params=["mcap", "sqlite3", "file", "old sqlite3", "foreign mcap", "mcap without index", "killed"])
def bag_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param in ("mcap", "sqlite3"):
        return written(tmp_path / "bag", request.param)
    if request.param == "file":
        return written(tmp_path / "bag", "mcap") / "bag.mcap"
    if request.param == "old sqlite3":
        return bag_files.old_sqlite3(tmp_path / "bag", ENTRIES)
    if request.param == "killed":
        (tmp_path / "bag").mkdir()
        return bag_files.foreign_mcap(tmp_path / "bag" / "part.mcap", [*ENTRIES, *ENTRIES[-1:] * 40], finish=False).parent
    return bag_files.foreign_mcap(tmp_path / "other.mcap", ENTRIES, chunked=request.param == "foreign mcap")


def test_every_kind_of_bag_gives_the_same_messages(bag_path: Path) -> None:
    with Bag(bag_path) as bag:
        messages = list(bag.messages())
        joint_states = [bag.decode(m) for m in bag.messages({"/joint_states"})]
        assert bag.topics["/joint_states"].type == JOINT_STATE
        assert bag.is_stamped(JOINT_STATE) and not bag.is_stamped(STRING)
        assert {m.topic for m in bag.messages({"/instruction"})} == {"/instruction"}
        assert bag.decode(next(bag.messages({"/instruction"}))).data == "fold the towel"
    assert [tuple(m) for m in messages[:200]] == ENTRIES
    assert [list(m.position) for m in joint_states] == [[float(k), -1.0] for k in range(1, 200)]


def test_a_bag_cut_off_in_the_middle_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    whole = bag_files.foreign_mcap(tmp_path / "whole.mcap", ENTRIES).read_bytes()
    (tmp_path / "half.mcap").write_bytes(whole[: len(whole) // 2])
    with Bag(tmp_path / "half.mcap") as bag:
        got = [tuple(m) for m in bag.messages()]
        assert 20 < len(got) < len(ENTRIES) and got == ENTRIES[: len(got)]
        assert "no usable index" in bag.problems[0] and f"damaged after {len(got)} messages" in bag.problems[1]


def test_a_damaged_database_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    folder = written(tmp_path / "bag", "sqlite3")
    file = next(folder.glob("*.db3"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    try:
        with Bag(folder) as bag:
            assert len(list(bag.messages())) < len(ENTRIES)
            assert "damaged" in bag.problems[-1]
    except UserMistake as mistake:
        assert "not a readable bag" in str(mistake)


def test_a_bag_whose_metadata_do_not_fit_is_read_by_its_files(tmp_path: Path) -> None:
    folder = written(tmp_path / "bag", "mcap")
    (folder / "bag.mcap").rename(folder / "renamed.mcap")
    with Bag(folder) as bag:
        assert [tuple(m) for m in bag.messages()] == ENTRIES
        assert "read one by one" in bag.problems[0]


@pytest.mark.parametrize("name", ["nowhere", "empty", "text.mcap", "notes.txt"])
def test_what_is_no_bag_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mcap").write_text("this is no bag")
    (tmp_path / "notes.txt").write_text("nor is this")
    with pytest.raises(UserMistake, match=r"expected a bag|not a readable bag"):
        Bag(tmp_path / name)


@pytest.mark.parametrize("size", [0, 3, 11, 30])
def test_a_truncated_message_is_a_bad_message(tmp_path: Path, size: int) -> None:
    with Bag(written(tmp_path / "bag", "mcap")) as bag, pytest.raises(BadMessage, match="bytes are no"):
        bag.decode(BagMessage("/joint_states", JOINT_STATE, 0, ENTRIES[0][3][:size]))
    if size < 12:
        with pytest.raises(BadMessage, match="at least 12 bytes"):
            cdr_stamp.stamp_ns(ENTRIES[0][3][:size])


def test_stamps_are_read_and_replaced_in_place() -> None:
    raw = bag_files.joints(1_234_567_890_123_456_789, {"a": 2.5})
    assert cdr_stamp.stamp_ns(raw) == 1_234_567_890_123_456_789
    assert cdr_stamp.restamped(raw, 42_000_000_001) == bag_files.joints(42_000_000_001, {"a": 2.5})
    big_endian = bytes([0, 0, 0, 0]) + (7).to_bytes(4, "big") + (9).to_bytes(4, "big")
    assert cdr_stamp.stamp_ns(big_endian) == 7_000_000_009
    assert cdr_stamp.stamp_ns(cdr_stamp.restamped(big_endian, 3_000_000_004)) == 3_000_000_004


def test_a_full_disk_leaves_a_readable_bag(tmp_path: Path) -> None:
    """The writer fails in the middle, as on a full disk; what was written before is read."""
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/joint_states", JOINT_STATE)
    with pytest.raises(OSError, match="full"):
        file = writer._writer.storage.bio  # type: ignore[union-attr]
        room = 3 * 2**20

        def write(data: bytes, to=file.write) -> int:
            nonlocal room
            room -= len(data)
            if room < 0:
                raise OSError(28, "disk is full")
            return int(to(data))

        writer._writer.storage.bio = type("Full", (), {"write": staticmethod(write), "tell": file.tell, "close": file.close})()
        for k in range(100_000):
            writer.write("/joint_states", k, ENTRIES[0][3] + bytes(1000))
    with pytest.raises(OSError, match="full"):
        writer.close()
    with Bag(tmp_path / "bag") as bag:
        assert len(list(bag.messages())) > 1000


def topics(*names: str, type_name: str = JOINT_STATE) -> dict[str, Topic]:
    return {name: Topic(name, type_name, 1) for name in names}


def test_topics_are_found_by_name_namespace_and_remapping() -> None:
    plain, spaced = topics("/joint_states", "/other/joint_states"), topics("/cell/left/joint_states")
    assert find_topic(plain, "joint_states", {}) == plain["/joint_states"]
    assert find_topic(spaced, "joint_states", {}) == spaced["/cell/left/joint_states"]
    assert find_topic(plain, "joint_states", {"/other/joint_states": "joint_states", "joint_states": "x"}) == plain["/other/joint_states"]
    assert find_topic(spaced, "states", {}) is None
    with pytest.raises(UserMistake, match="choose with --remap"):
        find_topic(topics("/a/joint_states", "/b/joint_states"), "joint_states", {})


def test_streams_of_a_contract_and_what_is_missing() -> None:
    robot = load_contract("franka_pick_place").robot
    bag = topics("/joint_states") | topics("/camera/front/image_raw/compressed", type_name="sensor_msgs/msg/CompressedImage")
    streams = bag_streams(bag, robot, {})
    assert streams.cameras["front"].name.endswith("/compressed")
    assert streams.missing(robot, ["front", "wrist"]) == ["camera wrist (camera/wrist/image_raw)"]
    named = bag_streams(bag | topics("/hand/colour", type_name=IMAGE), robot, {"/hand/colour": "camera/wrist/image_raw"})
    assert named.missing(robot, ["front", "wrist"]) == []


def test_pictures_come_out_of_messages_as_the_contract_says(tmp_path: Path) -> None:
    camera = load_contract("franka_pick_place", overrides=["robot.cameras.front.rotate_deg=180"]).robot.camera("front")
    pixels = np.arange(240 * 320 * 3, dtype=np.uint32).astype(np.uint8).reshape(240, 320, 3)
    path = bag_files.foreign_mcap(tmp_path / "a.mcap", [("/c", IMAGE, 0, bag_files.image(0, p)) for p in (pixels, pixels[:100])])
    with Bag(path) as bag:
        good, small = (bag.decode(m) for m in bag.messages())
    np.testing.assert_array_equal(picture(good, camera), pixels[::-1, ::-1])
    with pytest.raises(BadMessage, match="camera front: expected 320x240 pixels"):
        picture(small, camera)

"""Golden recordings through the real nodes again: as recorded, the same every time, and a changed policy is noticed."""

from pathlib import Path

import pytest
from damaged_bag import damaged_copy

from lawam_ros.cli.main import main
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.cdr_stamp import restamped, stamp_ns

BAGS = Path(__file__).resolve().parents[1] / "data" / "bags"
RECORDED = ("--policy", "recorded")


def rows(report) -> dict[str, dict]:
    return {row["name"]: row for row in report["rows"]}


def test_a_golden_run_is_as_recorded_bit_for_bit(lawam_replay):
    report = lawam_replay(BAGS / "pick_place", *RECORDED)
    assert report["identical"] and not report["problems"]
    compared, recorded = rows(report)["chunks"]["count"].split(" of ")
    assert compared == recorded and int(recorded) > 3.0 / 0.6 - 1.0, "a look at the start and every 0.6 s of the run's 3 s"


def test_half_the_speed_gives_the_same_commands_and_so_do_stops_and_resets(lawam_replay):
    report = lawam_replay(BAGS / "operator", *RECORDED, "--throttle", "0.5")
    assert report["identical"]
    assert rows(report)["stops"]["count"] == "requested"


def test_recorded_faults_lead_to_the_same_holds_and_stops_and_on_from_them(lawam_replay):
    """A camera is lost until the chunk is used up and comes back; lost joint states latch the arm until the recorded reset."""
    report = lawam_replay(BAGS / "faults", *RECORDED)
    assert report["identical"]
    assert "plan_ended" in rows(report)["holds"]["count"]
    assert rows(report)["stops"]["count"] == "joint_states_lost"
    assert any(problem.startswith("wrist: nothing for") for problem in report["problems"])
    compared, recorded = rows(report)["chunks"]["count"].split(" of ")
    assert compared == recorded and int(recorded) >= 3, "before, between and after the faults"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_three_times_and_at_half_speed_the_commands_have_the_same_hash(lawam_replay):
    hashes = {lawam_replay(BAGS / "drawer", *RECORDED, *more)["command_hash"] for more in ((), (), (), ("--throttle", "0.5"))}
    assert len(hashes) == 1


def test_a_changed_answer_of_the_policy_is_a_regression(lawam_replay):
    """The chunks of another run for the observations of this one."""
    golden, other = BAGS / "pick_place", BAGS / "operator"
    report = lawam_replay(golden, "--checkpoint", f"recorded:{other}", may_differ=True)
    assert report["regression"]
    assert not rows(report)["chunks, position"]["good"] or not rows(report)["chunks"]["good"]
    assert "REGRESSION" in report["text"] and "MISSED" in report["text"]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_in_real_time_chunks_are_as_recorded(lawam_replay):
    for last in (False, False, True):  # on a busy machine a frame or a joint state may come late once; a fault is there each time
        report = lawam_replay(BAGS / "pick_place", *RECORDED, "--rate", "1", may_differ=not last)
        if not report["regression"]:
            break
    assert report["mode"] == "real time, rate 1"
    assert rows(report)["chunks, position"]["worst"] == 0.0
    assert rows(report)["commands"]["worst"] < rows(report)["commands"]["allowed"]


def test_a_bag_of_another_recorder_replays_as_sqlite3_under_other_names(lawam_replay, tmp_path):
    """What only this package records is not there: nothing is compared, everything is driven; its cameras expose one after the other."""
    names = {
        "/joint_states": "/robot/joint_states",
        "/camera/front/image_raw/compressed": "/base_cam/color/compressed",
        "/camera/wrist/image_raw/compressed": "/hand_cam/color/compressed",
    }
    with Bag(BAGS / "pick_place") as bag, BagWriter(tmp_path / "foreign", "sqlite3") as writer:
        for name, new in names.items():
            writer.add_topic(new, bag.topics[name].type)
        for message in bag.messages(names):
            earlier_ns = 20_000_000 * ("wrist" in message.topic)
            writer.write(names[message.topic], message.received_ns, restamped(message.raw, stamp_ns(message.raw) - earlier_ns))
    remap = [f"--remap={new}:={old.strip('/')}" for old, new in names.items() if "camera" in old]
    report = lawam_replay(tmp_path / "foreign", "--task", "franka_pick_place", "--checkpoint", "hold", *remap)
    assert report["episodes"] == 1 and len(report["command_hash"]) == 32
    assert "inference, replayed" in rows(report), "time did not wait for chunks of other instants, and there were some"
    assert "the recording has no chunks: nothing to compare them with" in report["notes"]
    assert "chunks start from the new commands" in report["notes"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_with_jumps_in_time_and_damaged_messages_ends_in_a_report_that_names_them(lawam_replay, tmp_path, storage):
    bag = damaged_copy(BAGS / "pick_place", tmp_path / "damaged", storage)
    report = lawam_replay(bag, "--task", "franka_pick_place", "--checkpoint", "hold")
    assert report["episodes"] == 2, "before and behind the jump"
    assert len(report["command_hash"].split("-")) == 2 and rows(report)["stops"]["count"] == "none"
    for problem in ("camera wrist: time goes back by 30.0 s", "joint states: 1 damaged", "2 messages that do not decode"):
        assert any(told.startswith(problem) for told in report["problems"]), problem


def test_a_bag_without_a_camera_is_refused_and_told_what_it_has(capsys, tmp_path):
    with Bag(BAGS / "pick_place") as bag, BagWriter(tmp_path / "half") as writer:
        for message in bag.messages(["/joint_states", "/camera/front/image_raw/compressed"]):
            writer.add_topic(message.topic, message.type)
            writer.write(message.topic, message.received_ns, message.raw)
    assert main(["replay", str(tmp_path / "half"), "--task", "franka_pick_place", "--checkpoint", "hold"]) == 2
    said = capsys.readouterr().err
    assert "the bag has no camera wrist (camera/wrist/image_raw); it has /camera/front/image_raw/compressed, /joint_states" in said


def test_a_recording_that_lost_images_and_joint_states_ends_in_a_report_that_names_them(lawam_replay, tmp_path):
    """Lock step does not wait for what cannot come, and the executor stops as it would at the robot."""
    lost_s = {"/camera/wrist/image_raw/compressed": (0.8, 1.3), "/joint_states": (1.5, 1.9)}
    with Bag(BAGS / "pick_place") as bag, BagWriter(tmp_path / "lost") as writer:
        for topic in bag.topics.values():
            writer.add_topic(topic.name, topic.type)
        first_ns = min(stamp_ns(message.raw) for message in bag.messages({"/joint_states"}))
        for message in bag.messages():
            after_s, until_s = lost_s.get(message.topic, (0.0, 0.0))
            if message.topic not in lost_s or not after_s < (stamp_ns(message.raw) - first_ns) * 1e-9 < until_s:
                writer.write(message.topic, message.received_ns, message.raw)
    report = lawam_replay(tmp_path / "lost", *RECORDED, may_differ=True)
    assert report["regression"] and rows(report)["stops"]["count"] == "expected none; got joint_states_lost"
    assert [problem.split(":")[0] for problem in report["problems"]] == ["wrist", "joint_states"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["/nowhere"], "expected a bag"),
        ([str(BAGS / "pick_place"), "--rate", "fast"], "--rate: expected lockstep or a number"),
        ([str(BAGS / "pick_place"), "--policy", "remote"], "--policy remote: expected the address"),
        ([str(BAGS / "pick_place"), "--remap", "/a"], "THEIRS:=OURS"),
        ([str(BAGS / "pick_place"), "--throttle", "0"], "--throttle: expected a share"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, sentence):
    assert main(["replay", *arguments]) == 2
    assert sentence in capsys.readouterr().err

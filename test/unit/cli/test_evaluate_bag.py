"""``lawam eval --bag``: what a policy is shown and held against, recordings of other software, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damaged_bag import damaged_copy

from lawam_ros.cli import evaluate_bag
from lawam_ros.cli.frame_rows import STAMP
from lawam_ros.cli.main import main
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.data.bag_reader import Bag
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.cdr_stamp import restamped, stamp_ns
from lawam_ros.data.episode_schema import ACTION, IMAGE_PREFIX, STATE
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.policies.interface import Inference, Targets

BAG = Path(__file__).resolve().parents[2] / "data" / "bags" / "drawer"
INPUTS = {name: name for name in ("/joint_states", "/camera/front/image_raw/compressed", "/camera/wrist/image_raw/compressed")}
STEPS, HZ = 24, 20.0
Lost = Callable[[str, float], bool]


class Prophet:
    """Knows the dataset made of the recording, and answers with what it says came next."""

    description = "prophet"

    def __init__(self, dataset: LeRobotDataset) -> None:
        self.rows, self.seen = dataset.rows(0), {}
        self._frame = {int(stamp): index for index, stamp in enumerate(self.rows[STAMP][:, 0])}

    def warm_up(self):
        pass

    def look(self, observation, seed, committed=None):
        frame = self._frame[observation.stamp_ns]
        self.seen[frame] = observation
        return Inference(actions=self.rows[ACTION][frame : frame + STEPS].astype(float))

    def place(self, inference, reference):
        names = tuple(f"arm/{part}" for part in CARTESIAN_COMPONENTS)
        return Targets(names, inference.actions, (np.arange(STEPS) + 1) / HZ)


def evaluated(capsys, out: Path, *arguments: str, bag: Path = BAG) -> dict:
    code = main(["eval", "--bag", str(bag), "--out", str(out), "--device", "cpu", "--json", *arguments])
    printed = capsys.readouterr()
    return {"code": code, "err": printed.err, "out": printed.out} | (json.loads(printed.out.splitlines()[-1]) if code < 2 else {})


def copied(out: Path, names: dict[str, str], lost: Lost = lambda topic, time_s: False, source: Path = BAG) -> Path:
    """Some topics of a recording under other names, as sqlite3, but for what is lost: by topic and stamp in s after the first."""
    with Bag(source) as bag, BagWriter(out, "sqlite3") as writer:
        for name, new in names.items():
            writer.add_topic(new, bag.topics[name].type)
        first_ns = stamp_ns(next(bag.messages(names)).raw)
        for message in bag.messages(names):
            if not lost(message.topic, (stamp_ns(message.raw) - first_ns) * 1e-9):
                writer.write(names[message.topic], message.received_ns, message.raw)
    return out


def test_a_policy_is_shown_the_frames_of_the_dataset_and_held_against_its_actions(capsys, tmp_path, monkeypatch):
    assert main(["convert", str(BAG), "--to", "lerobot-v3", "--out", str(tmp_path / "set"), "--lossless"]) == 0
    dataset = LeRobotDataset(tmp_path / "set")
    prophet = Prophet(dataset)
    monkeypatch.setattr(evaluate_bag, "choose_policy", lambda *_: prophet)
    report = evaluated(capsys, tmp_path, "--stride", "4", "--require", "0.99")
    assert report["code"] == 0 and report["truth"] == "recorded commands" and report["chunks"] >= 5
    errors = np.array([row["error"] for row in report["components"]])
    assert errors[:, 1::2].max() < 2e-6, "every second frame is a whole number of steps away, and the dataset holds single precision"
    fastest_m_s = np.abs(np.diff(prophet.rows[ACTION][:, :3], axis=0)).max() * HZ
    assert errors.max() < 0.017 * fastest_m_s, "the others are taken from images up to 17 ms off, chunks are judged at their own instants"
    assert list(prophet.seen) == list(range(0, len(prophet.rows[STAMP]), 4))
    assert all(observation.instruction == dataset.episodes[0].task for observation in prophet.seen.values())
    pictures = list(dataset.frames_of(0, IMAGE_PREFIX + "front"))
    for frame, observation in prophet.seen.items():
        np.testing.assert_array_equal(observation.images["front"], pictures[frame])
        np.testing.assert_allclose(observation.tcp["arm"].position_m, prophet.rows[STATE][frame][:3], atol=1e-6)


def test_the_shipped_policy_gives_figures_plots_and_the_same_again(capsys, tmp_path):
    report = evaluated(capsys, tmp_path, "--stride", "12")
    assert report["code"] == 0 and report["checkpoint"] == "tiny_franka" and report["problems"] == []
    assert len(report["time_from_start_s"]) == STEPS and report["time_from_start_s"][0] == 1 / HZ
    assert all(len(row["error"]) == len(row["staying"]) == STEPS for row in report["components"])
    assert {row["name"]: row["unit"] for row in report["components"]}["arm/rz"] == "rad"
    assert all(Path(plot).read_bytes().startswith(b"\x89PNG") for plot in report["plots"]) and len(report["plots"]) == 2
    assert "staying" in report["out"] and "at 1.20 s" in report["out"]
    again = evaluated(capsys, tmp_path, "--stride", "12")
    assert again["components"] == report["components"]


def test_who_stays_is_not_better_than_staying(capsys, tmp_path):
    report = evaluated(capsys, tmp_path, "--checkpoint", "hold")
    assert report["position_better"] == 0.0 and report["code"] == 0
    assert evaluated(capsys, tmp_path, "--checkpoint", "hold", "--require", "0.1")["code"] == 1


def test_an_arm_that_stands_gives_no_figure_and_says_why(capsys, tmp_path):
    first = {}

    def standing(message):
        return restamped(first.setdefault(message.topic, message.raw), stamp_ns(message.raw)) if "joint" in message.topic else message.raw

    with Bag(BAG) as bag, BagWriter(tmp_path / "still") as writer:
        for message in bag.messages(INPUTS):
            writer.add_topic(message.topic, message.type)
            writer.write(message.topic, message.received_ns, standing(message))
    arguments = ("--task", "franka_drawer", "--checkpoint", "hold")
    report = evaluated(capsys, tmp_path, *arguments, "--require", "0.1", bag=tmp_path / "still")
    assert report["code"] == 1 and report["position_better"] is None
    (problem,) = report["problems"]
    assert "move by 0.00 mm on average within a chunk, expected at least 1 mm" in problem and problem in report["out"]
    assert evaluated(capsys, tmp_path, *arguments, bag=tmp_path / "still")["code"] == 0


def test_a_bag_of_another_recorder_is_held_against_what_the_arm_did(capsys, tmp_path):
    names = {
        "/joint_states": "/robot/joint_states",
        "/camera/front/image_raw/compressed": "/base_cam/color/compressed",
        "/camera/wrist/image_raw/compressed": "/hand_cam/color/compressed",
    }
    bag = copied(tmp_path / "foreign", names)
    remap = [f"--remap={new}:={old.strip('/')}" for old, new in names.items() if "camera" in old]
    arguments = ("--task", "franka_drawer", "--checkpoint", "hold", *remap)
    report = evaluated(capsys, tmp_path, *arguments, bag=bag)
    assert report["code"] == 0 and report["truth"] == "measured motion"
    moved = {row["name"]: row["staying_mean"] for row in report["components"]}
    assert moved["arm/position"] > 0.01 and report["position_better"] == 0.0
    missing = evaluated(capsys, tmp_path, *arguments[:-1], bag=bag)
    assert missing["code"] == 2 and "expected camera wrist" in missing["err"] and "--remap" in missing["err"]


def test_a_recording_cut_off_is_used_as_far_as_it_goes(capsys, tmp_path):
    shutil.copytree(BAG, tmp_path / "cut")
    (tmp_path / "cut" / "metadata.yaml").unlink()
    file = next((tmp_path / "cut").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: round(0.9 * file.stat().st_size)])
    report = evaluated(capsys, tmp_path, "--checkpoint", "hold", bag=tmp_path / "cut")
    assert report["code"] == 0 and report["chunks"] >= 1
    assert any("no usable index" in problem for problem in report["problems"])


def test_behind_a_gap_of_a_camera_it_goes_on(capsys, tmp_path):
    source = BAG.with_name("pick_place")
    bag = copied(tmp_path / "gap", INPUTS, lambda topic, time_s: "wrist" in topic and 0.5 < time_s < 1.3, source)
    broken = evaluated(capsys, tmp_path, "--task", "franka_pick_place", "--checkpoint", "hold", "--stride", "1", bag=bag)
    assert broken["code"] == 0 and 7 < broken["chunks"] < 20, "of 1.8 s, less 1.2 s for the last chunk and what tells the last actions"
    assert len(broken["problems"]) == 1 and "camera wrist" in broken["problems"][0]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_jumps_in_time_and_damaged_messages_are_left_out_and_named(capsys, tmp_path, storage):
    bag = damaged_copy(BAG.with_name("pick_place"), tmp_path / "damaged", storage)
    report = evaluated(capsys, tmp_path, "--task", "franka_pick_place", "--checkpoint", "hold", bag=bag)
    assert report["code"] == 0 and report["chunks"] >= 1 and all(np.isfinite(row["error"]).all() for row in report["components"])
    for problem in ("camera wrist: time goes back by 30.0 s", "joint states: 1 damaged", "1.68 s after its first image"):
        assert any(told.startswith(problem) for told in report["problems"]), problem


def test_a_recording_shorter_than_a_chunk_is_refused(capsys, tmp_path):
    bag = copied(tmp_path / "short", INPUTS, lambda _, time_s: time_s > 0.8)
    report = evaluated(capsys, tmp_path, "--task", "franka_drawer", "--checkpoint", "hold", bag=bag)
    assert report["code"] == 2 and "expected at least 1.25 s" in report["err"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bag", "/nowhere"], "expected a bag"),
        (["--bag", str(BAG), "--episodes", "3", "--no-rtc"], "nothing is simulated; leave out --episodes, --no-rtc"),
        (["--bag", str(BAG), "--stride", "0"], "--stride: expected at least 1, got 0"),
        (["--bag", str(BAG), "--checkpoint", f"recorded:{BAG}"], "name a policy with --checkpoint"),
        (["--bag", str(BAG), "--checkpoint", "nowhere/at/all"], "no checkpoint 'nowhere/at/all'"),
        (["--remap", "/a:=/b"], "--remap: expected a recording, got none; name it with --bag"),
        (["--stride", "2"], "--stride: expected a recording, got none; name it with --bag"),
        (["--bag", str(BAG), "--clock", "steady"], "nothing is simulated; leave out --clock"),
        (["--through", "direct", "--clock", "steady", "--domain", "7"], "leave out --clock, --domain, or use --through ros"),
        (["--through", "direct", "--record", "bags/x"], "leave out --record, or use --through ros"),
        (["--clock", "steady", "--latency-ms", "50"], "leave out --latency-ms, or add to it with --delay-ms"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, sentence):
    assert main(["eval", *arguments]) == 2
    assert sentence in capsys.readouterr().err

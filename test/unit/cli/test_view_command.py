"""``lawam view`` on a small recording, made here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lawam_ros.cli.main import main
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.wire import RESERVED
from lawam_ros.data.bag_writer import BagWriter
from lawam_ros.data.video import read_frames

CONTRACT = load_contract("franka_pick_place")
ROBOT = CONTRACT.robot
TYPES = {
    "camera/front/image_raw": "sensor_msgs/msg/Image",
    "camera/front/camera_info": "sensor_msgs/msg/CameraInfo",
    "joint_states": "sensor_msgs/msg/JointState",
    "lawam/action_chunk": "trajectory_msgs/msg/JointTrajectory",
    "lawam/reference": "trajectory_msgs/msg/JointTrajectory",
    "lawam/status": "diagnostic_msgs/msg/DiagnosticArray",
    "lawam/subgoal/current": "sensor_msgs/msg/Image",
    "lawam/subgoal/predicted": "sensor_msgs/msg/Image",
    "lawam/run_info": "std_msgs/msg/String",
}
SECONDS = 2.0
PERIOD_S = 0.1
HOME = dict(zip(ROBOT.joint_names, ROBOT.arms[0].home_rad.tolist(), strict=True)) | dict.fromkeys(ROBOT.arms[0].gripper.joints, 0.04)
FEATURES = np.random.default_rng(0).normal(size=(2, 16, 8)).astype(np.float32)


class Recording:
    """Writes messages of the types above."""

    def __init__(self, writer: BagWriter) -> None:
        self._writer = writer

    def new(self, type_name: str, **values: Any) -> Any:
        return self._writer.message_class(type_name)(**values)

    def header(self, stamp_s: float, frame: str = "") -> Any:
        stamp_ns = round(stamp_s * 1e9)
        stamp = self.new("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self.new("std_msgs/msg/Header", stamp=stamp, frame_id=frame)

    def write(self, topic: str, stamp_s: float, message: Any) -> None:
        self._writer.add_topic(f"/{topic}", TYPES[topic])
        self._writer.write_message(f"/{topic}", round(stamp_s * 1e9), message)

    def image(self, topic: str, stamp_s: float, data: np.ndarray, encoding: str, frame: str = "front") -> None:
        height, width = data.shape[:2]
        content = np.frombuffer(data.tobytes(), np.uint8)
        step = len(content) // height
        message = self.new(TYPES[topic], header=self.header(stamp_s, frame), height=height, width=width, encoding=encoding,
                           is_bigendian=0, step=step, data=content)  # fmt: skip
        self.write(topic, stamp_s, message)

    def info(self, stamp_s: float) -> None:
        region = self.new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        k = np.array([300.0, 0, 160, 0, 300, 120, 0, 0, 1])
        message = self.new("sensor_msgs/msg/CameraInfo", header=self.header(stamp_s), height=240, width=320, distortion_model="plumb_bob",
                           d=np.zeros(5), k=k, r=np.eye(3).reshape(-1), p=np.zeros(12), binning_x=0, binning_y=0, roi=region)  # fmt: skip
        self.write("camera/front/camera_info", stamp_s, message)

    def joints(self, stamp_s: float) -> None:
        values = np.array(list(HOME.values()))
        message = self.new("sensor_msgs/msg/JointState", header=self.header(stamp_s), name=list(HOME), position=values,
                           velocity=np.zeros(0), effort=np.zeros(0))  # fmt: skip
        self.write("joint_states", stamp_s, message)

    def trajectory(self, topic: str, stamp_s: float, names: list[str], rows: np.ndarray, step_s: float, rates: bool = False) -> None:
        def point(index: int, row: np.ndarray) -> Any:
            ahead_ns = round((index + 1) * step_s * 1e9)
            duration = self.new("builtin_interfaces/msg/Duration", sec=ahead_ns // 10**9, nanosec=ahead_ns % 10**9)
            rate = np.zeros(len(row) if rates else 0)
            return self.new("trajectory_msgs/msg/JointTrajectoryPoint", positions=row, velocities=rate, accelerations=rate,
                            effort=np.zeros(0), time_from_start=duration)  # fmt: skip

        points = [point(index, row) for index, row in enumerate(rows)]
        self.write(topic, stamp_s, self.new(TYPES[topic], header=self.header(stamp_s), joint_names=names, points=points))

    def status(self, stamp_s: float, **values: object) -> None:
        numbers = ("hold_since", "epoch_stamp", "judged_stamp", "accepted_sequence", "rejected")
        known = dict.fromkeys(numbers, 0) | dict.fromkeys(("reason", "initialised_from", "rejected_reason"), "") | {"epoch": 1}
        pairs = [self.new("diagnostic_msgs/msg/KeyValue", key=key, value=str(value)) for key, value in (known | values).items()]
        entry = self.new("diagnostic_msgs/msg/DiagnosticStatus", level=0, name="lawam/status", message="", hardware_id="", values=pairs)
        self.write("lawam/status", stamp_s, self.new(TYPES["lawam/status"], header=self.header(stamp_s), status=[entry]))


def record(folder: Path, run_info: str = '{"task": "franka_pick_place", "seed": 7}') -> Path:
    """Two seconds: a hold, then chunks 1 and 2."""
    with BagWriter(folder) as writer:
        one = Recording(writer)
        one.write("lawam/run_info", 0.1, one.new("std_msgs/msg/String", data=run_info))
        names = [f"arm/{axis}" for axis in ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper")] + list(RESERVED)
        for stamp_s in np.arange(0.1, SECONDS, PERIOD_S).round(3).tolist():
            state = {"state": "HOLD", "reason": "waiting_for_chunk"} if stamp_s < 0.5 else {"state": "RUN"}
            accepted = 0 if stamp_s < 0.5 else 1 if stamp_s < 1.0 else 2
            one.status(stamp_s, **state, accepted_sequence=accepted, instruction="put <it> there")
            one.joints(stamp_s)
            one.info(stamp_s)
            one.image("camera/front/image_raw", stamp_s, np.full((240, 320, 3), 100, np.uint8), "rgb8")
            reference = np.array([[*ROBOT.arms[0].home_rad, 0.08]])
            one.trajectory("lawam/reference", stamp_s, [*ROBOT.joint_names, "arm/gripper"], reference, 0.0, rates=True)
        for sequence, stamp_s, y_m in ((1, 0.4, 0.0), (2, 0.9, 0.01)):
            rows = np.array([[0.4 + 0.01 * i, y_m, 0.2, 1.0, 0.0, 0.0, 0.0, 0.08, sequence, 1, 0, 0] for i in range(24)])
            one.trajectory("lawam/action_chunk", stamp_s, names, rows, 0.05)
            for half, table in zip(("current", "predicted"), FEATURES, strict=True):
                one.image(f"lawam/subgoal/{half}", stamp_s, table, "32FC1")
    return folder


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("bags") / "run_7")


def test_a_recording_becomes_a_page_and_a_film(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(bag)]) == 0
    page, film = bag.with_name("run_7_view") / "index.html", bag.with_name("run_7_view") / "run.mp4"
    assert capsys.readouterr().out.split() == [str(page), str(film)]
    text = page.read_text(encoding="utf-8")
    assert "<td>2, 2 used, 0 rejected</td>" in text and "median 100.0 ms" in text and "waiting_for_chunk" in text
    assert "<th>seed</th><td>7</td>" in text and text.count("data:image/png;base64") == 3
    # At the seam, 0.1 s into chunk 2 and 0.6 s into chunk 1: 0.1 m in x, 0.01 m in y.
    assert f"median {1e3 * np.hypot(0.1, 0.01):.1f} mm" in text
    frames = list(read_frames(film, 0.0, 18, 10.0))
    assert frames[0].shape == (506, 640, 3)
    first, last = frames[0][:240, :320].astype(int), frames[-1][:240, :320].astype(int)
    assert (np.abs(first - 100).max(axis=2) > 60).sum() < (np.abs(last - 100).max(axis=2) > 60).sum() - 100, "the path of the chunk"


def test_plots_alone(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(bag), "--out", str(tmp_path / "new" / "page"), "--no-video"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "page" / "index.html")
    assert sorted(path.name for path in (tmp_path / "new" / "page").iterdir()) == ["index.html"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--fps", "0"], "--fps: expected 1 to 60, got 0"), (["--remap", "x"], "THEIRS:=OURS"), (["--task", "make_coffee"], "unknown task")],
)
def test_mistakes_are_one_sentence(bag: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["view", str(bag), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_no_bag_and_a_bag_of_no_known_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path)]) == 2
    assert "expected a bag" in capsys.readouterr().err
    foreign = record(tmp_path / "foreign", run_info="{}")
    assert main(["view", str(foreign)]) == 2
    assert "--task" in capsys.readouterr().err
    assert main(["view", str(foreign), "--task", "franka_pick_place", "--no-video"]) == 0

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.data.lerobot_layout import Schema, VectorFeature, VideoFeature
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.data.lerobot_writer import LeRobotWriter, RecordedEpisode
from lawam_ros.data.statistics import PictureSums
from lawam_ros.data.video import VideoWriter

FPS, HEIGHT, WIDTH = 20, 48, 64
CAMERA = "observation.images.front"
SCHEMA = Schema(
    "robot", FPS, (VectorFeature("observation.state", ("a", "b")), VectorFeature("action", ("c",))), (VideoFeature(CAMERA, HEIGHT, WIDTH),)
)
MODALITY = {"state": {"a": {"start": 0, "end": 1}}}
RECIPE = {"task": "t", "noise": "none"}


def grey_level(episode: int, frame: int) -> int:
    return 20 + 60 * episode + 4 * frame


def recorded(writer: LeRobotWriter, number: int, length: int, task: str = "do it") -> RecordedEpisode:
    path, sums = writer.staging_dir / f"{number}.mp4", PictureSums()
    with VideoWriter(path, FPS, HEIGHT, WIDTH) as video:
        for frame in range(length):
            picture = np.full((HEIGHT, WIDTH, 3), grey_level(number, frame), dtype=np.uint8)
            video.write(picture)
            sums.add(picture)
    vectors = {
        "observation.state": np.arange(2.0 * length).reshape(length, 2) + 100 * number,
        "action": np.full((length, 1), float(number)),
    }
    return RecordedEpisode(number + 7, task, vectors, {CAMERA: path}, {CAMERA: sums.as_mapping()}, {"start": "home"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = LeRobotWriter(tmp_path / "set", SCHEMA, MODALITY, RECIPE)
    writer.add(recorded(writer, 0, 6))
    writer.add(recorded(writer, 1, 9, "do something else"))
    writer.close()
    return tmp_path / "set"


def test_rows_come_back_in_order(folder: Path) -> None:
    dataset = LeRobotDataset(folder)
    assert [episode.length for episode in dataset.episodes] == [6, 9]
    assert dataset.tasks == ["do it", "do something else"]
    assert dataset.episodes[1].task == "do something else"
    np.testing.assert_array_equal(dataset.column("observation.state")[6:], np.arange(18.0).reshape(9, 2) + 100)
    rows = dataset.rows(1)
    np.testing.assert_array_equal(rows["index"], np.arange(6, 15))
    np.testing.assert_allclose(rows["timestamp"], np.arange(9) / FPS)
    np.testing.assert_array_equal(rows["task_index"], np.ones(9))


def test_frames_are_the_ones_asked_for(folder: Path) -> None:
    dataset = LeRobotDataset(folder)
    levels = [frame.mean() for frame in dataset.frames_of(1, CAMERA)]
    np.testing.assert_allclose(levels, [grey_level(1, k) for k in range(9)], atol=1.5)
    picked = [frame.mean() for frame in dataset.frames_at(0, CAMERA, [5, 0, 3])]
    np.testing.assert_allclose(picked, [grey_level(0, k) for k in (5, 0, 3)], atol=1.5)


def test_statistics_equal_those_of_all_rows_and_pictures(folder: Path) -> None:
    stats = LeRobotDataset(folder).stats()
    state = np.concatenate([np.arange(12.0).reshape(6, 2), np.arange(18.0).reshape(9, 2) + 100])
    np.testing.assert_allclose(stats["observation.state"]["mean"], state.mean(0))
    np.testing.assert_allclose(stats["observation.state"]["q99"], np.quantile(state, 0.99, axis=0))
    levels = np.array([grey_level(0, k) for k in range(6)] + [grey_level(1, k) for k in range(9)]) / 255
    np.testing.assert_allclose(np.ravel(stats[CAMERA]["mean"]), levels.mean(), rtol=1e-4)
    np.testing.assert_allclose(np.ravel(stats[CAMERA]["std"]), levels.std(), rtol=1e-3)
    assert np.shape(stats[CAMERA]["max"]) == (3, 1, 1)


def test_info_names_every_column_of_the_data_files(folder: Path) -> None:
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["total_frames"] == 15 and info["fps"] == FPS
    stored = pq.read_schema(folder / "data/chunk-000/file-000.parquet").names
    assert set(stored) | {CAMERA} == set(info["features"])
    assert json.loads((folder / "meta/modality.json").read_text()) == MODALITY


def test_a_full_folder_is_refused_and_resume_goes_on(folder: Path) -> None:
    with pytest.raises(UserMistake, match="not empty"):
        LeRobotWriter(folder, SCHEMA, MODALITY, RECIPE)
    with pytest.raises(UserMistake, match="another recipe"):
        LeRobotWriter(folder, SCHEMA, MODALITY, {"task": "other"}, resume=True)
    writer = LeRobotWriter(folder, SCHEMA, MODALITY, RECIPE, resume=True)
    assert writer.seeds == {7, 8}
    writer.add(recorded(writer, 2, 4))
    writer.close()
    dataset = LeRobotDataset(folder)
    assert [episode.length for episode in dataset.episodes] == [6, 9, 4]
    assert dataset.rows(2)["index"].tolist() == [15, 16, 17, 18]
    assert dataset.episodes[2].task == "do it"


def test_an_interrupted_episode_stays_invisible(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LeRobotWriter(folder, SCHEMA, MODALITY, RECIPE, resume=True)
    episode = recorded(writer, 2, 4)
    monkeypatch.setattr(writer, "_episode_row", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        writer.add(episode)
    assert len(LeRobotDataset(folder)) == 2
    again = LeRobotWriter(folder, SCHEMA, MODALITY, RECIPE, resume=True)
    again.add(recorded(again, 3, 5))
    assert [entry.length for entry in LeRobotDataset(folder).episodes] == [6, 9, 5]
    np.testing.assert_array_equal(LeRobotDataset(folder).rows(2)["action"], np.full((5, 1), 3.0))


def test_columns_that_do_not_fit_are_refused(folder: Path) -> None:
    writer = LeRobotWriter(folder, SCHEMA, MODALITY, RECIPE, resume=True)
    episode = recorded(writer, 2, 4)
    episode.vectors["action"] = np.zeros((3, 1))
    with pytest.raises(ValueError, match="one length"):
        writer.add(episode)
    episode.vectors["action"] = np.full((4, 1), np.nan)
    with pytest.raises(ValueError, match="finite"):
        writer.add(episode)


def test_several_episodes_in_one_file_are_told_apart(folder: Path) -> None:
    """The layout LeRobot itself writes: episodes share data and video files."""
    data, video = folder / "data/chunk-000", folder / f"videos/{CAMERA}/chunk-000"
    merged = pa.concat_tables([pq.read_table(data / "file-000.parquet"), pq.read_table(data / "file-001.parquet")])
    pq.write_table(merged, data / "file-000.parquet")
    (data / "file-001.parquet").unlink()
    with VideoWriter(video / "both.mp4", FPS, HEIGHT, WIDTH) as writer:
        for episode, length in ((0, 6), (1, 9)):
            for frame in range(length):
                writer.write(np.full((HEIGHT, WIDTH, 3), grey_level(episode, frame), dtype=np.uint8))
    (video / "both.mp4").replace(video / "file-000.mp4")
    table = folder / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(table).to_pylist()
    rows[1].update({"data/file_index": 0, f"videos/{CAMERA}/file_index": 0, f"videos/{CAMERA}/from_timestamp": 6 / FPS})
    pq.write_table(pa.Table.from_pylist(rows), table)
    dataset = LeRobotDataset(folder)
    assert dataset.rows(1)["index"].tolist() == list(range(6, 15))
    levels = [frame.mean() for frame in dataset.frames_of(1, CAMERA)]
    np.testing.assert_allclose(levels, [grey_level(1, k) for k in range(9)], atol=1.5)
    np.testing.assert_allclose(dataset.frames_at(1, CAMERA, [8])[0].mean(), grey_level(1, 8), atol=1.5)


def test_damage_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="data make"):
        LeRobotDataset(tmp_path / "nothing")
    (folder / f"videos/{CAMERA}/chunk-000/file-001.mp4").write_bytes(b"not a video")
    with pytest.raises(UserMistake, match="expected a video"):
        list(LeRobotDataset(folder).frames_of(1, CAMERA))
    with pytest.raises(UserMistake, match="no camera"):
        LeRobotDataset(folder).frames_of(0, "observation.images.rear")
    with pytest.raises(UserMistake, match="no column"):
        LeRobotDataset(folder).rows(0, ["observation.force"])
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps({**info, "data_path": "../../{chunk_index}{file_index}"}))
    with pytest.raises(UserMistake, match="leads out"):
        LeRobotDataset(folder).rows(0)
    (folder / "meta/info.json").write_text(json.dumps({**info, "codebase_version": "v2.1"}))
    with pytest.raises(UserMistake, match="version v3"):
        LeRobotDataset(folder)

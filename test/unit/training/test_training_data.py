"""Columns of any dataset to what a model is trained on: chunks at every rate, normalisation, mixtures, what a folder says about itself."""

import shutil

import numpy as np
import pytest
import torch
import yaml
from toy_training import FRONT, WRIST, one_thread, write_dataset, write_model

from lawam_ros.contract.errors import UserMistake
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.model.config import load_model_config
from lawam_ros.model.image_preparation import prepare_image
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.training.batches import draw_picks, policy_batch, world_model_batch
from lawam_ros.training.data_spec import SPEC_FILE, ColumnPart, data_spec
from lawam_ros.training.recordings import (
    Window,
    data_hash,
    decoded_pictures,
    make_source,
    open_recording,
    statistics_of,
    validation_split,
    window_rows,
)
from lawam_ros.training.sources import Source
from lawam_ros.training.vectors import merged_statistics, normalised


@pytest.fixture(autouse=True, scope="module")
def threads():
    one_thread()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_dataset(root / "slow", fps=10)
    write_dataset(root / "fast", fps=20, lengths=(9, 10), state=2, action=6, cameras=(FRONT,), robot="agilex")
    write_dataset(root / "human", fps=10, lengths=(6, 5), state=0, action=0, cameras=(FRONT,), robot="human")
    write_model(root / "model.yaml")
    return root


@pytest.fixture(scope="module")
def config(folder):
    return load_model_config(folder / "model.yaml")


def source_of(recording, config, window: Window | None = None) -> Source:
    statistics = statistics_of([recording])[recording.spec.embodiment_tag]
    starts, future = window_rows(recording, window or Window())
    return make_source(recording, statistics, decoded_pictures(recording, config), starts, future)


def with_spec(folder, name, tmp_path, content):
    copy = shutil.copytree(folder / name, tmp_path / name)
    (copy / SPEC_FILE).write_text(yaml.safe_dump(content))
    return copy


def test_chunks_cover_the_same_seconds_at_every_rate(folder, config):
    slow, fast = (source_of(open_recording(folder / name, config), config) for name in ("slow", "fast"))
    assert slow.actions.shape[1:] == (4, 4) and fast.actions.shape[1:] == (8, 6)
    # The future frame is one step short of the chunk, clamped to the episode (7 and 6 frames).
    assert slow.future.tolist() == [3, 4, 5, 6, 6, 6, 6, 10, 11, 12, 12, 12, 12]
    assert fast.future[:9].tolist() == [7, 8, 8, 8, 8, 8, 8, 8, 8]


def test_stage1_gaps_are_seconds_at_the_rate_of_each_dataset(folder, config):
    for name, expected in (("slow", [2, 3, 4]), ("fast", [3, 4, 5])):
        recording = open_recording(folder / name, config)
        assert window_rows(recording, Window(gap_s=0.16))[1][:3].tolist() == expected
    assert window_rows(open_recording(folder / "slow", config), Window(gap_s=0.01))[1][:2].tolist() == [1, 2]


def test_past_the_end_absolute_rows_repeat_and_relative_ones_vanish(folder, config, tmp_path):
    parts = [{"column": "action", "end": 2}, {"column": "action", "start": 2, "absolute": False, "mode": "q99"}]
    content = {"embodiment": {"tag": "arm", "id": 9}, "cameras": {"primary": [FRONT], "wrist": [WRIST]}, "action": parts}
    recording = open_recording(with_spec(folder, "slow", tmp_path, content), config)
    rows = LeRobotDataset(folder / "slow").column("action")
    last = recording.vectors.actions[6]
    np.testing.assert_allclose(last[:, :2], np.repeat(rows[6:7, :2], 4, axis=0))
    np.testing.assert_allclose(last[0, 2:], rows[6, 2:])
    assert not last[1:, 2:].any()
    assert recording.vectors.action_modes == ("min_max", "min_max", "q99", "q99") and recording.vectors.state.shape == (13, 0)


def test_a_folder_says_what_it_means(folder, tmp_path):
    plain = data_spec(LeRobotDataset(folder / "slow"))
    assert (plain.embodiment_tag, plain.embodiment_id, plain.primary, plain.wrist) == ("franka", 25, (FRONT,), (WRIST,))
    assert plain.action == (ColumnPart("action"),) and plain.has_actions
    assert not data_spec(LeRobotDataset(folder / "human")).has_actions
    assert data_spec(LeRobotDataset(folder / "fast"), ("mine", 12)).embodiment_id == 12
    unknown = write_dataset(tmp_path / "unknown", robot="octopus", lengths=(4,))
    assert data_spec(LeRobotDataset(unknown)).embodiment_tag == "new_embodiment"
    wrong = {"embodiment": {"tag": "arm", "id": 9}, "cameras": {"primary": ["top"]}}
    with pytest.raises(UserMistake, match="the cameras top"):
        data_spec(LeRobotDataset(with_spec(folder, "slow", tmp_path, wrong)))
    (tmp_path / "slow" / SPEC_FILE).write_text(yaml.safe_dump(wrong | {"colour": 3}))
    with pytest.raises(UserMistake, match="unknown key.*colour"):
        data_spec(LeRobotDataset(tmp_path / "slow"))


def test_normalisation_follows_the_mode_of_each_dimension():
    statistics = {"min": [0.0] * 4, "max": [2.0] * 4, "q01": [0.0] * 4, "q99": [1.0] * 4}
    values = np.array([[3.0, 3.0, 0.7, 3.0]])
    assert normalised(values, statistics, ("min_max", "q99", "binary", "raw")).tolist() == [[2.0, 1.0, 1.0, 3.0]]


def test_statistics_of_a_mixture_are_those_of_all_rows(folder, config, tmp_path):
    other = write_dataset(tmp_path / "more", fps=10, lengths=(9,))
    recordings = [open_recording(path, config) for path in (folder / "slow", other)]
    entry = statistics_of(recordings)["franka"]
    rows = np.concatenate([LeRobotDataset(path).column("action") for path in (folder / "slow", other)])
    np.testing.assert_allclose(entry["action"]["mean"], rows.mean(0), atol=1e-6)
    np.testing.assert_allclose(entry["action"]["std"], rows.std(0), atol=1e-6)
    np.testing.assert_allclose(entry["action"]["min"], rows.min(0), atol=1e-6)
    assert entry["num_transitions"] == 22 and entry["num_trajectories"] == 3
    with pytest.raises(UserMistake, match="actions of one width"):
        wide = open_recording(folder / "fast", config, ("franka", 25))
        merged_statistics([entry, wide.vectors.statistics])
    with pytest.raises(UserMistake, match="one id for embodiment franka"):
        statistics_of([recordings[0], open_recording(folder / "fast", config, ("franka", 3))])


def test_one_batch_mixes_rates_and_robots(folder, config):
    sources = [source_of(open_recording(folder / name, config), config) for name in ("slow", "fast")]
    batch = policy_batch(config, sources, [(0, 0), (1, 9), (0, 12)], PromptEncoder(config))
    assert batch.action_hz.tolist() == [10.0, 20.0, 10.0] and batch.embodiment_id.tolist() == [25, 1, 25]
    assert batch.action_mask.any(-1).sum(-1).tolist() == [4, 8, 4] and batch.action_mask.any(1).sum(-1).tolist() == [4, 6, 4]
    assert batch.state_mask.sum(-1).tolist() == [3, 2, 3]
    assert len(batch.frames) == 2 + 1 + 2 and batch.prompt.padded
    assert batch.actions[0, 4:].abs().sum() == 0 and batch.actions[0, :, 4:].abs().sum() == 0
    np.testing.assert_allclose(batch.actions[1, :8].numpy(), sources[1].actions[9], atol=1e-6)
    dataset = LeRobotDataset(folder / "fast")
    expected = prepare_image(dataset.frames_at(1, FRONT, [7])[0])
    assert torch.equal(batch.pair[1, 1], expected) and torch.equal(batch.frames[2], batch.pair[1, 0])


def test_stage1_takes_video_without_actions(folder, config):
    human = source_of(open_recording(folder / "human", config), config, Window(gap_s=0.4))
    robot = source_of(open_recording(folder / "slow", config), config)
    batch = world_model_batch(config, [human, robot], [(0, 0), (1, 2)])
    assert batch.embodiment_id.tolist() == [0, 25] and batch.state_mask.sum(-1).tolist() == [0, 3]
    np.testing.assert_allclose(batch.change[1, :3].numpy(), robot.state[5] - robot.state[2], atol=1e-6)


def test_datasets_are_drawn_by_weight_times_length(folder, config):
    slow, fast = (source_of(open_recording(folder / name, config), config) for name in ("slow", "fast"))
    picks = draw_picks([slow, fast], 4000, np.random.default_rng(0))
    share = np.mean([number for number, _ in picks])
    assert share == pytest.approx(19 / 32, abs=0.03)
    starts = {start for number, start in picks if number == 0}
    assert starts == set(range(13))


def test_the_last_episodes_are_held_back(folder, config):
    recording = open_recording(folder / "slow", config)
    starts, _ = window_rows(recording, Window(stride=2))
    assert starts.tolist() == [0, 2, 4, 6, 7, 9, 11]
    early, late = validation_split(recording, starts, 0.01)
    assert early.tolist() == [0, 2, 4, 6] and late.tolist() == [7, 9, 11]


def test_the_hash_of_the_data_changes_with_them(folder, config, tmp_path):
    same = shutil.copytree(folder / "slow", tmp_path / "renamed")
    other = write_dataset(tmp_path / "other", fps=10, lengths=(7, 5))
    first, second, third = (data_hash([open_recording(path, config)]) for path in (folder / "slow", same, other))
    assert first == second != third

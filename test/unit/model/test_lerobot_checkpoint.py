"""LeRobot-format folders: both sets of fields give the official numbers, and every broken one is named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_folders
from safetensors.torch import load_file, save_file

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.model.checkpoint import load_checkpoint, open_folder, read_tensors, save_checkpoint
from lawam_ros.model.engine import Engine
from lawam_ros.model.facts import CheckpointFacts
from lawam_ros.model.lerobot_processing import FeatureScale, LeRobotProcessing, OutputStep
from lawam_ros.model.parity import ACTIONS, case_names, read_case, uncompared
from lawam_ros.model.parity_lerobot import compare_lerobot
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.model.state_keys import canonical_state

SMALL = Path(__file__).parents[2] / "data" / "golden_small"
CASES = [(folder, name) for folder in golden_folders("lerobot/cases/L_A.json") for name in case_names(folder, "lerobot/cases")]
FULL = golden_folders("lerobot/cases/L_B0.json")
POLICY = PolicyContract(20.0, 0.4, 1, 0.4, ("front",), (), (), ("translation_chunk_relative",))


@pytest.fixture(scope="module")
def official():
    return load_checkpoint(SMALL / "runs" / "nostate")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The small golden folder with the weights as LeRobot writes them."""
    root = Path(shutil.copytree(SMALL, tmp_path_factory.mktemp("lerobot") / "golden"))
    state = canonical_state(read_tensors(root / "runs" / "nostate" / "final_model" / "pytorch_model.pt"), "test")
    spelled = {"model." + key.replace("vision_encoder.model.layer.", "vision_encoder.model.model.layer."): t for key, t in state.items()}
    save_file(
        {key: tensor.clone() for key, tensor in spelled.items()}, root / "lerobot" / "nostate" / "model.safetensors", {"format": "pt"}
    )
    return root / "lerobot" / "nostate"


@pytest.fixture
def copy(whole, tmp_path):
    root = tmp_path / "golden"
    shutil.copytree(whole, root / "lerobot" / "nostate")
    shutil.copytree(whole.parents[1] / "assets", root / "assets")
    return root / "lerobot" / "nostate"


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(("folder", "name"), CASES, ids=lambda value: getattr(value, "name", value))
def test_lerobot_case(folder, name):
    case = read_case(folder, name, "lerobot/cases")
    rows = compare_lerobot(case)
    assert [row for row in rows if not row.ok] == []
    assert all(left.startswith(("inputs/", "post/in", "train/action_raw")) for left in uncompared(case, rows))
    assert max(row.tolerance for row in rows) <= ACTIONS


def test_the_folder_holds_the_weights_of_the_official_one(whole, official):
    loaded = load_checkpoint(whole)
    assert loaded.facts is None and loaded.path == whole
    theirs = official.model.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in loaded.model.state_dict().items())
    assert replace(loaded.config.flow, valid_steps=None, dropout=official.config.flow.dropout) == official.config.flow
    assert loaded.config.lam == official.config.lam


def test_the_engine_does_what_lerobot_does_with_a_raw_image(whole):
    engine = Engine.load(whole)
    raw, case = read_case(SMALL, "A"), read_case(SMALL, "L_A", "lerobot/cases")
    image = raw.tensor("inputs/primary/0/0").numpy()
    result = engine.infer([image], [], case.settings["task"], None, 3, 20.0, noise=case.tensor("inputs/noise"))
    np.testing.assert_allclose(result.normalised_actions[:, :7], case.tensor("out_raw/action_chunk_normalized")[0], atol=ACTIONS)
    np.testing.assert_allclose(result.actions, case.tensor("out_raw/action_chunk_postprocessed")[0], atol=ACTIONS)
    assert set(np.unique(result.actions[:, 6])) <= {-1.0, 1.0}


@pytest.mark.skipif(not FULL, reason="the whole golden set is not at hand (LAWAM_GOLDEN)")
def test_the_engine_takes_the_state_and_all_views():
    folder = FULL[0]
    raw, case = read_case(folder, "B"), read_case(folder, "L_B0", "lerobot/cases")
    weights = folder / "runs" / "state" / "final_model" / "pytorch_model.pt"
    engine = Engine(load_checkpoint(folder / "lerobot" / "state", weights=weights))
    primary, *wrist = (raw.tensor(f"inputs/{view}").numpy() for view in ("primary/0/0", "wrist/0/0", "wrist/0/1"))
    state = case.tensor("inputs/state").numpy()
    result = engine.infer([primary], wrist, case.settings["task"], state, 3, 20.0, noise=case.tensor("inputs/noise"))
    np.testing.assert_allclose(result.actions, case.tensor("out_raw/action_chunk_postprocessed")[0], atol=ACTIONS)
    assert engine.warm_up(1, 2, "go", 3, 20.0).actions.shape == (8, 7)


def test_the_engine_refuses_another_rate_and_embodiment(whole):
    engine = Engine.load(whole)
    engine.check(POLICY, 3)
    with pytest.raises(UserMistake, match="made for 20 Hz, the task asks for 10 Hz"):
        engine.check(replace(POLICY, action_hz=10.0), 3)
    with pytest.raises(UserMistake, match="made for embodiment 3, got 4"):
        engine.check(POLICY, 4)


def test_saved_in_our_layout_it_keeps_its_steps_and_its_images(whole, tmp_path):
    loaded = load_checkpoint(whole)
    facts = CheckpointFacts("franka_panda", "franka", 3, 20.0, 0.4, 1, ("front",), (), (), ("translation_chunk_relative",))
    entry = {"action": {"min": [-1.0] * 7, "max": [1.0] * 7}}
    run = save_checkpoint(tmp_path / "run", loaded.model, {"franka": entry}, facts, PromptEncoder(loaded.config).tokenizer)
    again = open_folder(run).config
    assert again.squashed_images and again.flow.valid_steps == 8


def test_the_older_fields_give_the_same_steps_and_rate(whole):
    weights = whole / "model.safetensors"
    older, current = open_folder(whole.parent / "nostate_older", weights), open_folder(whole, weights)
    assert older.lerobot is not None and current.lerobot is not None
    assert (older.lerobot.action_hz, older.config.flow.valid_steps) == (20.0, 8)
    assert older.config.flow == current.config.flow
    assert (older.lerobot.training_rows, current.lerobot.training_rows) == (8, 10)


@pytest.mark.parametrize(("seconds", "expected"), [(0.4, 8), (0.29, 5), (9.0, 10)])
def test_the_older_horizon_is_cut_in_double_precision(copy, whole, seconds, expected):
    shutil.copytree(whole.parent / "nostate_older", copy.parent / "older")
    edit(copy.parent / "older" / "config.json", lambda content: content.update(flow_horizon_sec=seconds))
    assert open_folder(copy.parent / "older", copy / "model.safetensors").config.flow.valid_steps == expected


def test_the_number_of_steps_does_not_follow_the_rate(copy):
    def faster(content):
        content["steps"][-1]["config"]["action_hz"] = 30.0

    edit(copy / "policy_preprocessor.json", faster)
    engine = Engine.load(copy)
    black = np.zeros((9, 9, 3), np.uint8)
    assert engine.infer([black], [], "go", None, 3, 30.0, seed=0).actions.shape == (8, 7)


def restate(folder, change):
    """Other statistics, under the one file both processors name."""
    path = folder / "policy_postprocessor_step_2_unnormalizer_processor.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize("mode", ["MEAN_STD", "QUANTILES", "QUANTILE10", "MIN_MAX"])
def test_statistics_as_lerobot_makes_them(copy, mode):
    """With a count, further quantiles and image entries; only those of the mode are read."""
    names = {"MEAN_STD": ("mean", "std"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90"), "MIN_MAX": ("min", "max")}[mode]

    def made(tensors):
        tensors.clear()
        tensors |= {f"action.{name}": torch.full((7,), float(i)) for i, name in enumerate(names)}
        tensors |= {"action.count": torch.tensor([500]), "observation.images.image.mean": torch.zeros(3, 1, 1)}

    restate(copy, made)
    edit(copy / "policy_postprocessor.json", lambda content: content["steps"][2]["config"]["norm_map"].update(ACTION=mode))
    folder = open_folder(copy)
    assert folder.statistics["lerobot"].action.size == folder.lerobot.action_size == 7
    raw = np.full((1, 7), 0.25, np.float32)
    assert folder.lerobot.actions(raw)[0, 0] == pytest.approx(0.25 if mode == "MEAN_STD" else 0.625)


def test_a_folder_that_scales_nothing_needs_no_statistics(copy):
    def unscaled(content):
        content["steps"][2]["config"]["norm_map"].update(ACTION="IDENTITY")
        del content["steps"][2]["state_file"]

    edit(copy / "policy_postprocessor.json", unscaled)
    (copy / "policy_postprocessor_step_2_unnormalizer_processor.safetensors").unlink()
    engine = Engine.load(copy)
    result = engine.infer([np.zeros((9, 9, 3), np.uint8)], [], "go", None, 3, 20.0, seed=0)
    np.testing.assert_array_equal(result.actions[:, :6], result.normalised_actions[:, :6].clip(-1, 1))


def test_reversed_statistics_are_refused(copy):
    restate(copy, lambda tensors: tensors.update({"action.min": tensors["action.max"] + 1.0}))
    with pytest.raises(UserMistake, match="action: expected min <= max, dimension 0 has it the other way round"):
        load_checkpoint(copy)


def _set(**changes):
    return lambda content: content.update(changes)


def _step(index, **changes):
    return lambda content: content["steps"][index].update(changes)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", _set(type="act"), "expected a policy of type 'lawam', got 'act'"),
        ("config.json", _set(action_horizon=11), r"expected 1 to 10 \(chunk_size\) valid steps, got 11"),
        ("config.json", _set(base_vlm="no/model"), None),
        ("config.json", _set(lam_dim="wide"), "unexpected values|invalid literal"),
        ("config.json", _set(lam_dim=48), "expected shape"),
        ("config.json", _set(lam_decoder_last_ln=False), "lam_decoder_last_ln: only true is supported"),
        ("config.json", _set(flow_hidden_dim=66), "must be a multiple of its 4 heads"),
        (
            "config.json",
            _set(output_features={"action": {"shape": [6]}}),
            r"config.json says 6 action dimensions, the statistics have 7",
        ),
        ("config.json", _set(flow_use_state=True), "observation.state.min, observation.state.max are missing"),
        ("policy_preprocessor.json", _set(steps="none"), "expected a list of steps"),
        ("policy_preprocessor.json", _step(2, registry_name="rotate"), "unknown processor steps rotate"),
        ("policy_preprocessor.json", lambda content: content["steps"].pop(), "expected one processor step lawam_prepare_batch, found 0"),
        ("policy_preprocessor.json", lambda content: content["steps"][-1]["config"].update(action_hz=None), "expected the control rate"),
        ("policy_preprocessor.json", lambda content: content["steps"][-1]["config"].update(lam_image_feature="x"), "lam_image_feature"),
        (
            "policy_preprocessor.json",
            lambda content: content["steps"][-2]["config"].update(model_id="no/model"),
            "base_vlm says 'no/model'",
        ),
        ("policy_postprocessor.json", _step(0, registry_name="smooth"), "unknown processor steps smooth"),
        ("policy_postprocessor.json", _step(2, state_file="other.safetensors"), "expected the statistics file other.safetensors"),
        ("policy_postprocessor.json", lambda content: content["steps"][2]["config"]["norm_map"].update(ACTION="LOG"), "got 'LOG'"),
        ("policy_postprocessor.json", lambda content: content["steps"][2]["config"]["norm_map"].update(ACTION="QUANTILE10"), "action.q10"),
    ],
)
def test_a_broken_folder_is_one_sentence(copy, monkeypatch, name, change, message):
    monkeypatch.setattr("lawam_ros.model.hub.download_files", _unreachable)
    edit(copy / name, change)
    if message is None:
        load_checkpoint(copy)  # the processor file says which base model is used
        return
    with pytest.raises(UserMistake, match=message) as caught:
        load_checkpoint(copy)
    assert "\n" not in str(caught.value)


def _unreachable(name, revision, patterns):
    raise OSError(f"{name} is not reachable")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "expected config.json"),
        ("model.safetensors", "expected model.safetensors"),
        ("policy_preprocessor.json", "expected policy_preprocessor.json"),
        ("policy_postprocessor.json", "expected policy_postprocessor.json"),
        ("policy_postprocessor_step_2_unnormalizer_processor.safetensors", "expected the statistics file"),
    ],
)
def test_missing_files_are_named(copy, name, message):
    (copy / name).unlink()
    with pytest.raises(UserMistake, match=message):
        load_checkpoint(copy)


def test_garbage_is_named(copy):
    statistics = copy / "policy_postprocessor_step_2_unnormalizer_processor.safetensors"
    tensors = load_file(statistics)
    save_file(tensors | {"action.max": tensors["action.max"] * float("nan")}, statistics)
    with pytest.raises(UserMistake, match="action.max: expected finite numbers"):
        load_checkpoint(copy)
    statistics.write_bytes(b"nothing")
    with pytest.raises(UserMistake, match="not a readable statistics file"):
        load_checkpoint(copy)
    (copy / "config.json").write_text("[]")
    with pytest.raises(UserMistake, match="expected a mapping at the top, got list"):
        load_checkpoint(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(UserMistake, match="not valid JSON"):
        load_checkpoint(copy)


def test_a_missing_tensor_is_named(copy):
    tensors = load_file(copy / "model.safetensors")
    del tensors["model.policy_backend.act_query"]
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(UserMistake, match="1 of .* tensors are missing, first policy_backend.act_query"):
        load_checkpoint(copy)


VALUES = np.array([[0.0, 4.0], [2.0, 8.0]], np.float32)


@pytest.mark.parametrize(
    ("mode", "statistics", "expected"),
    [
        ("MIN_MAX", {"min": [0.0, 0.0], "max": [2.0, 8.0]}, [[-1.0, 0.0], [1.0, 1.0]]),
        ("QUANTILES", {"q01": [0.0, 0.0], "q99": [1.0, 4.0]}, [[-1.0, 1.0], [3.0, 3.0]]),
        ("QUANTILE10", {"q10": [0.0, 0.0], "q90": [4.0, 8.0]}, [[-1.0, 0.0], [0.0, 1.0]]),
        ("MEAN_STD", {"mean": [1.0, 4.0], "std": [1.0, 2.0]}, [[-1.0, 0.0], [1.0, 2.0]]),
        ("IDENTITY", {}, VALUES),
    ],
)
def test_normalisation_and_back(mode, statistics, expected):
    scale = FeatureScale("action", mode, {name: np.array(values, np.float32) for name, values in statistics.items()})
    scale.check("test")
    np.testing.assert_allclose(scale.normalise(VALUES), expected, atol=1e-6)
    np.testing.assert_allclose(scale.denormalise(np.array(expected, np.float32)), VALUES, atol=1e-6)


def test_output_steps_run_in_the_order_of_the_file():
    scale = FeatureScale("action", "MIN_MAX", {"min": np.zeros(2, np.float32), "max": np.full(2, 4.0, np.float32)})
    steps = (OutputStep("clip"), OutputStep("snap", 1, 0.5), OutputStep("denormalise"), OutputStep("binarise", 1, 2.0))
    processing = LeRobotProcessing(20.0, 0, ("a",), (), 0, "go", scale, None, 2, 8, (), steps)
    np.testing.assert_allclose(processing.actions(np.array([[5.0, 0.5, 9.0], [-0.5, 0.4, 9.0]])), [[4.0, 1.0], [1.0, -1.0]])
    with pytest.raises(UserMistake, match="not finite"):
        processing.actions(np.array([[np.nan, 0.0]]))
    with pytest.raises(UserMistake, match="uses no robot state"):
        processing.states(np.zeros(3))


def test_states_of_another_length_or_not_finite_are_refused():
    state = FeatureScale("observation.state", "MIN_MAX", {"min": np.zeros(2, np.float32), "max": np.ones(2, np.float32)})
    processing = LeRobotProcessing(20.0, 0, ("a",), (), 0, "go", state, state, 2, 8, (), ())
    np.testing.assert_allclose(processing.states(np.array([0.5, 3.0])), [0.0, 5.0])
    with pytest.raises(UserMistake, match="expected a state of 2 numbers"):
        processing.states(np.zeros(3))
    with pytest.raises(UserMistake, match="expected a finite robot state"):
        processing.states(np.array([np.inf, 0.0]))

"""Numbers of the official implementation's training, where the whole golden set is at hand."""

import json
import shutil

import pytest
import torch
from golden import golden_folders
from safetensors.torch import load_file, save_file
from toy_training import one_thread

from lawam_ros.cli.parity import report_of
from lawam_ros.model.parity import HIDDEN, read_case
from lawam_ros.training.parity_gradients import tolerance
from lawam_ros.training.parity_policy import compare_policy_training
from lawam_ros.training.parity_world_model import compare_world_model_training

FOLDERS = golden_folders("cases/policy_train_T1.json")
needs_full = pytest.mark.skipif(not FOLDERS, reason="the whole golden set is not at hand (LAWAM_GOLDEN)")


@pytest.fixture(autouse=True, scope="module")
def threads():
    one_thread()


@needs_full
@pytest.mark.parametrize("name", ["policy_train_T1", "policy_train_T2", "policy_train_T3", "policy_train_T4"])
def test_stage2_losses_tensors_gradients_and_groups(name):
    case = read_case(FOLDERS[0], name)
    rows = {row.tensor: row for row in compare_policy_training(case)}
    assert [row for row in rows.values() if not row.ok] == []
    stored = {key for key in case.tensors if key.startswith(("policy/", "grad/"))}
    recorded = {f"gradients/{term}/{group}" for term, found in case.settings["gradients"].items() for group in found["groups"]}
    assert stored | recorded | {f"losses/{loss}" for loss in case.settings["losses"]} <= set(rows)
    assert {"requires_grad", "train_mode_flags"} <= set(rows)
    assert ("optimizer_groups" in rows) == (name == "policy_train_T1")


@needs_full
def test_stage1_losses_gradients_and_decay():
    rows = compare_world_model_training(read_case(FOLDERS[0], "lam_stage1"))
    assert [row for row in rows if not row.ok] == []
    names = {row.tensor for row in rows}
    assert {"losses/total", "losses/cos/total", "losses/delta/total", "eval_losses/total", "optimizer_decay"} <= names
    assert sum(name.startswith("gradients/") for name in names) > 100


@pytest.fixture
def copy(tmp_path):
    """T1 and T2 with what they need, under other names."""
    root = tmp_path / "golden"
    for part in ("runs", "assets"):
        shutil.copytree(FOLDERS[0] / part, root / part)
    (root / "cases").mkdir()
    for old, new in (("policy_train_T1", "first"), ("policy_train_T2", "second")):
        for suffix in ("json", "safetensors"):
            shutil.copy(FOLDERS[0] / "cases" / f"{old}.{suffix}", root / "cases" / f"{new}.{suffix}")
            (root / "cases" / f"{new}.{suffix}").chmod(0o644)
    return root


def changed(folder, name, edit):
    path = folder / "cases" / f"{name}.json"
    settings = json.loads(path.read_text())
    edit(settings)
    path.write_text(json.dumps(settings))


@needs_full
def test_images_come_from_a_neighbour_whatever_its_name(copy):
    report = report_of(copy, "second")
    assert (report.kind, report.result) == ("training", "passed")
    (copy / "cases" / "first.json").unlink()
    assert "images" in report_of(copy, "second").reason


@needs_full
@pytest.mark.parametrize(
    ("edit", "worst"),
    [
        (lambda s: s["losses"].update(loss_flow=s["losses"]["loss_flow"] + 3e-4), "losses/loss_flow"),
        (lambda s: s["policy_overrides"].update(flow_h_t1_pred_prob_start=1.0), None),
        (lambda s: s["policy_overrides"].update(detach_future_feature=True), None),
        (lambda s: s["flow_overrides"].update(cfg_drop_prob=0.0), None),
        (lambda s: s["gradients"]["loss_flow"]["groups"].update({"lam.decoder": "no_graph"}), "gradients/loss_flow/lam.decoder"),
        (lambda s: s["gradients"]["loss_flow"]["groups"].update({"lam.vq": 0.0}), "gradients/loss_flow/lam.vq"),
        (lambda s: s["requires_grad"].update({"act_query": False}), "requires_grad"),
    ],
)
def test_another_option_or_number_is_missed(copy, edit, worst):
    changed(copy, "second", edit)
    report = report_of(copy, "second")
    assert report.result == "missed" and (worst is None or report.worst.tensor == worst)


@needs_full
def test_a_perturbed_gradient_is_missed(copy):
    path = copy / "cases" / "first.safetensors"
    tensors = load_file(path)
    name = "grad/vlm_to_lam.query"
    save_file(tensors | {name: tensors[name] * (1 + 1e-3)}, path)
    report = report_of(copy, "first")
    assert report.result == "missed" and report.worst.tensor == name


def test_tolerance_of_gradients_is_relative():
    assert tolerance(5.0) == 5.0 * HIDDEN and tolerance(0.0) == 0.01 * HIDDEN
    assert torch.tensor(tolerance(0.1)).item() == pytest.approx(1e-5)

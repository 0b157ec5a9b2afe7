"""``lawam parity``: what passes, what is missed, what is not run, and what is no golden folder."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lawam_ros.cli.main import main

SMALL = Path(__file__).parents[2] / "data" / "golden_small"


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(SMALL, tmp_path / "golden"))


def keep(folder, *names):
    for path in (folder / "cases").iterdir():
        if path.stem not in names:
            path.unlink()
    shutil.rmtree(folder / "lerobot")


def perturb(folder, case, tensor, by):
    path = folder / "cases" / f"{case}.safetensors"
    tensors = load_file(path)
    tensors[tensor] = tensors[tensor] + by
    save_file(tensors, path)


def parity(folder, capsys):
    code = main(["parity", "--golden", str(folder), "--json"])
    lines = capsys.readouterr().out.splitlines()
    return code, json.loads(lines[-1]), lines


def by_name(report):
    return {case["case"]: case for case in report["cases"]}


def test_the_small_folder_passes(capsys):
    code, report, lines = parity(SMALL, capsys)
    assert code == 0
    assert (report["missed"], report["not_run"]) == (0, 0)
    cases = by_name(report)
    assert {"A", "ensemble", "heatmap", "helpers", "image_prep", "normalization", "L_A", "L_A_older"} <= set(cases)
    assert all(case["pass"] and case["max_abs_error"] <= case["tolerance"] and case["worst_tensor"] for case in cases.values())
    assert cases["A"]["compared"] > 60
    assert not cases["heatmap"]["not_compared"]
    assert sum(line.startswith(tuple(cases)) for line in lines) == len(cases)


@pytest.mark.parametrize(
    ("case", "tensor", "by"),
    [
        ("A", "lam/h_t1_pred", 1.5e-4),
        ("A", "out/normalized_actions", 3e-4),
        ("A", "proc/input_ids", 1),
        ("ensemble", "ensemble/joint14/executed", 1e-4),
        ("normalization", "robotwin/eef_unnormalize", 1e-5),
        ("helpers", "time_grid/0/count", 1),
        ("image_prep", "gray_40x52/plain", 1),
        ("heatmap", "anchor_0/h_t/cosine_16x16", 1e-4),
    ],
)
def test_a_perturbed_tensor_is_missed_and_named(copy, capsys, case, tensor, by):
    keep(copy, case, "A" if case == "heatmap" else case)
    perturb(copy, case, tensor, by)
    code, report, _ = parity(copy, capsys)
    assert code == 1
    missed = by_name(report)[case]
    # Results of the whole way are compared twice: of the reference and of the engine.
    twice = tensor in ("lam/h_t1_pred", "out/normalized_actions")
    assert (missed["result"], missed["pass"]) == ("missed", False)
    assert missed["worst_tensor"] in ((tensor, f"engine/0/{tensor}") if twice else (tensor,))
    assert missed["max_abs_error"] > missed["tolerance"]
    assert missed["reason"].startswith("2 of " if twice else "1 of ")


def test_a_perturbed_lerobot_case_is_missed(copy, capsys):
    path = copy / "lerobot" / "cases" / "L_A.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"out_raw/action_chunk_postprocessed": tensors["out_raw/action_chunk_postprocessed"] + 1e-3}, path)
    code, report, _ = parity(copy, capsys)
    assert code == 1
    assert [case["case"] for case in report["cases"] if not case["pass"]] == ["L_A"]
    assert by_name(report)["L_A"]["worst_tensor"] == "out_raw/action_chunk_postprocessed"


def test_another_weight_is_missed(copy, capsys):
    keep(copy, "A")
    path = copy / "runs" / "nostate" / "final_model" / "pytorch_model.pt"
    tensors = torch.load(path, weights_only=True)
    tensors["policy_backend.lam.decoder.last_ln.weight"] *= 1.01
    torch.save(tensors, path)
    code, report, _ = parity(copy, capsys)
    assert code == 1
    assert by_name(report)["A"]["result"] == "missed"


def test_names_of_cases_are_free(copy, capsys):
    keep(copy, "ensemble", "helpers")
    for suffix in ("json", "safetensors"):
        (copy / "cases" / f"ensemble.{suffix}").rename(copy / "cases" / f"another.{suffix}")
    code, report, _ = parity(copy, capsys)
    assert code == 0
    assert by_name(report)["another"]["kind"] == "ensemble"


def test_an_unknown_kind_is_not_run_and_does_not_count_as_passed(copy, capsys):
    keep(copy, "helpers", "ensemble")
    (copy / "cases" / "helpers.json").write_text(json.dumps({"new": 1}))
    code, report, lines = parity(copy, capsys)
    assert code == 0
    helpers = by_name(report)["helpers"]
    assert (helpers["kind"], helpers["result"], helpers["pass"], report["passed"], report["not_run"]) == ("unknown", "not run", False, 1, 1)
    assert "not run: no comparison for cases of this kind" in next(line for line in lines if line.startswith("helpers"))
    for suffix in ("json", "safetensors"):
        (copy / "cases" / f"ensemble.{suffix}").unlink()
    assert parity(copy, capsys)[0] == 1, "a folder of which nothing was run has not passed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "cases" / "A.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "cases" / "A.json").write_text("{"), "cannot be read"),
        (lambda folder: shutil.rmtree(folder / "runs"), "found nothing at"),
    ],
)
def test_a_broken_case_is_missed_with_the_reason(copy, capsys, change, reason):
    keep(copy, "A", "helpers")
    change(copy)
    code, report, _ = parity(copy, capsys)
    assert code == 1
    cases = by_name(report)
    assert cases["A"]["result"] == "missed" and reason in cases["A"]["reason"]
    assert cases["helpers"]["pass"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: (path / "cases").mkdir(parents=True)])
def test_no_golden_folder_is_a_mistake_of_the_call(tmp_path, capsys, make):
    make(tmp_path / "nothing")
    assert main(["parity", "--golden", str(tmp_path / "nothing")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "golden folder" in err and err.count("\n") == 1

"""``lawam bench model`` as a user calls it, at the smallest size it has."""

import json

import pytest
import torch

from lawam_ros.cli.main import main
from lawam_ros.model.benchmark import floor_ms

STAGES = {"language", "vision", "world_model", "actions", "total"}


@pytest.fixture(scope="module")
def report():
    import contextlib
    import io

    threads, output = torch.get_num_threads(), io.StringIO()
    arguments = "bench model --size tiny --views 1,2 --rate 10 --repeats 2 --observations 3 --threads 1 --json"
    with contextlib.redirect_stdout(output):
        assert main(arguments.split()) == 0
    torch.set_num_threads(threads)
    lines = output.getvalue().splitlines()
    return lines, json.loads(lines[-1])


def test_both_ways_are_measured(report):
    _, content = report
    assert [result["views"] for result in content["results"]] == [1, 2]
    for result in content["results"]:
        assert (result["valid_steps"], result["rows"]) == (12, 24)
        for way in ("eager", "engine"):
            assert set(result[way]["ms"]) == STAGES and set(result[way]["flops"]) == STAGES
            for quantiles in result[way]["ms"].values():
                assert 0 < quantiles["p50"] <= quantiles["p90"] <= quantiles["p99"] <= quantiles["max"]
        assert result["max_abs_difference"] < 1e-4
        assert 0 < result["floor_ms"]["total"] < result["engine"]["ms"]["total"]["p50"]
        assert 20e6 < result["weight_bytes"] < result["peak_bytes"]


def test_the_action_expert_does_less_work(report):
    _, content = report
    result = content["results"][1]
    assert result["flops_ratio"]["actions"] > 3
    assert result["eager"]["flops"]["language"] == result["engine"]["flops"]["language"]
    assert result["eager"]["flops"]["world_model"] == result["engine"]["flops"]["world_model"]


def test_fidelity_is_reported(report):
    lines, content = report
    assert content["fidelity"]["observations"] == 3
    assert content["fidelity"]["cosine_min"] > 0.99999
    assert any("cosine at least" in line for line in lines)


def test_the_table_names_every_stage(report):
    lines, _ = report
    assert {line.split()[0] for line in lines if line.startswith("  ")} == STAGES | {"stage"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--views 0", "numbers from 1 to 8"),
        ("--views two", "numbers from 1 to 8"),
        ("--steps 0", "above 0"),
        ("--rate 0.1", "1 to 24 actions"),
    ],
)
def test_numbers_that_cannot_be(arguments, message, capsys):
    assert main(["bench", "model", "--repeats", "1", "--observations", "0", *arguments.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_cuda_is_named(capsys):
    assert main(["bench", "model", "--device", "cuda"]) == 3
    assert "torch sees no CUDA device" in capsys.readouterr().err


def test_the_floor_is_the_longer_of_reading_and_computing():
    flops = dict.fromkeys(("language", "vision", "world_model", "actions"), 10)
    weights = {"language": 1, "vision": 100, "world_model": 1, "actions": 1}
    floor = floor_ms(flops, weights, {"operations_per_s": 10.0, "bytes_per_s": 10.0})
    assert floor == {"language": 1e3, "vision": 1e4, "world_model": 1e3, "actions": 1e3, "total": 1.3e4}

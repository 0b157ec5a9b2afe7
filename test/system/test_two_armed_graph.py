"""Two arms through real processes in lock step: the towel is folded, with the commands of the same run without ROS."""

import json

import cv2
import pytest

from lawam_ros.cli.main import main

SEED = "10000"


@pytest.mark.long
def test_a_played_back_fold_folds_the_towel_with_and_without_ros(capsys, tmp_path):
    data = tmp_path / "set"
    call = ["data", "make", "--task", "x1_towel_fold", "--episodes", "1", "--seed", SEED, "--noise", "none", "--out", str(data)]
    assert main(call) == 0
    reports = []
    for through in ("ros", "direct"):
        out = tmp_path / through
        call = ["eval", "--task", "x1_towel_fold", "--checkpoint", f"recorded:{data}#0", "--episodes", "1", "--seed", SEED]
        assert main([*call, "--through", through, "--out", str(out), "--json", "--require", "1"]) == 0
        reports.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    graph, direct = reports
    assert graph["episodes_detail"][0]["command_hash"] == direct["episodes_detail"][0]["command_hash"]
    assert graph["limit_violations"] == direct["limit_violations"] == 0
    assert graph["control_hz"] == pytest.approx(100.0, abs=0.5)
    film = cv2.VideoCapture(graph["video"][0])
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) > 10 and film.get(cv2.CAP_PROP_FRAME_WIDTH) == 960

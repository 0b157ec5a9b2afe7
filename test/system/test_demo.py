"""``lawam demo`` with the shipped LaWAM, as a newcomer runs it."""

import json

import av
import pytest

from lawam_ros.cli.main import main

pytestmark = pytest.mark.flaky(reruns=2)

KEYS = {
    "task": str,
    "seed": int,
    "episodes": int,
    "successes": int,
    "success_interval": list,
    "stages": dict,
    "chunk_ms_p50": float,
    "chunk_ms_p99": float,
    "observation_to_command_ms_p50": float,
    "control_hz": float,
    "limit_violations": int,
    "delay_ms": float,
    "reaction_ms_mean": float,
    "episodes_detail": list,
    "video": list,
}


def demo(capsys, *arguments):
    code = main(["demo", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_one_episode_films_measures_and_goes_for_the_cube(capsys, tmp_path):
    code, summary = demo(capsys, "--episodes", "1", "--seed", "12000", "--out", str(tmp_path))
    assert code == 0
    assert {key: type(summary[key]) for key in KEYS} == KEYS
    assert summary["limit_violations"] == 0
    assert summary["control_hz"] == pytest.approx(250, rel=0.1)
    (episode,) = summary["episodes_detail"]
    assert episode["seed"] == 12000
    assert episode["min_tcp_object_distance_m"] < 0.1, "it starts some 30 cm away"
    with av.open(summary["video"][0]) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) > 20
    heatmap_panel = frames[-1][24:-24, 320:640].astype(int)
    camera_panel = frames[-1][24:-24, :320].astype(int)
    assert abs(heatmap_panel - camera_panel).mean() > 10, "the heatmap is drawn over the camera image"


@pytest.mark.long
def test_the_arm_reaches_the_cube_in_seven_of_ten_held_out_episodes(capsys, tmp_path):
    _, summary = demo(capsys, "--episodes", "10", "--seed", "12000", "--no-video", "--out", str(tmp_path))
    close = [e["min_tcp_object_distance_m"] <= 0.03 for e in summary["episodes_detail"]]
    assert sum(close) >= 7, summary["episodes_detail"]
    assert summary["limit_violations"] == 0

"""Page, plots and film of a recorded run."""

import base64
import re

import cv2
import numpy as np

from lawam_ros.viz.film_frame import TILE_HW, film_frame
from lawam_ros.viz.run_page import run_page
from lawam_ros.viz.run_plots import Curve, RunCurves, chunk_plot, joint_plot, progress_plot

TIMES = np.linspace(0.0, 10.0, 5000)
NOTHING = Curve(np.empty(0), np.empty(0))


def curves(**change):
    joints = Curve(TIMES, np.stack([np.sin(TIMES), np.cos(TIMES)], axis=1))
    points = Curve(np.arange(10.0), np.arange(10.0))
    given = {"commanded": joints, "measured": joints, "latency_ms": points, "seam_mm": points, "distance": points}
    return RunCurves(10.0, ("joint1", "joint2"), states=((0.0, 4.0, "HOLD"), (4.0, 10.0, "RUN")), **(given | change))


def decoded(png):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_plots_show_curves_and_states():
    empty = Curve(np.empty(0), np.empty((0, 2)))
    blank = curves(commanded=empty, measured=empty, latency_ms=NOTHING, seam_mm=NOTHING, distance=NOTHING)
    for plot, colour in ((joint_plot, (31, 119, 180)), (chunk_plot, (31, 119, 180)), (progress_plot, (148, 103, 189))):
        full, without = decoded(plot(curves())), decoded(plot(blank))
        assert full.shape[1] == 990
        drawn, empty_drawn = ((np.abs(picture.astype(int) - colour).max(axis=2) < 40).sum() for picture in (full, without))
        assert drawn > 100 and empty_drawn == 0
        for half_opaque in ((249, 239, 208), (219, 239, 223)):  # HOLD and RUN over white
            assert (np.abs(full.astype(int) - half_opaque).max(axis=2) <= 2).sum() > 1000


def test_plots_do_not_grow_with_the_run():
    assert len(Curve(TIMES, TIMES).thinned().times_s) <= 2 * 1500
    assert len(Curve(TIMES[:10], TIMES[:10]).thinned().times_s) == 10


def test_the_page_holds_everything_and_loads_nothing_else():
    png = joint_plot(curves())
    stops = [("1.00 s", "2.00 s", "STOP", "<estop>")]
    text = run_page("Run a & b", {"task": "t"}, {"chunks": "42"}, "run.mp4", [("Joints", "why", png)], stops, ["camera x: damaged"])
    assert "<title>Run a &amp; b</title>" in text and "&lt;estop&gt;" in text and "camera x: damaged" in text and "42" in text
    assert re.findall(r'src="([^"]*?)"', text)[0] == "run.mp4"
    assert base64.b64decode(re.findall(r'base64,([^"]+)"', text)[0]) == png
    assert "http" not in text and "<script" not in text


def test_a_run_without_film_and_stops():
    text = run_page("Run", {}, {}, None, [], [], [])
    assert "<video" not in text and "None: the arm was in RUN" in text and "Problems" not in text


def test_a_frame_of_a_film():
    tall, wide = np.full((400, 100, 3), (200, 0, 0), np.uint8), np.full((100, 400, 3), (0, 200, 0), np.uint8)
    frame = film_frame([("a", tall), ("b", wide), ("c", None)], "caption")
    height, width = TILE_HW
    assert frame.shape == (2 * height + 26, 2 * width, 3) and frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    assert frame[height // 2, width // 2].tolist() == [200, 0, 0] and frame[height // 2, 10].tolist() == [128] * 3
    assert frame[height // 2, width + width // 2].tolist() == [0, 200, 0] and frame[20, width + 10].tolist() == [128] * 3
    assert frame[height + height // 2, 10].tolist() == [128] * 3
    assert (frame[-26:, :100] < 100).any(), "the caption"
    for count in range(1, 8):
        shape = film_frame([("x", None)] * count, "").shape
        assert shape[0] % 2 == shape[1] % 2 == 0

"""A simulated robot whose camera falls silent; ``test_replay.py`` plays such a run."""

import time

import pytest
from running_graph import TASK

from lawam_ros import bringup
from lawam_ros.cli.simulated_run import simulated_run

pytestmark = pytest.mark.flaky(reruns=2)


@pytest.mark.parametrize(("clock", "camera"), [("steady", "front"), ("lockstep", "wrist")])
def test_without_images_the_arm_holds_and_goes_on_with_them(clock, camera):
    """In lock step, where the primary camera sets the pace, the loss of the other one shortly before a look could make time stand still."""
    values = bringup.defaults(TASK) | {"checkpoint": "hold", "view": "false", "clock": clock}
    without_images = set()
    with simulated_run(TASK, values, losses=f"{camera}:3.2:6") as run:
        run.client.reset_world(10000)
        while not run.client.activate_executor():
            time.sleep(0.05)
        deadline = time.monotonic() + 60.0
        while run.client.world.seed != 10000 or run.client.world.time_s < 6.3 or run.client.status.state != "RUN":  # not the world before
            assert time.monotonic() < deadline, run.client.status
            if 5.0 < run.client.world.time_s < 5.8:  # the last chunk lasts until 4.5 s
                without_images.add((run.client.status.state, run.client.status.reason))
            time.sleep(0.005)
    assert without_images == {("HOLD", "plan_ended")}

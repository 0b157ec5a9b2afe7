"""A run of the executor as it was recorded: what speeds the tick up must not change its numbers.

``python test/unit/control/test_recorded_run.py`` records anew, for changes that are meant to change them.
"""

from pathlib import Path

import numpy as np
import pytest

from lawam_ros.contract.load import load_contract
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.rehearsal import Rehearsal, reach_and_return

RECORDING = Path(__file__).resolve().parents[2] / "data" / "executor_run.npz"
ROBOTS = ("franka_panda", "franka_fr3", "two_pandas")
EVERY = 5


def played(robot):
    """Joint positions and velocities (K, 2, n) of every fifth tick: chunks that disagree, a hold, a wild chunk, a stop, a reset."""
    contract = load_contract("franka_pick_place", robot, [f"task.robots=[{robot}]"])
    rehearsal = Rehearsal(contract, (urdf_dir() / contract.robot.urdf).read_text(encoding="utf-8"))
    start, begin_ns, rng = rehearsal.poses, rehearsal.now_ns, np.random.default_rng(5)
    times, states = (np.arange(24) + 1) / 20, []
    for k in range(1200):
        if k % 80 == 0:
            at = (rehearsal.now_ns - begin_ns) * 1e-9 + times
            tables = {n: reach_and_return(p, np.array([0.1, 0.15, -0.1]), np.array([0.1, 0.2, 0.6]), 2.0, at) for n, p in start.items()}
            for table in tables.values():
                table[:, :3] += rng.normal(size=3) * 0.01
                if k == 640:
                    table[5:, :3] += rng.normal(size=(19, 3)) * 0.2
            rehearsal.offer(rehearsal.chunk(tables, rehearsal.now_ns))
        if k in (300, 800):
            (rehearsal.executor.request_hold if k == 300 else rehearsal.executor.request_stop)("test", rehearsal.now_ns)
        if k == 380:
            rehearsal.executor.release_hold("test", rehearsal.now_ns)
        if k == 940:
            assert rehearsal.executor.reset(rehearsal.now_ns) is None
        command = rehearsal.step(3 if k % 97 == 0 else 1).command
        if k % EVERY == 0:
            states.append([command.positions_rad, command.velocities_rad_s])
    return np.array(states)


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_run_is_the_recorded_one(robot):
    recorded, now = np.load(RECORDING)[robot], played(robot)
    assert np.ptp(recorded[:, 0], axis=0).max() > 0.3  # the arm went somewhere
    # Other builds of the linear algebra round otherwise; nothing else may differ.
    np.testing.assert_allclose(now[:, 0], recorded[:, 0], rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(now[:, 1], recorded[:, 1], rtol=0.0, atol=1e-7)


if __name__ == "__main__":
    np.savez_compressed(RECORDING, **{robot: played(robot) for robot in ROBOTS})

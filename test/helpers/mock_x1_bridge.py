"""The bridge as a process of its own whose mock does as its standard input says: ``silent left_arm``, ``refuse left_arm``, ``well``.

``measure FILE`` writes down, as JSON, what the mock was told.
"""

import json
import sys
import threading
from pathlib import Path

import numpy as np

from lawam_ros.control.limiter import stacked_limits
from lawam_ros.nodes import x1_back_ends, x1_bridge
from lawam_ros.sim.x1_mock import MockX1


def obey(mock, robot, order, value=""):
    if order == "silent":
        mock.silent.add(value)
    elif order == "refuse":
        mock.refusing.add(value)
    elif order == "well":
        mock.silent.clear()
        mock.refusing.clear()
    elif order == "measure":
        Path(value).write_text(json.dumps(told(mock, robot)), encoding="utf-8")
    else:
        raise ValueError(order)


def told(mock, robot):
    """velocity: largest share of its limit that a joint needed between two commands; last_step_rad: between the last two."""
    limits = stacked_limits([arm.limits for arm in robot.arms])
    shares, last_steps = [], []
    for arm in robot.arms:
        own = [(at_s, row) for at_s, name, row in list(mock.commands) if name == f"{arm.name}_arm"]
        rows = np.stack([row for _, row in own])
        # A cycle that this machine held up may carry the set-point of the next one.
        periods = np.maximum(1.0, np.ceil(np.diff([at_s for at_s, _ in own]) * robot.bridge.rate_hz - 0.1))[:, None]
        per_period = np.abs(np.diff(rows, axis=0)) / periods * robot.bridge.rate_hz
        shares.append(float((per_period / limits.velocity_rad_s[robot.joint_slice(arm.name)]).max()))
        last_steps.append(float(np.abs(rows[-1] - rows[-2]).max()))
    return {"velocity": max(shares), "last_step_rad": max(last_steps), "commands": len(mock.commands)}


def listened(robot, *arguments):
    mock = MockX1(robot, *arguments)

    def listen():
        for line in sys.stdin:
            obey(mock, robot, *line.split())

    threading.Thread(target=listen, daemon=True).start()
    return mock


if __name__ == "__main__":
    x1_back_ends.MockX1 = listened
    sys.exit(x1_bridge.main())

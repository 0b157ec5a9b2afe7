"""What a tick of the executor gives to the outside."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import JointCommand, Pose
from lawam_ros.control.rolling_window import Window

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Status:
    """What the executor says about itself (architecture: lawam/status). Times are int ns on the executor's clock.

    hold_since_ns: since when the arm stands in HOLD; None in every other state and while it still brakes.
    initialised_from: where the commanded joints came from at the last start, ``measured`` or ``command``; empty before.
    """

    state: str
    reason: str
    hold_since_ns: int | None
    epoch: int
    epoch_stamp_ns: int
    instruction: str
    initialised_from: str
    accepted_sequence: int | None
    judged_stamp_ns: int | None
    rejected: int
    rejected_reason: str


@dataclass(frozen=True)
class TickOutput:
    """command: set-point after all limits (None while inactive and nothing was measured yet). repeated: the tick came too early to move on,
    the command is the previous one. poses_at: arm -> TCP pose in its base frame, of joint positions. heard: the controller takes commands;
    none may be sent to it otherwise. window: what a trajectory controller is to be sent now, None between two windows."""

    command: JointCommand | None
    poses_at: Callable[[Array], dict[str, Pose]]
    status: Status
    counters: dict[str, int]
    repeated: bool = False
    heard: bool = True
    window: Window | None = None

    @cached_property
    def poses(self) -> dict[str, Pose]:
        """arm -> commanded TCP pose in its base frame; worked out when first asked for, since few ticks are."""
        return {} if self.command is None else self.poses_at(self.command.positions_rad)

"""What the policy node asks of a policy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.records import Observation, Subgoal

if TYPE_CHECKING:
    from lawam_ros.policies.committed import Committed

Array = NDArray[np.float64]

Reference = Mapping[str, Array]
"""Arm name -> commanded row (8,) ``x y z qx qy qz qw gripper`` at the observation's time, in the arm's base frame (m, quaternion, m)."""


@dataclass(frozen=True)
class Inference:
    """What came out of one look: action vectors (N, D) in the policy's own space, the subgoal if there is one, milliseconds per stage.

    committed_steps: delay the chunk was conditioned on, 0 for none. exact_prefix: those steps were set as a trained model has them, so that
    the chunk fits no later use; a guided one fits later ones too, only less well.
    """

    actions: Array
    subgoal: Subgoal | None = None
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    committed_steps: int = 0
    exact_prefix: bool = False


def prefix_kind(inference: Inference) -> str:
    """``none``, ``guided`` or ``trained``: what the chunk was conditioned on, in one word."""
    return "none" if not inference.committed_steps else "trained" if inference.exact_prefix else "guided"


@dataclass(frozen=True)
class Targets:
    """Absolute targets (N, len(components)) at time_from_start_s (N,) after the observation."""

    components: tuple[str, ...]
    values: Array
    time_from_start_s: Array


class Policy(Protocol):
    """A policy looks (slow, no robot state but the observation) and then places what it saw (fast, on the commanded pose).

    The two steps are apart so that waiting for the commanded pose of the observation's instant costs no latency.
    """

    description: str

    def warm_up(self) -> None:
        """First inference on made-up input, so that the first real one is not slow."""

    def look(self, observation: Observation, seed: int, committed: "Committed | None" = None) -> Inference:
        """One inference. ``seed`` fixes the noise. committed: what the chunk has to continue; a policy that cannot ignores it."""

    def place(self, inference: Inference, reference: Reference) -> Targets:
        """Action vectors as absolute targets."""

"""How a demonstration starts: at home, somewhere else, or in the middle of the task after the hand was carried off.

A policy trained on clean demonstrations only has never seen its own small errors. Noise on the commands while recording would put that
noise into the labels. So all disturbance happens *before the first recorded frame*: the expert works for a while unrecorded, the target is
pulled away (at times with the gripper opened or closed), everything comes to rest, and recording starts there. Or a policy works, and the
expert takes over in motion, from the very situations its errors lead to; or only where the policy had time enough and is not done. Every
recorded row is what the expert really wants.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake

Array = NDArray[np.float64]

HOME, ELSEWHERE, RECOVERY, POLICY, STUCK = "home", "elsewhere", "recovery", "policy", "stuck"
NOISE_LEVELS = ("none", "recovery", "policy", "stuck")
TAKEN_OVER = (POLICY, STUCK)
"""Noise levels, and kinds of start, in which a policy works first."""
DONE_ALREADY = "the policy had done the task before the expert took over"
"""Why there is no demonstration from a start of kind stuck."""

_ELSEWHERE_LOW_M = np.array([-0.10, -0.12, -0.20])
_ELSEWHERE_HIGH_M = np.array([0.12, 0.12, 0.08])
_LONGEST_WORK_S = 5.5
_LONGEST_POLICY_S = 15.0
_SHORTEST_POLICY_S = 0.5
_ENOUGH_S = 8.0
_SMALL_PULL_M, _LARGE_PULL_M = 0.02, 0.07
_STREAM = 77


@dataclass(frozen=True)
class Pull:
    """What happens to one hand before recording.

    offset_m, turn_rad: where the TCP goes from home (elsewhere) or from where the work stopped (recovery), in the arm's base frame; the
    turn is a rotation vector. flip_gripper: opened if closed and the reverse.
    """

    offset_m: Array
    turn_rad: Array
    flip_gripper: bool


@dataclass(frozen=True)
class Start:
    """kind: home, elsewhere, recovery, policy or stuck. work_s: unrecorded time of the expert (recovery) or of a policy (policy, stuck).
    pulls: one per hand for elsewhere and recovery, else none."""

    kind: str
    work_s: float = 0.0
    pulls: tuple[Pull, ...] = ()


def draw_start(noise: str, seed: int, hands: int = 1, policy_s: tuple[float, float] | None = None) -> Start:
    """Start of the demonstration with this seed. ``none``: always home. ``recovery``: 25 % home, 25 % elsewhere, 50 % recovery.

    Half of the recoveries are small pulls (about 2 cm), half large (about 7 cm), since a policy's own errors are mostly small; one in four
    flips the gripper. ``policy``: a policy works for 0.5 to 15 s, and the expert takes over where it has got to. ``stuck``: for 8 to 15 s,
    and where it has done the task by then, there is no demonstration. policy_s: shortest and longest time that a policy works, instead.
    """
    if noise not in NOISE_LEVELS:
        raise UserMistake(f"expected a noise level of {', '.join(NOISE_LEVELS)}, got {noise!r}")
    random = np.random.default_rng([seed, _STREAM])
    if noise in TAKEN_OVER:
        usual = (_ENOUGH_S if noise == STUCK else _SHORTEST_POLICY_S, _LONGEST_POLICY_S)
        return Start(noise, float(random.uniform(*(policy_s or usual))))
    kind = HOME if noise == "none" else str(random.choice([HOME, ELSEWHERE, RECOVERY], p=[0.25, 0.25, 0.5]))
    if kind == HOME:
        return Start(HOME)
    moves = [_draw_move(kind, random) for _ in range(hands)]
    work_s = float(random.uniform(0.3, _LONGEST_WORK_S)) if kind == RECOVERY else 0.0
    return Start(kind, work_s, tuple(Pull(offset, turn, bool(random.random() < 0.25)) for offset, turn in moves))


def _draw_move(kind: str, random: np.random.Generator) -> tuple[Array, Array]:
    """Offset (m) and turn (rotation vector) of one hand."""
    turn = np.array([*random.normal(0.0, 0.05, 2), random.normal(0.0, 0.25)])
    if kind == ELSEWHERE:
        return random.uniform(_ELSEWHERE_LOW_M, _ELSEWHERE_HIGH_M), turn
    scale = _SMALL_PULL_M if random.random() < 0.5 else _LARGE_PULL_M
    return random.normal(0.0, scale, 3) * np.array([1.0, 1.0, 0.7]), turn * 0.5

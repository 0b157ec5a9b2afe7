"""Golden cases of the action ensemble."""

from typing import Any

import numpy as np

from lawam_ros.control.ensemble import EnsembleRules, ensemble
from lawam_ros.model.parity import ARITHMETIC, GoldenCase, ParityRow, compare
from lawam_ros.model.robotwin_normalisation import GRIPPER_THRESHOLD


def compare_ensemble(case: GoldenCase) -> list[ParityRow]:
    """Replay of every recorded sequence of queries: a new chunk every ``replan_steps`` steps."""
    return [_compare(case, name, settings) for name, settings in case.setting("cases").items()]


def _compare(case: GoldenCase, name: str, settings: dict[str, Any]) -> ParityRow:
    chunks = list(case.tensor(f"ensemble/{name}/chunks").numpy())
    every = int(settings["replan_steps"])
    starts = [every * query for query in range(len(chunks))]
    rules = EnsembleRules(
        alpha=float(settings["alpha"]),
        binary_dims=tuple(settings.get("binary_indices", ())),
        binary_threshold=float(settings.get("binary_threshold", GRIPPER_THRESHOLD)),
        quaternions=tuple(map(tuple, settings.get("quaternion_groups", ()))),
    )
    executed = [ensemble(chunks[: query + 1], starts[: query + 1], starts[query], every, rules) for query in range(len(chunks))]
    return compare(f"ensemble/{name}/executed", case.tensor(f"ensemble/{name}/executed"), np.stack(executed), ARITHMETIC)

"""States and action chunks of a whole dataset in raw units, whatever columns they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.data.lerobot_reader import LeRobotDataset
from lawam_ros.training.data_spec import ColumnPart, DataSpec
from lawam_ros.training.demonstrations import read_table
from lawam_ros.training.samples import Indices, build_chunks, dataset_statistics, normalise, vector_statistics

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Vectors:
    """Of F frames: actions (F, n, D), state (F, S), both raw, and the number of the episode (F,). action_modes, state_modes: normalisation
    per dimension. statistics: entry of ``dataset_statistics.json``."""

    actions: Floats
    state: Floats
    episode: Indices
    action_modes: tuple[str, ...]
    state_modes: tuple[str, ...]
    statistics: dict[str, Any]

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def last_row(self) -> Indices:
        """(F,) index of the last frame of each frame's episode."""
        return np.searchsorted(self.episode, self.episode, side="right") - 1

    def ahead(self, frames: int) -> Indices:
        """(F,) rows that many frames later, clamped to the episode."""
        return np.minimum(np.arange(len(self)) + frames, self.last_row)


def read_vectors(dataset: LeRobotDataset, spec: DataSpec, horizon_s: float) -> Vectors:
    """Chunks of int(horizon_s * fps) rows starting at every frame. Raises UserMistake where columns are missing or hold NaN."""
    steps = int(horizon_s * dataset.fps)
    if spec.contract is not None:
        return _from_contract(dataset, spec, steps)
    episode = np.repeat(np.arange(len(dataset)), [entry.length for entry in dataset.episodes])
    state, state_modes = _columns(dataset, spec.state, len(episode))
    action, action_modes = _columns(dataset, spec.action, len(episode))
    last = np.searchsorted(episode, episode, side="right") - 1
    rows = np.arange(len(episode))[:, None] + np.arange(steps)[None]
    beyond = rows > last[:, None]
    chunks = action[np.minimum(rows, last[:, None])]
    relative = np.array([not part.absolute for part in spec.action for _ in range(_width(dataset, part))], dtype=bool)
    chunks[beyond[..., None] & relative] = 0.0
    entry = {
        "action": vector_statistics(action) | {"mask": [mode != "binary" for mode in action_modes]} if action_modes else _nothing(),
        "state": vector_statistics(state) if state_modes else _nothing(),
        "num_transitions": len(episode),
        "num_trajectories": len(dataset),
    }
    return Vectors(chunks, state, episode, action_modes, state_modes, entry)


def normalised(values: NDArray[Any], statistics: dict[str, Any], modes: Sequence[str]) -> Floats:
    """(..., D) by the mode of each dimension: min_max unclipped, q99 clipped to -1..1, binary to 0 or 1, raw as it is."""
    if not modes:
        return np.asarray(values, dtype=np.float32)
    by_mode = {
        "min_max": lambda: normalise(values, statistics),
        "q99": lambda: _quantile(values, statistics),
        "binary": lambda: (np.asarray(values) > 0.5).astype(np.float32),
        "raw": lambda: np.asarray(values, dtype=np.float32),
    }
    out = np.empty(np.shape(values), dtype=np.float32)
    for mode in set(modes):
        where = np.array([own == mode for own in modes])
        out[..., where] = by_mode[mode]()[..., where]
    return out


def merged_statistics(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of several datasets of one embodiment: extremes of extremes and quantiles, weighted mean and variance."""
    weights = np.array([entry["num_transitions"] for entry in entries], dtype=float)
    merged: dict[str, Any] = {
        "num_transitions": int(weights.sum()),
        "num_trajectories": sum(entry["num_trajectories"] for entry in entries),
    }
    for kind in ("action", "state"):
        widths = {len(entry[kind]["mean"]) for entry in entries}
        if len(widths) != 1:
            raise UserMistake(
                f"expected datasets of one embodiment to have {kind}s of one width, got {sorted(widths)}; give them own embodiments"
            )
        columns = {name: np.array([entry[kind][name] for entry in entries]) for name in ("min", "max", "q01", "q99", "mean", "std")}
        share = (weights / weights.sum())[:, None]
        mean = (share * columns["mean"]).sum(0)
        variance = (share * (columns["std"] ** 2 + columns["mean"] ** 2)).sum(0) - mean**2
        named = {
            "mean": mean,
            "std": np.sqrt(np.maximum(variance, 0.0)),
            "min": columns["min"].min(0),
            "max": columns["max"].max(0),
            "q01": columns["q01"].min(0),
            "q99": columns["q99"].max(0),
        }
        merged[kind] = {name: values.tolist() for name, values in named.items()}
    merged["action"]["mask"] = entries[0]["action"].get("mask", [True] * len(merged["action"]["mean"]))
    return merged


def _from_contract(dataset: LeRobotDataset, spec: DataSpec, steps: int) -> Vectors:
    assert spec.contract is not None
    policy = spec.contract.task.policy
    if policy.steps != steps:
        raise UserMistake(
            f"{dataset.root}: expected the model's horizon to give the task's {policy.steps} steps, got {steps}; "
            "train a model whose horizon_sec is the task's horizon_s"
        )
    table = read_table(dataset, policy, len(spec.contract.robot.arms))
    chunks = build_chunks(table, steps, policy.action)
    statistics = dataset_statistics(chunks, len(dataset), spec.embodiment_tag, policy.action)[spec.embodiment_tag]
    widths = (chunks.actions.shape[-1], chunks.state.shape[-1])
    return Vectors(chunks.actions, chunks.state, table.episode, ("min_max",) * widths[0], ("min_max",) * widths[1], statistics)


def _columns(dataset: LeRobotDataset, parts: Sequence[ColumnPart], frames: int) -> tuple[Floats, tuple[str, ...]]:
    values: list[Floats] = []
    modes: list[str] = []
    for part in parts:
        if part.column not in dataset.features:
            raise UserMistake(f"{dataset.root}: expected the column {part.column}, the dataset has {', '.join(dataset.features)}")
        column = np.asarray(dataset.column(part.column), dtype=np.float32).reshape(frames, -1)[:, part.start : part.end]
        if not np.all(np.isfinite(column)):
            raise UserMistake(f"{dataset.root}: {part.column} holds NaN or infinity; record the dataset again")
        values.append(column)
        modes += [part.mode] * column.shape[1]
    return np.concatenate(values, axis=1) if values else np.zeros((frames, 0), np.float32), tuple(modes)


def _width(dataset: LeRobotDataset, part: ColumnPart) -> int:
    total = int(np.prod(dataset.features[part.column]["shape"]))
    return len(range(total)[part.start : part.end])


def _quantile(values: NDArray[Any], statistics: dict[str, Any]) -> Floats:
    low, high = np.asarray(statistics["q01"], dtype=float), np.asarray(statistics["q99"], dtype=float)
    width = high - low
    scaled = np.clip(2.0 * (values - low) / np.where(width > 0.0, width, 1.0) - 1.0, -1.0, 1.0)
    return np.where(width > 0.0, scaled, values).astype(np.float32)


def _nothing() -> dict[str, list[float]]:
    return {name: [] for name in ("mean", "std", "min", "max", "q01", "q99", "mask")}

"""Robot units to the model's units and back, float32, by the statistics of a dataset."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake

Vector = NDArray[np.float32]
MODES = ("min_max", "q99", "binary", "mean_std", "scale")
BINARY_THRESHOLD = 0.5


@dataclass(frozen=True)
class Statistics:
    """Per-dimension statistics of one quantity; every field (D,) or None when the file lacks it. mask is False for binary dimensions."""

    minimum: Vector | None
    maximum: Vector | None
    q01: Vector | None
    q99: Vector | None
    mean: Vector | None
    std: Vector | None
    mask: NDArray[np.bool_]

    @property
    def size(self) -> int:
        return len(self.mask)

    def bounds(self, mode: str | None = None) -> tuple[Vector, Vector]:
        """Lower and upper bound: of ``min_max`` or ``q99``, by default extremes if there are any, quantiles otherwise."""
        if mode is None:
            mode = "min_max" if self.minimum is not None else "q99"
        low, high = (self.minimum, self.maximum) if mode == "min_max" else (self.q01, self.q99)
        if low is None or high is None:
            raise UserMistake(
                f"dataset statistics: {'min and max' if mode == 'min_max' else 'q01 and q99'} are missing, needed for mode {mode}"
            )
        return low, high


@dataclass(frozen=True)
class DatasetStatistics:
    """Statistics of actions and states of one embodiment tag; state is None where the dataset has none."""

    tag: str
    action: Statistics
    state: Statistics | None


def load_statistics(path: Path) -> dict[str, DatasetStatistics]:
    """``dataset_statistics.json``: tag -> statistics. UserMistake for a missing file, NaN, or vectors of different length."""
    if not path.is_file():
        raise UserMistake(
            f"expected dataset statistics in {path}, found no file; a checkpoint folder needs config.yaml and dataset_statistics.json"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserMistake(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict) or not content or not all(isinstance(entry, dict) for entry in content.values()):
        raise UserMistake(f"{path}: expected statistics per embodiment tag, got {type(content).__name__} without any")
    return {tag: statistics_from_mapping(tag, entry, str(path)) for tag, entry in content.items()}


def statistics_from_mapping(tag: str, entry: Mapping[str, Any], where: str) -> DatasetStatistics:
    if "action" not in entry:
        raise UserMistake(f"{where}: tag '{tag}' has no action statistics")
    state = entry.get("state")
    return DatasetStatistics(
        tag=tag,
        action=_statistics(entry["action"], f"{where}: {tag}.action"),
        state=_statistics(state, f"{where}: {tag}.state") if state else None,
    )


def _statistics(entry: Mapping[str, Any], where: str) -> Statistics:
    vectors: dict[str, Vector | None] = {}
    sizes = {}
    for key in ("min", "max", "q01", "q99", "mean", "std"):
        vector = None if entry.get(key) is None else _vector(entry[key], f"{where}.{key}")
        if vector is not None:
            sizes[key] = len(vector)
            if not np.all(np.isfinite(vector)):
                raise UserMistake(f"{where}.{key}: expected finite numbers, got NaN or infinity; compute the statistics again")
        vectors[key] = vector
    if not sizes:
        raise UserMistake(f"{where}: expected min and max or q01 and q99, found neither")
    size = next(iter(sizes.values()))
    mask = np.asarray(entry.get("mask", [True] * size), dtype=bool)
    if set(sizes.values()) != {size} or mask.shape != (size,):
        raise UserMistake(f"{where}: expected vectors of one length, got {sizes} and a mask of {mask.size}")
    for low, high in (("min", "max"), ("q01", "q99")):
        lower, upper = vectors[low], vectors[high]
        if lower is not None and upper is not None and np.any(upper < lower):
            dim = int(np.flatnonzero(upper < lower)[0])
            raise UserMistake(
                f"{where}: expected {low} <= {high}, got {low} {lower[dim]:g} and {high} {upper[dim]:g} at dimension {dim}; "
                "compute the statistics again"
            )
    return Statistics(vectors["min"], vectors["max"], vectors["q01"], vectors["q99"], vectors["mean"], vectors["std"], mask)


def _vector(values: Any, where: str) -> Vector:
    try:
        return np.asarray(values, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError) as error:
        raise UserMistake(f"{where}: expected a list of numbers, got {values!r}; compute the statistics again") from error


def pick_statistics(statistics: Mapping[str, DatasetStatistics], tag: str | None) -> DatasetStatistics:
    """Entry of a tag; without a tag the only one there is."""
    if tag is None:
        if len(statistics) == 1:
            return next(iter(statistics.values()))
        raise UserMistake(f"the checkpoint has statistics for {', '.join(statistics)}; say which one to use")
    if tag not in statistics:
        raise UserMistake(f"the checkpoint has statistics for {', '.join(statistics) or 'nothing'}, not for embodiment '{tag}'")
    return statistics[tag]


def normalise(raw: NDArray[np.floating], statistics: Statistics, modes: Sequence[str] | str, threshold: float = BINARY_THRESHOLD) -> Vector:
    """Training targets and states: raw (..., D) by one mode, or one mode per dimension.

    min_max: to -1..1, constant dimensions give 0, values outside are not clipped. q99: by quantiles, clipped to -1..1, constant dimensions
    unchanged. binary: 1 above the threshold, else 0. mean_std: standard score, constant dimensions unchanged. scale: divided by the largest
    magnitude, 0 where that is 0.
    """
    raw = np.asarray(raw, dtype=np.float32)
    result = raw.copy()
    for mode, dims in _groups(modes, raw.shape[-1]).items():
        result[..., dims] = _NORMALISE[mode](raw[..., dims], statistics, dims, threshold)
    return result


def denormalise(normalised: NDArray[np.floating], statistics: Statistics, modes: Sequence[str] | str) -> Vector:
    """Inverse of :func:`normalise` without clipping; binary dimensions are returned as they are."""
    normalised = np.asarray(normalised, dtype=np.float32)
    result = normalised.copy()
    for mode, dims in _groups(modes, normalised.shape[-1]).items():
        values = normalised[..., dims]
        if mode in ("min_max", "q99"):
            low, high = (bound[dims] for bound in statistics.bounds(mode))
            result[..., dims] = (values + 1) / 2 * (high - low) + low
        elif mode == "mean_std":
            mean, std = _moments(statistics, dims)
            result[..., dims] = values * std + mean
        elif mode == "scale":
            result[..., dims] = values * _magnitude(statistics, dims)
    return result


def normalise_state(raw: NDArray[np.floating], statistics: Statistics, mode: str | None = None) -> Vector:
    """State at inference: to -1..1 by the bounds, clipped, 0 where the bounds coincide."""
    raw = np.asarray(raw, dtype=np.float32)
    if raw.shape[-1] != statistics.size:
        raise UserMistake(f"expected a state of {statistics.size} numbers as in the checkpoint's statistics, got {raw.shape[-1]}")
    if not np.all(np.isfinite(raw)):
        raise UserMistake("expected a finite robot state, got NaN or infinity")
    low, high = statistics.bounds(mode)
    span = high - low
    constant = np.abs(span) <= 1e-12
    scaled = 2.0 * (raw - low) / np.where(constant, 1.0, span) - 1.0
    return np.where(constant, 0.0, np.clip(scaled, -1.0, 1.0)).astype(np.float32)


def denormalise_actions(
    normalised: NDArray[np.floating],
    statistics: Statistics,
    mode: str | None = None,
    snap_dims: Sequence[int] = (),
    threshold: float = BINARY_THRESHOLD,
) -> Vector:
    """Actions at inference: the first D dimensions, clipped to -1..1, in robot units; unmasked dimensions stay normalised.

    snap_dims: dimensions first set to 0 (below threshold) or 1. UserMistake for numbers that are not finite.
    """
    if normalised.shape[-1] < statistics.size:
        raise UserMistake(f"expected actions of at least {statistics.size} dimensions, got {normalised.shape[-1]}")
    values = np.asarray(normalised[..., : statistics.size], dtype=np.float32)
    if not np.all(np.isfinite(values)):
        raise UserMistake("the model returned actions that are not finite; the checkpoint or the input is broken")
    values = np.clip(values, -1.0, 1.0)
    for dim in snap_dims:
        values[..., dim] = np.where(values[..., dim] < threshold, 0.0, 1.0)
    low, high = statistics.bounds(mode)
    scaled = np.float32(0.5) * (values + 1) * (high - low) + low
    return np.where(statistics.mask, scaled, values).astype(np.float32)


def _groups(modes: Sequence[str] | str, size: int) -> dict[str, NDArray[np.intp]]:
    per_dimension = [modes] * size if isinstance(modes, str) else list(modes)
    if len(per_dimension) != size or not set(per_dimension) <= set(MODES):
        raise UserMistake(f"expected {size} normalisation modes out of {', '.join(MODES)}, got {per_dimension}")
    return {mode: np.flatnonzero([name == mode for name in per_dimension]) for mode in dict.fromkeys(per_dimension)}


def _moments(statistics: Statistics, dims: NDArray[np.intp]) -> tuple[Vector, Vector]:
    if statistics.mean is None or statistics.std is None:
        raise UserMistake("dataset statistics: mean and std are missing, needed for mode mean_std")
    return statistics.mean[dims], statistics.std[dims]


def _min_max(raw: Vector, statistics: Statistics, dims: NDArray[np.intp], threshold: float) -> Vector:
    low, high = (bound[dims] for bound in statistics.bounds("min_max"))
    constant = low == high
    return np.where(constant, np.float32(0), 2 * (raw - low) / np.where(constant, np.float32(1), high - low) - 1)


def _q99(raw: Vector, statistics: Statistics, dims: NDArray[np.intp], threshold: float) -> Vector:
    low, high = (bound[dims] for bound in statistics.bounds("q99"))
    constant = low == high
    scaled = 2 * (raw - low) / np.where(constant, np.float32(1), high - low) - 1
    return np.clip(np.where(constant, raw, scaled), -1.0, 1.0)


def _binary(raw: Vector, statistics: Statistics, dims: NDArray[np.intp], threshold: float) -> Vector:
    return (raw > threshold).astype(np.float32)


def _mean_std(raw: Vector, statistics: Statistics, dims: NDArray[np.intp], threshold: float) -> Vector:
    mean, std = _moments(statistics, dims)
    return np.where(std == 0, raw, (raw - mean) / np.where(std == 0, np.float32(1), std))


def _magnitude(statistics: Statistics, dims: NDArray[np.intp]) -> Vector:
    low, high = (bound[dims] for bound in statistics.bounds("min_max"))
    return np.maximum(np.abs(low), np.abs(high))


def _scale(raw: Vector, statistics: Statistics, dims: NDArray[np.intp], threshold: float) -> Vector:
    magnitude = _magnitude(statistics, dims)
    return np.where(magnitude == 0, np.float32(0), raw / np.where(magnitude == 0, np.float32(1), magnitude))


_NORMALISE = {"min_max": _min_max, "q99": _q99, "binary": _binary, "mean_std": _mean_std, "scale": _scale}

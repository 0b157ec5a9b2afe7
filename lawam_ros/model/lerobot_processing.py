"""What a LeRobot-format checkpoint says about its inputs and outputs: names, rate, normalisation, and the steps after the model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.normalisation import Vector

NORMALISATIONS = ("IDENTITY", "MIN_MAX", "MEAN_STD", "QUANTILES", "QUANTILE10")
_BOUNDS = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}


@dataclass(frozen=True)
class FeatureScale:
    """Normalisation of one feature by LeRobot's rule: no clipping, no mask. statistics: name -> (D,)."""

    feature: str
    mode: str
    statistics: Mapping[str, Vector]
    epsilon: float = 1e-8

    def normalise(self, raw: NDArray[np.floating]) -> Vector:
        """Robot units (..., D) to the model's."""
        if self.mode == "IDENTITY":
            return np.asarray(raw, np.float32)
        if self.mode == "MEAN_STD":
            return ((raw - self._of("mean")) / (self._of("std") + self.epsilon)).astype(np.float32)
        low, span = self._low_and_span()
        return (2.0 * (raw - low) / span - 1.0).astype(np.float32)

    def denormalise(self, normalised: NDArray[np.floating]) -> Vector:
        """The model's units (..., D) to the robot's."""
        if self.mode == "IDENTITY":
            return np.asarray(normalised, np.float32)
        if self.mode == "MEAN_STD":
            return (normalised * self._of("std") + self._of("mean")).astype(np.float32)
        low, span = self._low_and_span()
        return ((normalised + 1.0) / 2.0 * span + low).astype(np.float32)

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of the statistics the mode reads."""
        return ("mean", "std") if self.mode == "MEAN_STD" else _BOUNDS.get(self.mode, ())

    @property
    def size(self) -> int:
        """Dimensions D of the feature, 0 where no statistics say it."""
        return next((len(self.statistics[name]) for name in (*self.needed, "min", "mean") if name in self.statistics), 0)

    def check(self, where: str) -> None:
        """UserMistake for an unknown mode, and for statistics it reads that are missing, not finite, of different length or reversed."""
        if self.mode not in NORMALISATIONS:
            raise UserMistake(f"{where}: {self.feature}: expected a normalisation out of {', '.join(NORMALISATIONS)}, got {self.mode!r}")
        needed = self.needed
        missing = [name for name in needed if name not in self.statistics]
        if missing:
            raise UserMistake(f"{where}: statistics {', '.join(f'{self.feature}.{name}' for name in missing)} are missing ({self.mode})")
        for name in needed:
            if not np.all(np.isfinite(self.statistics[name])):
                raise UserMistake(f"{where}: {self.feature}.{name}: expected finite numbers, got NaN or infinity")
        if len({self.statistics[name].shape for name in needed}) > 1:
            raise UserMistake(f"{where}: {self.feature}: expected statistics of one length")
        if self.mode in _BOUNDS:
            low, high = needed
            reversed_dims = np.flatnonzero(self.statistics[high] < self.statistics[low])
            if reversed_dims.size:
                raise UserMistake(
                    f"{where}: {self.feature}: expected {low} <= {high}, dimension {reversed_dims[0]} has it the other way round"
                )

    def _of(self, name: str) -> Vector:
        return self.statistics[name]

    def _low_and_span(self) -> tuple[Vector, Vector]:
        low, high = (self._of(name) for name in _BOUNDS[self.mode])
        span = high - low
        return low, np.where(span == 0, np.float32(self.epsilon), span)


@dataclass(frozen=True)
class OutputStep:
    """One step on the actions: ``clip``, ``snap`` (0 or 1), ``denormalise`` or ``binarise`` (-1 or 1); dim and threshold of the middle."""

    kind: str
    dim: int = 0
    threshold: float = 0.5


@dataclass(frozen=True)
class LeRobotProcessing:
    """Fixed inputs and outputs of one folder: one rate, one embodiment, one camera layout.

    primary_cameras, wrist_cameras: LeRobot feature names in prompt order. subgoal_view: which primary camera the subgoal is predicted for.
    state is None where the model uses none. action_size: dimensions the robot has. training_rows: rows of a training target, padding
    included.
    """

    action_hz: float
    embodiment_id: int
    primary_cameras: tuple[str, ...]
    wrist_cameras: tuple[str, ...]
    subgoal_view: int
    default_task: str
    action: FeatureScale
    state: FeatureScale | None
    action_size: int
    training_rows: int
    input_snaps: tuple[OutputStep, ...]
    output_steps: tuple[OutputStep, ...]

    def actions(self, normalised: NDArray[np.floating]) -> Vector:
        """Model output (..., at least D) to robot units (..., D) by the listed steps; binarised dimensions are -1 or 1.

        UserMistake for numbers that are not finite.
        """
        values = np.array(normalised[..., : self.action_size], dtype=np.float32)
        if not np.all(np.isfinite(values)):
            raise UserMistake("the model returned actions that are not finite; the checkpoint or the input is broken")
        for step in self.output_steps:
            if step.kind == "clip":
                values = np.clip(values, -1.0, 1.0)
            elif step.kind == "denormalise":
                values = self.action.denormalise(values)
            elif step.kind == "snap":
                values[..., step.dim] = values[..., step.dim] >= step.threshold
            else:
                values[..., step.dim] = np.where(values[..., step.dim] > step.threshold, 1.0, -1.0)
        return values

    def training_targets(self, raw: NDArray[np.floating]) -> Vector:
        """Actions (..., D) in robot units to what the model was trained on."""
        values = self.action.normalise(raw)
        for step in self.input_snaps:
            values[..., step.dim] = values[..., step.dim] >= step.threshold
        return values

    def states(self, raw: NDArray[np.floating]) -> Vector:
        """State (D,) in robot units to the model's. UserMistake for a wrong length and numbers that are not finite."""
        if self.state is None:
            raise UserMistake("this checkpoint uses no robot state")
        raw = np.asarray(raw, dtype=np.float32)
        if self.state.size not in (0, raw.shape[-1]):
            raise UserMistake(f"expected a state of {self.state.size} numbers as in the checkpoint's statistics, got {raw.shape[-1]}")
        if not np.all(np.isfinite(raw)):
            raise UserMistake("expected a finite robot state, got NaN or infinity")
        return self.state.normalise(raw)

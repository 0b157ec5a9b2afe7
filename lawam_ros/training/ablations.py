"""What LaWAM is made of, left out piece by piece: trainings that differ in one setting, and trials that differ in the subgoal alone."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """settings: keys of the ``action_model`` section of the model file. subgoals: what the action expert reads in trials, one of SUBGOALS.
    weights: the variant whose weights it tries; its own where empty."""

    name: str
    meaning: str
    settings: dict[str, Any] = field(default_factory=dict)
    subgoals: str = "predicted"
    weights: str = ""

    @property
    def trained_as(self) -> str:
        return self.weights or self.name


PREDICTED, PRESENT, OTHERS = "predicted", "present", "others"
SUBGOALS = (PREDICTED, PRESENT, OTHERS)

VARIANTS = (
    Variant("lawam", "everything"),
    Variant(
        "no_world_model",
        "no latent world model: the action expert reads the present features in place of the future ones, in training too",
        {"future_prediction": False, "enable_loss_distill": False},
    ),
    Variant("no_distillation", "the latent action is not told the teacher's", {"enable_loss_distill": False}),
    Variant("no_insulation", "the flow loss reaches the world model", {"detach_future_feature": False}),
    Variant("present_subgoal", "trained with everything, tried with the present features as subgoal", subgoals=PRESENT, weights="lawam"),
    Variant("others_subgoal", "trained with everything, tried with subgoals of another episode", subgoals=OTHERS, weights="lawam"),
)


def trained(variants: tuple[Variant, ...] = VARIANTS) -> tuple[Variant, ...]:
    """Those that need weights of their own."""
    return tuple(variant for variant in variants if not variant.weights)

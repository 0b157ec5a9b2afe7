"""The fixed recipe of the shipped small LaWAM: every number that decides its weights, besides the sizes and loss weights in
``config/models/tiny.yaml``."""

from dataclasses import dataclass, replace

from lawam_ros.training.trainer import StageSettings

WORLD_MODEL = "world_model"
POLICY = "policy"
STAGE_ORDER = (WORLD_MODEL, POLICY)
_FURTHER_PEAK_RATE = 3e-4
_EXPERT_PEAK_RATE = 4e-4

PARAPHRASES = {
    "put the red cube on the blue pad": (
        "put the red cube on the blue pad",
        "place the red cube on the blue pad",
        "pick up the red cube and put it on the blue pad",
        "pick up the red cube and place it on the blue pad",
        "move the red cube to the blue pad",
        "take the red cube and set it down on the blue pad",
        "grasp the red cube and lay it on the blue pad",
        "bring the red cube to the blue pad",
        "set the red block on the blue square",
        "put the red block onto the blue pad",
        "carry the red cube over to the blue pad",
        "the red cube belongs on the blue pad",
        "put the cube on the pad",
        "pick up the cube and place it on the pad",
    ),
    "open the drawer": (
        "open the drawer",
        "pull the drawer open",
        "pull open the drawer",
        "open the drawer of the cabinet",
        "take the handle and open the drawer",
        "grasp the handle and pull the drawer open",
        "pull the handle of the drawer",
        "slide the drawer open",
        "open the cabinet drawer",
        "the drawer should be open",
        "get the drawer open",
        "pull out the drawer",
    ),
    "fold the towel": (
        "fold the towel",
        "fold the towel in half",
        "fold the cloth",
        "fold the cloth in half",
        "lay the far edge of the towel on the near one",
        "take the far corners and fold the towel",
        "take the towel by its corners and fold it",
        "fold the towel towards you",
        "the towel should be folded",
        "get the towel folded",
        "fold the towel once",
        "with both hands, fold the towel",
    ),
}
"""Ways to say the tasks of the recordings; training draws one per sample, so that no single token is all the language there is."""


def ways_to_say(sentence: str) -> tuple[str, ...]:
    """The sentence of a recording in other words too, itself first; an unknown one alone."""
    return PARAPHRASES.get(sentence, (sentence,))


@dataclass(frozen=True)
class TinyRecipe:
    """seed: of weights, batches and noise. stride: every how many frames a sample may start. world_model_share: part of the training time
    that goes to stage 1. validation_starts: observations the chunk errors are measured on. only_expert: nothing but the action expert is
    trained, on what the rest says of every start once."""

    seed: int = 2026
    stride: int = 3
    batch: int = 32
    world_model_batch: int = 32
    world_model_share: float = 0.08
    vocabulary: int = 576
    validation_starts: int = 128
    save_seconds: float = 150.0
    only_expert: bool = False
    world_model: StageSettings = StageSettings(
        name=WORLD_MODEL,
        steps=1500,
        seconds=None,
        peak_rate=1e-3,
        floor_ratio=0.02,
        warmup_steps=50,
        weight_decay=0.01,
        gradient_clip=1.0,
        decay=0.99,
        report_every=25,
        evaluate_every=250,
    )
    policy: StageSettings = StageSettings(
        name=POLICY,
        steps=15000,
        seconds=None,
        peak_rate=1e-3,
        floor_ratio=0.01,
        warmup_steps=100,
        weight_decay=0.01,
        gradient_clip=1.0,
        decay=0.997,
        report_every=25,
        evaluate_every=400,
    )


def further_training(only_expert: bool = False) -> TinyRecipe:
    """For a checkpoint that is trained further: no stage 1, and a lower peak of the policy's rate. The full one raised the loss of the
    shipped towel's weights from 0.034 to 0.054 within 175 steps; a short run would only mend that."""
    recipe = TinyRecipe(world_model_share=0.0, only_expert=only_expert)
    return replace(recipe, policy=replace(recipe.policy, peak_rate=_EXPERT_PEAK_RATE if only_expert else _FURTHER_PEAK_RATE))


def with_minutes(recipe: TinyRecipe, minutes: float | None) -> TinyRecipe:
    """The recipe cut to about ``minutes`` of training steps (reading the data and evaluation come on top); None keeps its full length."""
    if minutes is None:
        return recipe
    first = 60.0 * minutes * recipe.world_model_share
    return replace(
        recipe,
        world_model=replace(recipe.world_model, seconds=first),
        policy=replace(recipe.policy, seconds=60.0 * minutes - first),
    )

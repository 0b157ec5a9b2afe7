"""How one stage is trained, read from ``config/training/<name>.yaml``: the official key names, flat per stage."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.yaml_fields import Fields, load_yaml
from lawam_ros.training.freezing import FreezePolicy, freeze_policy
from lawam_ros.training.parameter_groups import GroupRule, group_rules
from lawam_ros.training.recordings import Window
from lawam_ros.training.stage1 import WorldModelOptions, world_model_options
from lawam_ros.training.trainer import StageSettings

STAGES = ("stage1", "stage2")
SCHEDULES = ("constant", "cosine_with_min_lr")


@dataclass(frozen=True)
class StageRecipe:
    """settings: of the loop. rules: learning-rate groups. spare_norms: norms and biases do not decay. freeze: of stage 2. window: frames
    of a sample, human_window: of recordings of humans. crop, colour: augmentation (stage 1: of the whole batch), dual_view: another draw
    for the decoder of stage 1. tail_ratio: share of the last episodes held back for validation; train_on_all: they are trained on
    nevertheless.
    """

    settings: StageSettings
    rules: tuple[GroupRule, ...]
    spare_norms: bool
    freeze: FreezePolicy
    world_model: WorldModelOptions
    window: Window
    human_window: Window
    crop: bool
    colour: bool
    dual_view: bool
    batch_size: int
    eval_batches: int
    save_interval: int
    tail_ratio: float
    train_on_all: bool
    save_seconds: float

    @property
    def crc(self) -> int:
        """The same for recipes that train alike, whatever their length, reports and evaluations."""
        settings = replace(self.settings, steps=0, warmup_steps=0, report_every=0, evaluate_every=0, accumulate=0)
        return zlib.crc32(repr(replace(self, settings=settings, eval_batches=0, save_interval=0, save_seconds=0.0)).encode())

    @property
    def augments(self) -> bool:
        return self.crop or self.colour

    def with_size(self, steps: int | None, batch_size: int | None, accumulate: int | None, eval_interval: int | None) -> "StageRecipe":
        """The same with other numbers from the command line; None keeps the recipe's."""
        settings = self.settings
        if steps is not None:
            settings = replace(settings, steps=steps, warmup_steps=min(settings.warmup_steps, max(1, steps // 10)))
        settings = replace(settings, accumulate=accumulate or settings.accumulate, evaluate_every=eval_interval or settings.evaluate_every)
        return replace(self, settings=settings, batch_size=batch_size or self.batch_size)


def load_recipe(name_or_path: str, stage: str) -> StageRecipe:
    """Recipe by name (a file in config/training) or path. Raises UserMistake naming a wrong key."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = config_dir() / "training" / f"{name_or_path}.yaml"
    content = load_yaml(path, "training recipe")
    if stage not in content:
        raise UserMistake(f"{path.name}: expected a section '{stage}', found {', '.join(content)}")
    return recipe_from_mapping(content[stage], stage, f"{path.name}: {stage}")


def recipe_from_mapping(content: Mapping[str, Any], stage: str, where: str) -> StageRecipe:
    fields = Fields(content, where)
    base, rules = group_rules(fields.raw("learning_rate"))
    optimiser = fields.child("optimizer")
    decays = fields.choice("lr_scheduler_type", SCHEDULES) != "constant"
    floor = fields.number("min_lr", 0.0, 10.0) if fields.has("min_lr") else 0.0
    stride = fields.integer("stride", 1, 10_000) if fields.has("stride") else 1
    first = stage == "stage1"
    betas = optimiser.vector("betas", 2)
    settings = StageSettings(
        name=stage,
        steps=fields.integer("max_train_steps", 1, 10**9),
        seconds=None,
        peak_rate=base,
        floor_ratio=floor / base if decays and base > 0.0 else 1.0,
        warmup_steps=fields.integer("num_warmup_steps", 0, 10**9),
        weight_decay=optimiser.number("weight_decay", 0.0, 10.0),
        gradient_clip=fields.number("gradient_clipping", 0.0, 1e9),
        decay=fields.number("average_decay", 0.0, 1.0) if fields.has("average_decay") else 0.0,
        report_every=fields.integer("logging_frequency", 1, 10**9),
        evaluate_every=fields.integer("eval_interval", 1, 10**9),
        accumulate=fields.integer("gradient_accumulation_steps", 1, 4096) if fields.has("gradient_accumulation_steps") else 1,
        warmup_offset=0 if fields.flag("warmup_from_zero") else 1,
        decays=decays,
        betas=(float(betas[0]), float(betas[1])),
        eps=optimiser.number("eps", 0.0, 1.0),
    )
    recipe = StageRecipe(
        settings=settings,
        rules=rules,
        spare_norms=fields.flag("exclude_bias_norm_from_wd"),
        freeze=freeze_policy(fields.raw("freeze")) if fields.has("freeze") else FreezePolicy(),
        world_model=world_model_options({key: content[key] for key in ("loss_type", "lambda_aux", "kl_beta") if key in content}),
        window=Window(stride, _seconds(fields, "frame_dt_sec") if first else None),
        human_window=Window(stride, _seconds(fields, "human_frame_dt_sec") if first else None),
        crop=fields.flag("image_aug") if first else fields.flag("enable_primary_random_resized_crop"),
        colour=fields.flag("image_aug") if first else fields.flag("enable_primary_video_aug"),
        dual_view=fields.flag("dual_view_aug") if first else False,
        batch_size=fields.integer("batch_size", 1, 10**6),
        eval_batches=fields.integer("eval_batches", 1, 10**6),
        save_interval=fields.integer("save_interval", 1, 10**9),
        tail_ratio=fields.number("val_tail_ratio", 0.0, 0.9),
        train_on_all=fields.flag("train_split_all"),
        save_seconds=fields.number("save_seconds", 0.0, 1e6) if fields.has("save_seconds") else 300.0,
    )
    for key in ("loss_type", "lambda_aux", "kl_beta"):
        fields.has(key)
    for part in (optimiser, fields):
        part.done()
    return recipe


def _seconds(fields: Fields, key: str) -> float | None:
    return None if fields.raw(key) is None else fields.number(key, 0.0, 60.0)

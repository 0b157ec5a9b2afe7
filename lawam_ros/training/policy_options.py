"""What stage 2 may do differently from run to run, read from the ``action_model`` section of a model file or checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lawam_ros.contract.yaml_fields import Fields

LATENT_LOSSES = ("mse", "cosine")
DELAY_KEY = "trained_delay_steps"
"""Key of the largest delay of trained real-time chunking in the ``action_model`` section; 0 or absent: not trained for it."""


@dataclass(frozen=True)
class ScheduledSampling:
    """The action expert sees the predicted future with a probability that ramps from ``start`` to ``end``, the true one otherwise."""

    start: float
    end: float
    ramp_steps: int

    def probability(self, step: int) -> float:
        """After ``step`` optimiser steps."""
        done = min(1.0, step / self.ramp_steps) if self.ramp_steps > 0 else 1.0
        return self.start + (self.end - self.start) * done


@dataclass(frozen=True)
class PolicyOptions:
    """Losses of stage 2 and their weights.

    perceptual: weight of predicted against true future features. distill: weight of the latent action against the teacher's, 0 where
    ``distillation`` is off. repeats: noise samples per observation. detach_future: the flow loss does not reach the world model.
    flow_only: the flow loss reaches only language states after the last action placeholder. latent_loss: "mse" or "cosine".
    scheduled: None feeds the predicted future always. max_delay_steps: largest clean prefix of trained real-time chunking, 0 none.
    noise_scale: what the checkpoint will sample with, see CheckpointFacts.
    flow_float32: the action expert computes in float32 also under autocast, as officially.
    """

    perceptual: float = 0.1
    distill: float = 1.0
    repeats: int = 4
    detach_future: bool = False
    flow_only: bool = False
    distillation: bool = True
    latent_loss: str = "mse"
    scheduled: ScheduledSampling | None = None
    max_delay_steps: int = 0
    noise_scale: float = 1.0
    flow_float32: bool = True


def policy_options(section: Mapping[str, Any], action_horizon: int) -> PolicyOptions:
    """Options of an ``action_model`` section; absent keys take the defaults of the official code.

    Raises UserMistake naming a key that is out of range.
    """
    fields = Fields(section, "action_model")
    usual = PolicyOptions()
    foresees = not fields.has("future_prediction") or fields.flag("future_prediction")

    def number(key: str, default: float, high: float) -> float:
        return fields.number(key, 0.0, high) if fields.has(key) else default

    def integer(key: str, default: int, low: int, high: int) -> int:
        return fields.integer(key, low, high) if fields.has(key) else default

    def flag(key: str, default: bool) -> bool:
        return fields.flag(key) if fields.has(key) else default

    scheduled = ScheduledSampling(
        start=number("flow_h_t1_pred_prob_start", 0.0, 1.0),
        end=number("flow_h_t1_pred_prob_end", 1.0, 1.0),
        ramp_steps=integer("flow_h_t1_pred_ramp_steps", 10_000, 0, 10**9),
    )
    return PolicyOptions(
        perceptual=number("perceptual_weight", usual.perceptual, 1e6) if foresees else 0.0,
        distill=number("lam_encoder_distill_weight", usual.distill, 1e6),
        repeats=integer("repeated_diffusion_steps", usual.repeats, 1, 1024),
        detach_future=flag("detach_future_feature", usual.detach_future),
        flow_only=flag("flow_only_mode", usual.flow_only),
        distillation=flag("enable_loss_distill", usual.distillation),
        latent_loss=fields.choice("latent_loss_type", LATENT_LOSSES) if fields.has("latent_loss_type") else usual.latent_loss,
        scheduled=scheduled if flag("enable_flow_h_t1_scheduled_sampling", False) else None,
        max_delay_steps=integer(DELAY_KEY, 0, 0, action_horizon - 1),
        noise_scale=number("noise_scale", usual.noise_scale, 1.0),
    )


def without_teacher(options: PolicyOptions) -> PolicyOptions:
    """For initial weights that lack the teacher, as shipped ones do; says so."""
    print(
        "the initial weights hold no stage-1 encoder: the latent action is trained without distillation; add a stage-1 checkpoint to --init"
    )
    return replace(options, distillation=False)

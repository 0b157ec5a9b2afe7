"""How far the small LaWAM is from the demonstrations while it trains: errors of sampled chunks on fixed observations."""

from typing import Any

import numpy as np
import torch

from lawam_ros.model.sampler import sample_actions
from lawam_ros.training.batches import policy_batch, spread_rows
from lawam_ros.training.metrics import chunk_errors
from lawam_ros.training.samples import denormalise
from lawam_ros.training.stage2 import PolicyBatch
from lawam_ros.training.tiny_run import TinyRun
from lawam_ros.training.trainer import training_context


def policy_errors(run: TinyRun) -> dict[str, float]:
    """Errors of sampled chunks on fixed observations of the validation set, and on as many of the training set. Leaves the model in
    evaluation mode."""
    model, recipe = run.model, run.recipe
    model.eval()
    figures: dict[str, float] = {}
    splits = ((run.validation, run.validation_recordings, "error"), (run.train, run.recordings, "training_error"))
    for sources, recordings, family in splits:
        errors: list[dict[str, float]] = []
        for source, recording in zip(sources, recordings, strict=True):
            starts = spread_rows(len(source.starts), max(1, recipe.validation_starts // len(sources)))
            for part in np.array_split(starts, max(1, len(starts) // 64)):
                batch = policy_batch(model.config, [source], [(0, int(start)) for start in part], run.prompts)
                errors.append(_chunk_errors(run, batch, recording.vectors.actions[source.starts[part]]))
        mean = {name: float(np.mean([e[name] for e in errors])) for name in errors[0]}
        figures |= {name.replace("error/", family + "/"): value for name, value in mean.items()}
    return figures


def _chunk_errors(run: TinyRun, batch: PolicyBatch, expected: Any) -> dict[str, float]:
    model = run.model
    assert batch.features is not None
    generator = torch.Generator().manual_seed(run.recipe.seed)
    h_t, future = batch.features.unbind(1)
    with training_context(run.bf16):
        output = model.vlm_forward(batch.prompt, batch.frames)
        predicted = model.foresee(h_t, output.z)
        context = model.flow.context(h_t, predicted, output.h_vlm, output.attention_mask)
        noise = torch.randn((len(h_t), model.config.flow.action_horizon, model.config.flow.action_dim), generator=generator)
        sampled = sample_actions(model.flow, context, noise, batch.action_hz, batch.embodiment_id, batch.state)
    statistics = run.statistics[run.contract.robot.embodiment_tag]["action"]
    steps, dims = expected.shape[1:]
    actions = denormalise(sampled[:, :steps, :dims].float().numpy(), statistics)
    errors = chunk_errors(actions, expected, tuple(sorted({max(1, steps // 4), max(1, steps // 2), steps})))
    still = (h_t - future).square().mean()
    errors["subgoal/error_over_no_motion"] = float((predicted.float() - future).square().mean() / still.clamp_min(1e-9))
    return errors

"""Stage-1 golden cases: losses of every kind, gradients, and the weight-decay split, beside the tensors compared by ``model/``."""

import math
from dataclasses import replace

import torch

from lawam_ros.model.lawam import LatentActionModel
from lawam_ros.model.parity import EXACT, HIDDEN, GoldenCase, ParityRow, compare
from lawam_ros.model.parity_stage1 import second_view, stage1_model
from lawam_ros.model.state_keys import official_key
from lawam_ros.training.freezing import train_only
from lawam_ros.training.parameter_groups import BASE, ParameterGroup, without_decay_of_norms
from lawam_ros.training.parity_gradients import tolerance
from lawam_ros.training.stage1 import WorldModelBatch, WorldModelOptions, world_model_losses

_TRAINED = ("encoder.", "vq.", "decoder.", "state_decoder.")


def compare_world_model_training(case: GoldenCase) -> list[ParityRow]:
    """Losses at the recorded noise and without noise, gradients of the total, and which parameters decay."""
    lam = stage1_model(case)
    train_only(lam, {name: p for name, p in lam.named_parameters() if name.startswith(_TRAINED)})
    frames, stored = case.tensor("inputs/frames"), case.tensors
    batch = WorldModelBatch(
        features=None,
        pair=frames,
        second_pair=second_view(case),
        state=stored["batch/states"][:, 0],
        change=stored["batch/delta_proprio"],
        state_mask=stored["batch/state_mask"][:, 0],
        embodiment_id=stored["batch/embodiment_ids"],
    )
    with torch.no_grad():
        features, second = (lam.vision_encoder(view.flatten(0, 1)).unflatten(0, view.shape[:2]) for view in (frames, second_view(case)))
    batch = replace(batch, features=features, second=second, pair=None, second_pair=None)
    options = WorldModelOptions(loss_type=str(case.settings.get("loss_type", "smooth_l1")), kl_weight=float(case.setting("kl_beta")))
    rows = _loss_rows(case, lam, batch, options)
    losses = world_model_losses(lam, batch, options, stored["lam/eps"])
    losses["total"].backward()
    return rows + _gradient_rows(case, lam) + _decay_rows(case, lam)


def _loss_rows(case: GoldenCase, lam: LatentActionModel, batch: WorldModelBatch, options: WorldModelOptions) -> list[ParityRow]:
    noise, rows = case.tensors["lam/eps"], []

    def compared(label: str, recorded: dict[str, float], options: WorldModelOptions, noise: torch.Tensor | None) -> None:
        with torch.no_grad():
            terms = world_model_losses(lam, batch, options, noise)
        named = {"total": "total", "recon_loss": "reconstruction", "state_loss": "state"}
        got = {name: float(terms[term]) for name, term in named.items()} | {"vq_loss": options.kl_weight * float(terms["divergence"])}
        for name in sorted(set(got) & set(recorded)):
            rows.append(compare(f"{label}/{name}", torch.tensor(float(recorded[name])), torch.tensor(got[name]), HIDDEN))

    compared("losses", case.setting("losses"), options, noise)
    for kind, recorded in case.settings.get("losses_for_other_loss_types_same_noise", {}).items():
        compared(f"losses/{kind}", recorded, replace(options, loss_type=kind), noise)
    compared("eval_losses", case.settings.get("eval_losses", {}), options, None)
    return rows


def _gradient_rows(case: GoldenCase, lam: LatentActionModel) -> list[ParityRow]:
    got = {official_key("lam." + name).split(".", 1)[1]: parameter.grad for name, parameter in lam.named_parameters()}
    rows = []
    for name, expected in case.settings.get("param_grad_norm", {}).items():
        gradient = got.get(name)
        if expected is None or gradient is None:
            same = expected is None and gradient is None
            rows.append(
                ParityRow(f"gradients/{name}", 0.0 if same else math.inf, EXACT, "" if same else "a gradient where none is, or none")
            )
        else:
            rows.append(ParityRow(f"gradients/{name}", abs(float(gradient.double().norm()) - expected), tolerance(expected)))
    for key in sorted(case.tensors):
        gradient = got.get(key.removeprefix("grad/")) if key.startswith("grad/") else None
        if gradient is not None:
            rows.append(compare(key, case.tensors[key], gradient, tolerance(float(case.tensors[key].abs().max()))))
    return rows


def _decay_rows(case: GoldenCase, lam: LatentActionModel) -> list[ParityRow]:
    if "optimizer_decay" not in case.settings:
        return []
    trained = {name: p for name, p in lam.named_parameters() if p.requires_grad}
    decayed: set[str] = set()
    for group in without_decay_of_norms(lam, [ParameterGroup(BASE, 1.0, trained, 1.0)]):
        if group.weight_decay:
            decayed |= {"lam." + name for name in group.parameters}
    plain = {"lam." + name for name in trained} - decayed
    rows = []
    for key, got in (("optimizer_decay", decayed), ("optimizer_no_decay", plain)):
        different = got ^ set(case.settings.get(key, got))
        rows.append(ParityRow(key, math.inf if different else 0.0, EXACT, f"differ: {sorted(different)[:3]}" if different else ""))
    return rows

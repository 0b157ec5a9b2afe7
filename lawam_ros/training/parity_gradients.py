"""Recorded gradients: norms per loss term and parameter group, norms and some whole tensors of the total."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lawam_ros.model.parity import HIDDEN, GoldenCase, ParityRow, compare
from lawam_ros.model.state_keys import official_key

FROZEN, NO_GRAPH = "frozen", "no_graph"


def gradient_rows(case: GoldenCase, model: nn.Module, losses: Mapping[str, Tensor]) -> list[ParityRow]:
    """Rows of ``gradients.<term>`` of the settings and of the tensors ``grad/*`` (of the total); losses: by their recorded names."""
    parameters = {official_key(name).split(".", 1)[1]: parameter for name, parameter in model.named_parameters()}
    trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    rows, total = [], {}
    for term, recorded in case.setting("gradients").items():
        gradients = _gradients(losses[term], trained)
        for group, expected in recorded.get("groups", {}).items():
            rows.append(_norm_row(f"gradients/{term}/{group}", expected, _group_norm(group, parameters, gradients)))
        for name, expected in recorded.get("per_parameter", {}).items():
            rows.append(_norm_row(f"gradients/{term}/{name}", expected, _group_norm(name, parameters, gradients)))
        if term == "loss_total":
            total = gradients
    for key in sorted(case.tensors):
        name = key.removeprefix("grad/")
        if key.startswith("grad/") and total.get(name) is not None:
            rows.append(compare(key, case.tensors[key], total[name], tolerance(float(case.tensors[key].abs().max()))))
    return rows


def tolerance(size: float) -> float:
    """Allowed difference of a gradient of that size: relative, with a floor for gradients that are next to nothing."""
    return HIDDEN * max(size, 0.01)


def _gradients(loss: Tensor, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor | None]:
    if not loss.requires_grad:
        return dict.fromkeys(parameters)
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
    return dict(zip(parameters, found, strict=True))


def _group_norm(group: str, parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor | None]) -> float | str:
    """Norm over all parameters called ``group`` or below it, or why there is none."""
    members = [name for name in parameters if name == group or name.startswith(group + ".")]
    if not any(name in gradients for name in members):
        return FROZEN
    squares = [float(gradient.double().square().sum()) for name in members if (gradient := gradients.get(name)) is not None]
    return math.sqrt(sum(squares)) if squares else NO_GRAPH


def _norm_row(name: str, expected: float | str | None, got: float | str) -> ParityRow:
    if expected is None:
        expected = NO_GRAPH
    if isinstance(expected, str) or isinstance(got, str):
        same = expected == got
        return ParityRow(name, 0.0 if same else float("inf"), 0.0, "" if same else f"expected {expected}, got {got}")
    return ParityRow(name, abs(expected - got), tolerance(abs(expected)))

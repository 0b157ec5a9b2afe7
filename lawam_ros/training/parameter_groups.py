"""Parameter groups of the optimiser: who learns how fast, and what decays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.model.state_keys import PREFIX
from lawam_ros.training.run_state import NamedParameters

BASE = "base"


@dataclass(frozen=True)
class GroupRule:
    """A named group: learning rate of parameters whose official names start with one of ``modules``. weight_decay, warmup_steps: None
    takes the optimiser's."""

    name: str
    rate: float
    modules: tuple[str, ...]
    weight_decay: float | None = None
    warmup_steps: int | None = None


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters of one group under their module names."""

    name: str
    rate: float
    parameters: NamedParameters
    weight_decay: float
    warmup_steps: int | None = None


def group_rules(section: Mapping[str, Any]) -> tuple[float, tuple[GroupRule, ...]]:
    """Base rate and groups of an official ``trainer.learning_rate`` section, in file order. Raises UserMistake naming a wrong key."""
    fields = Fields(section, "trainer.learning_rate")
    base = fields.number(BASE, 0.0, 10.0)
    rules = []
    for name in section:
        if name == BASE:
            continue
        group = fields.child(str(name))
        rules.append(
            GroupRule(
                name=str(name),
                rate=group.number("lr", 0.0, 10.0) if group.has("lr") else base,
                modules=group.texts("modules"),
                weight_decay=_optional_number(group, "weight_decay"),
                warmup_steps=group.integer("num_warmup_steps", 0, 10**9) if group.has("num_warmup_steps") else None,
            )
        )
        group.done()
    return base, tuple(rules)


def grouped(parameters: NamedParameters, base_rate: float, rules: Sequence[GroupRule], weight_decay: float) -> list[ParameterGroup]:
    """Groups in the order of ``rules`` and the rest as ``base``; a parameter belongs to the first group that claims it.

    Groups without parameters are left out.
    """
    rest = dict(parameters)
    groups = []
    for rule in rules:
        mine = {name: rest.pop(name) for name in list(rest) if _claims(rule, name)}
        decay = weight_decay if rule.weight_decay is None else rule.weight_decay
        groups.append(ParameterGroup(rule.name, rule.rate, mine, decay, rule.warmup_steps))
    groups.append(ParameterGroup(BASE, base_rate, rest, weight_decay))
    return [group for group in groups if group.parameters]


def without_decay_of_norms(model: nn.Module, groups: Sequence[ParameterGroup]) -> list[ParameterGroup]:
    """Each group split in two, the second without weight decay: parameters of norms and those called ``b`` or ending in ``bias``."""
    norms = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, nn.LayerNorm | nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.RMSNorm)
        for name, _ in module.named_parameters(recurse=False)
    }
    split = []
    for group in groups:
        plain = {name: p for name, p in group.parameters.items() if name in norms or _is_bias(name)}
        decayed = {name: p for name, p in group.parameters.items() if name not in plain}
        split.append(ParameterGroup(group.name, group.rate, decayed, group.weight_decay, group.warmup_steps))
        split.append(ParameterGroup(group.name, group.rate, plain, 0.0, group.warmup_steps))
    return [group for group in split if group.parameters]


def matrices_decay(parameters: NamedParameters, rate: float, weight_decay: float) -> list[ParameterGroup]:
    """One rate for all; decay on matrices only, so that norms, biases, queries and tables of one dimension are left alone."""
    matrices = {name: p for name, p in parameters.items() if p.ndim >= 2}
    others = {name: p for name, p in parameters.items() if p.ndim < 2}
    groups = [ParameterGroup(BASE, rate, matrices, weight_decay), ParameterGroup(BASE, rate, others, 0.0)]
    return [group for group in groups if group.parameters]


def all_parameters(groups: Sequence[ParameterGroup]) -> NamedParameters:
    return {name: parameter for group in groups for name, parameter in group.parameters.items()}


def make_optimiser(groups: Sequence[ParameterGroup], betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8) -> torch.optim.AdamW:
    """AdamW over the groups; learning rates are set anew before every step."""
    if not groups:
        raise UserMistake("expected parameters to train, the freeze switches leave none; unfreeze something")
    entries = [{"params": list(group.parameters.values()), "weight_decay": group.weight_decay} for group in groups]
    return torch.optim.AdamW(entries, lr=0.0, betas=betas, eps=eps, fused=True)


def _claims(rule: GroupRule, name: str) -> bool:
    official = PREFIX + name
    return any(official == module or official.startswith(module + ".") for module in rule.modules)


def _is_bias(name: str) -> bool:
    local = name.rsplit(".", 1)[-1]
    return local == "b" or local.endswith("bias")


def _optional_number(fields: Fields, key: str) -> float | None:
    return fields.number(key, 0.0, 10.0) if fields.has(key) and fields.raw(key) is not None else None

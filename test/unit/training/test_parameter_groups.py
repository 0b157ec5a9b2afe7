"""Who learns how fast and what decays."""

import pytest
import torch
from torch import nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir
from lawam_ros.training.parameter_groups import BASE, ParameterGroup, group_rules, grouped, make_optimiser, without_decay_of_norms
from lawam_ros.training.stage_recipe import load_recipe
from lawam_ros.training.trainer import Progress, group_rate


def parameters(*names: str) -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(torch.zeros(2)) for name in names}


def test_a_parameter_belongs_to_the_first_group_that_claims_it():
    section = {
        "base": 1e-4,
        "action_model": {"lr": 3e-4, "modules": ["policy_backend.flow"], "num_warmup_steps": 7},
        "all": {"modules": ["policy_backend.flow", "policy_backend.lam.decoder"], "weight_decay": 0.5},
    }
    base, rules = group_rules(section)
    groups = grouped(parameters("flow.a", "lam.decoder.b", "flower.c", "act_query"), base, rules, weight_decay=0.1)
    assert [(g.name, g.rate, sorted(g.parameters), g.weight_decay, g.warmup_steps) for g in groups] == [
        ("action_model", 3e-4, ["flow.a"], 0.1, 7),
        ("all", 1e-4, ["lam.decoder.b"], 0.5, None),
        (BASE, 1e-4, ["act_query", "flower.c"], 0.1, None),
    ]


def test_wrong_groups_are_named():
    for section, told in (({}, "'base'"), ({"base": 1.0, "x": {"modules": "flow"}}, "x.modules"), ({"base": 1.0, "x": {}}, "modules")):
        with pytest.raises(UserMistake, match=told):
            group_rules(section)
    with pytest.raises(UserMistake, match="leave none"):
        make_optimiser([])


def test_norms_and_biases_may_be_spared_from_decay():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    model.b = nn.Parameter(torch.zeros(3, 3))
    groups = without_decay_of_norms(model, [ParameterGroup(BASE, 1.0, dict(model.named_parameters()), 0.1)])
    assert {name: g.weight_decay for g in groups for name in g.parameters} == {
        "0.weight": 0.1, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0, "b": 0.0,
    }  # fmt: skip


def test_every_group_ends_at_the_same_ratio_of_its_rate():
    settings = load_recipe("official", "stage2").settings
    group = ParameterGroup("world_model", 3e-4, {}, 0.0)
    at = {step: group_rate(settings, group, Progress(step, 25000, 0.0)) for step in (0, 750, 1500, 25000)}
    assert at == pytest.approx({0: 0.0, 750: 1.5e-4, 1500: 3e-4, 25000: 3e-4 * 5e-7 / 1e-4})
    own = ParameterGroup("slow", 3e-4, {}, 0.0, warmup_steps=3000)
    assert group_rate(settings, own, Progress(1500, 25000, 0.0)) == pytest.approx(1.5e-4)
    first = load_recipe("official", "stage1").settings
    rates = [group_rate(first, ParameterGroup(BASE, 3e-4, {}, 0.0), Progress(step, 100000, 0.0)) for step in (0, 9999, 50000, 99999)]
    assert rates == pytest.approx([3e-8, 3e-4, 3e-4, 3e-4])


@pytest.mark.parametrize("name", sorted(path.stem for path in (config_dir() / "training").glob("*.yaml")))
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_shipped_recipes_are_read(name, stage):
    recipe = load_recipe(name, stage)
    assert recipe.settings.name == stage and recipe.batch_size >= 1
    shorter = recipe.with_size(100, 4, 2, 10)
    assert (shorter.settings.steps, shorter.batch_size, shorter.settings.accumulate, shorter.settings.evaluate_every) == (100, 4, 2, 10)
    assert shorter.settings.warmup_steps <= 10

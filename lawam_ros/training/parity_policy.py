"""Stage-2 golden cases: losses, intermediate tensors, gradients, freeze policy and parameter groups, with given draws."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.yaml_fields import load_yaml
from lawam_ros.model.checkpoint import load_checkpoint
from lawam_ros.model.config import FlowConfig
from lawam_ros.model.lawam import LaWAM
from lawam_ros.model.parity import ACTIONS, EXACT, HIDDEN, GoldenCase, ParityRow, case_names, compare, read_case
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.model.state_keys import official_key
from lawam_ros.training.flow_draws import FlowDraws, tiled, untiled
from lawam_ros.training.freezing import FreezePolicy, freeze_policy, stage2_parameters, train_only
from lawam_ros.training.losses import action_mask
from lawam_ros.training.parameter_groups import group_rules, grouped
from lawam_ros.training.parity_gradients import gradient_rows
from lawam_ros.training.policy_options import PolicyOptions, policy_options
from lawam_ros.training.run_state import NamedParameters
from lawam_ros.training.stage2 import PolicyBatch, PolicyTrace, policy_trace

_THINNED = re.compile(r"(.+)_rows(\d+)$")
TERMS = {"loss_flow": "flow", "loss_perceptual": "perceptual", "loss_distill": "distill", "loss_total": "total"}


@dataclass(frozen=True)
class _Setting:
    """A case made ready: the model in its training mode, what it trains, and the options of its run with the overrides of the case."""

    model: LaWAM
    parameters: NamedParameters
    options: PolicyOptions
    trainer: Mapping[str, Any]


def compare_policy_training(case: GoldenCase) -> list[ParityRow]:
    """One forward and backward pass of a training case in float32 on the CPU, with its noise, flow times and uniform numbers."""
    setting, inputs = _prepare(case), _with_inputs(case)
    batch = _batch(setting.model, case, inputs)
    trace = policy_trace(setting.model, batch, setting.options, _draws(setting, case), step=int(case.settings.get("global_step", 0)))
    rows = [_loss_row(case, name, trace) for name in sorted(case.setting("losses"))]
    traces = _batch_traces(batch) | _traces(trace, setting.options)
    rows += [row for key in sorted(case.tensors) if (row := _tensor_row(key, case.tensors[key], traces)) is not None]
    losses = {name: trace.losses[term] for name, term in TERMS.items()}
    rows += gradient_rows(case, setting.model, losses)
    return rows + _policy_rows(case, setting)


def _prepare(case: GoldenCase) -> _Setting:
    run = case.folder / str(case.setting("run"))
    model, trainer = load_checkpoint(run).model, load_yaml(run / "config.yaml", "run")["trainer"]
    model.flow.config = replace(model.flow.config, **_flow_overrides(case))
    section = dict(model.config.training) | dict(case.settings.get("policy_overrides", {}))
    # Official configurations may hold switches of modules this model does not have.
    switches = {key: value for key, value in trainer.get("freeze", {}).items() if key in FreezePolicy.__dataclass_fields__}
    parameters = stage2_parameters(model, freeze_policy(switches))
    train_only(model, parameters)
    # The recorded numbers were made without dropout, everything else as in training.
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return _Setting(model, parameters, policy_options(section, model.flow.config.action_horizon), trainer)


def _flow_overrides(case: GoldenCase) -> dict[str, Any]:
    """Changes of the action expert's configuration under our names."""
    spelt = {"horizon_sec": "horizon_s", "cfg_guidance_scale": "guidance_scale"}
    overrides = {spelt.get(key, key): value for key, value in case.settings.get("flow_overrides", {}).items()}
    unknown = sorted(set(overrides) - set(FlowConfig.__dataclass_fields__))
    if unknown:
        raise UserMistake(f"golden case '{case.name}': expected flow_overrides that this version knows, got {', '.join(unknown)}")
    return overrides


def _with_inputs(case: GoldenCase) -> dict[str, Tensor]:
    """Tensors of the case; images come from a neighbour with the same examples where the case does not repeat them."""
    key = "inputs/primary_videos/0"
    if key in case.tensors:
        return dict(case.tensors)
    for name in case_names(case.folder):
        other = read_case(case.folder, name)
        if key in other.tensors and other.settings.get("examples") == case.settings["examples"]:
            return {**other.tensors, **case.tensors}
    raise UserMistake(f"golden case '{case.name}': expected its images ({key}) in it or in a case with the same examples, found none")


def _batch(model: LaWAM, case: GoldenCase, inputs: Mapping[str, Tensor]) -> PolicyBatch:
    flow, examples = model.flow.config, case.setting("examples")
    count, horizon = len(examples), flow.action_horizon
    actions, state = torch.zeros(count, horizon, flow.action_dim), torch.zeros(count, flow.state_dim)
    dims, state_dims, lengths = (torch.zeros(count, dtype=torch.long) for _ in range(3))
    frames, pairs, prompts = [], [], []
    for index, example in enumerate(examples):
        action = inputs[f"inputs/action/{index}"][:, : flow.action_dim]
        values = inputs.get(f"inputs/state/{index}", torch.zeros(1, 0)).flatten(0, -2)[-1, : flow.state_dim]
        actions[index, : len(action), : action.shape[1]], state[index, : len(values)] = action, values
        lengths[index], dims[index], state_dims[index] = len(action), action.shape[1], len(values)
        videos = inputs[f"inputs/primary_videos/{index}"]
        wrist = inputs.get(f"inputs/wrist_images/{index}", videos[:0, 0])
        frames += [videos[:, 0], wrist]
        pairs.append(videos[0, [0, -1]])
        prompts.append((str(example["lang"]), len(videos), len(wrist)))
    return PolicyBatch(
        prompt=PromptEncoder(model.config).batch(prompts),
        frames=torch.cat(frames),
        features=None,
        pair=torch.stack(pairs),
        teacher=None,
        actions=actions,
        action_mask=action_mask(lengths, dims, horizon, flow.action_dim),
        state=state,
        state_mask=torch.arange(flow.state_dim) < state_dims[:, None],
        action_hz=torch.tensor([float(example["action_hz"]) for example in examples]),
        embodiment_id=torch.tensor([int(example["embodiment_id"]) for example in examples]),
    )


def _draws(setting: _Setting, case: GoldenCase) -> FlowDraws:
    flow, options = setting.model.flow.config, setting.options
    rows = len(case.setting("examples")) * options.repeats
    noise = case.tensor("draw/flow_noise").reshape(rows, flow.action_horizon, flow.action_dim)
    times = (rows, flow.action_horizon) if flow.token_independent_noise else (rows,)
    uniforms = [case.tensors[key].reshape(rows) for key in sorted(case.tensors) if key.startswith("draw/uniform_")]
    uniforms = [untiled(values, options.repeats) for values in uniforms]
    # Officially the first numbers are drawn whether scheduled sampling is on or not.
    return FlowDraws(
        noise=untiled(noise, options.repeats),
        flow_time=untiled(case.tensor("draw/flow_time").reshape(times), options.repeats),
        prediction=uniforms[0] if options.scheduled else None,
        drop=uniforms[-1] if flow.cfg_drop_prob > 0.0 else None,
    )


def _batch_traces(batch: PolicyBatch) -> dict[str, Tensor]:
    prompt = batch.prompt
    return {
        "batch/input_ids": prompt.input_ids,
        "batch/attention_mask": prompt.attention_mask.long(),
        "batch/act_placeholder_mask": prompt.act_mask,
        "batch/flow_placeholder_mask": prompt.flow_mask,
        "batch/actions": batch.actions,
        "batch/actions_mask": batch.action_mask,
        "batch/state": batch.state,
        "batch/state_mask": batch.state_mask,
        "batch/action_hz": batch.action_hz,
        "batch/embodiment_id": batch.embodiment_id,
    }


def _traces(trace: PolicyTrace, options: PolicyOptions) -> dict[str, Tensor]:
    condition = trace.condition.expand(-1, options.repeats, -1, -1)
    traces = {
        "policy/h_vlm": trace.language.h_vlm,
        "policy/pred_action_emb": trace.language.z,
        "policy/h_t": trace.features[:, 0],
        "policy/h_t1_gt": trace.features[:, 1],
        "policy/h_t1_pred": trace.predicted,
        "policy/h_t1_condition": tiled(condition),
        "policy/velocity_pred": tiled(trace.velocity),
    }
    if trace.teacher is not None:
        traces["policy/teacher_latent"] = trace.teacher
    return {name: tensor.detach() for name, tensor in traces.items()}


def _tensor_row(key: str, expected: Tensor, traces: Mapping[str, Tensor]) -> ParityRow | None:
    """Row of a stored tensor, None where nothing here computes it. A name that ends in ``_rowsN`` holds every N-th token."""
    thinned = _THINNED.match(key)
    got = traces.get(thinned[1] if thinned else key)
    if got is None:
        return None
    if thinned:
        got = got[:, :: int(thinned[2])]
    if not expected.is_floating_point():
        return compare(key, expected, got, EXACT)
    return compare(key, expected, got, ACTIONS if key.startswith("policy/velocity") else HIDDEN)


def _loss_row(case: GoldenCase, name: str, trace: PolicyTrace) -> ParityRow:
    # There is no language loss in this model; the official code logs it as zero.
    got = trace.losses[TERMS[name]].detach() if name in TERMS else torch.zeros(())
    return compare(f"losses/{name}", torch.tensor(float(case.settings["losses"][name] or 0.0)), got, HIDDEN)


def _policy_rows(case: GoldenCase, setting: _Setting) -> list[ParityRow]:
    """Who is trained, who is in training mode, and the groups of the optimiser."""
    rows = []
    if "requires_grad" in case.settings:
        got = {official_key(name).split(".", 1)[1]: p.requires_grad for name, p in setting.model.named_parameters()}
        rows.append(_same("requires_grad", case.settings["requires_grad"], got))
    if "train_mode_flags" in case.settings:
        wanted = case.settings["train_mode_flags"]
        rows.append(_same("train_mode_flags", wanted, {name: setting.model.get_submodule(name).training for name in wanted}))
    if "optimizer_groups" in case.settings:
        rate, rules = group_rules(setting.trainer["learning_rate"])
        groups = grouped(setting.parameters, rate, rules, weight_decay=0.0)
        got_groups = {group.name: (group.rate, sorted(map(official_key, group.parameters))) for group in groups}
        wanted_groups = {group["name"]: (group["lr"], sorted(group["params"])) for group in case.settings["optimizer_groups"]}
        rows.append(_same("optimizer_groups", wanted_groups, got_groups, ordered=True))
    return rows


def _same(name: str, wanted: Mapping[str, Any], got: Mapping[str, Any], ordered: bool = False) -> ParityRow:
    different = sorted(key for key in {*wanted, *got} if wanted.get(key) != got.get(key))
    if ordered and not different and list(wanted) != list(got):
        different = [f"order {list(got)}"]
    note = f"{len(different)} differ, first {different[0]}" if different else ""
    return ParityRow(name, float("inf") if different else 0.0, EXACT, note)

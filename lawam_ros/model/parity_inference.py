"""Inference cases: one run of a checkpoint from images and text to actions, compared tensor by tensor."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint import Checkpoint, load_checkpoint
from lawam_ros.model.image_preparation import image_patches, prepare_image
from lawam_ros.model.normalisation import pick_statistics
from lawam_ros.model.parity import ACTIONS, EXACT, HIDDEN, GoldenCase, ParityRow, compare, not_comparable, read_case
from lawam_ros.model.parity_clients import client_rules
from lawam_ros.model.parity_engine import compare_engine
from lawam_ros.model.position_codes import physical_time_code
from lawam_ros.model.prompt import PromptEncoder, chat_text
from lawam_ros.model.sampler import sample_actions
from lawam_ros.model.vision_encoder import dino_layers

Traces = dict[str, Tensor]


def compare_inference(case: GoldenCase) -> list[ParityRow]:
    """Run an inference case (``runs/``, ``assets/`` of its folder) in float32 on the CPU and compare every stored tensor."""
    settings, inputs = case.settings, dict(case.tensors)
    if settings.get("image_inputs_shared_with_case"):
        inputs = {**read_case(case.folder, settings["image_inputs_shared_with_case"]).tensors, **inputs}
    checkpoint = load_checkpoint(case.folder / case.setting("run"))
    traces = trace_case(checkpoint, settings, inputs)
    rows = [_compare(key, case.tensors[key], traces[key], settings) for key in sorted(case.tensors) if key in traces]
    rows += _robot_units(case, checkpoint, inputs, traces)
    rows += compare_engine(case, checkpoint, inputs["flow/noise"], traces)
    texts = [chat_text(e["lang"], e["n_primary"], e["n_wrist"], checkpoint.config) for e in settings["examples"]]
    if (stored := settings.get("chat_text_before_image_expansion")) is not None:
        same = texts == stored
        rows.insert(0, ParityRow("chat text", 0.0 if same else float("inf"), EXACT, "" if same else f"got {texts}"))
    return rows


def trace_case(checkpoint: Checkpoint, settings: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> Traces:
    """All tensors of a case under the names of the golden files."""
    model, config, examples = checkpoint.model, checkpoint.config, settings["examples"]
    traces: Traces = {}
    frames = _frames(inputs, examples, config.centre_crop_90, traces)
    encoder = PromptEncoder(config)
    prompt = encoder.batch([(e["lang"], e["n_primary"], e["n_wrist"]) for e in examples])
    traces |= _state(checkpoint, settings, inputs)
    state, state_mask = (traces["flow/state"], traces["flow/state_mask"]) if config.flow.use_state else (None, None)
    hz = torch.tensor([e["action_hz"] for e in examples], dtype=torch.float32)
    embodiment = torch.tensor([e["embodiment_id"] for e in examples])
    everything = torch.cat(frames)
    views = [len(rows) for rows in frames]
    firsts = torch.stack([rows[0] for rows in frames])
    with torch.inference_mode(), _hooks(model, traces):
        images, deepstack = model.vlm.embed_images(everything)
        traces["vlm/image_embeds"] = images.flatten(0, 1)
        traces |= {f"vlm/deepstack_{i}": feature.flatten(0, 1) for i, feature in enumerate(deepstack)}
        language = model.vlm_forward(prompt, everything)
        h_t = model.encode_images(firsts)
        h_t1 = model.lam.decoder(h_t, language.z)
        context = model.flow.context(h_t, h_t1, language.h_vlm, language.attention_mask)
        asked = settings["guidance_scale"]
        guidance = config.flow.guidance_scale if asked is None else float(asked)
        without = None if guidance == 1.0 else model.flow.unconditional_context(h_t, language.h_vlm, language.attention_mask)
        actions = sample_actions(
            model.flow,
            context,
            inputs["flow/noise"],
            hz,
            embodiment,
            state,
            state_mask,
            steps=settings["num_inference_steps"],
            guidance_scale=guidance,
            unconditional=without,
            padded=bool(settings.get("return_padded", False)),
            observe=_step_observer(traces),
        )
        traces["flow/cond_vlm"] = model.flow.enc_vlm(language.h_vlm)
    time_s, _, _ = model.flow.time_grid(hz)
    pixels = image_patches(everything, model.vlm.patch, model.vlm.merge, model.vlm.temporal).flatten(0, 1)
    batch, length = prompt.input_ids.shape
    traces |= {
        "proc/input_ids": prompt.input_ids,
        "proc/attention_mask": prompt.attention_mask.long(),
        "proc/act_placeholder_mask": prompt.act_mask,
        "proc/flow_placeholder_mask": prompt.flow_mask,
        "proc/image_grid_thw": torch.tensor([[1, config.image_size // model.vlm.patch, config.image_size // model.vlm.patch]] * sum(views)),
        "proc/pixel_values_rows": pixels[:: settings.get("pixel_values_rows_stride") or 1],
        "proc/primary_image_rows": model.lam.vision_encoder.normalise(firsts)[:, :, :: settings.get("primary_image_row_stride") or 1],
        "vlm/position_ids_used": torch.arange(length).expand(3, batch, length),
        "vlm/h_vlm": language.h_vlm,
        "vlm/pred_latent": language.z,
        "lam/h_t": h_t,
        "lam/h_t1_pred": h_t1,
        "flow/t_grid": time_s,
        "flow/time_emb": physical_time_code(time_s, config.flow.hidden_dim),
        "flow/attention_mask": prompt.attention_mask,
        "flow/action_hz": hz,
        "flow/embodiment_id": embodiment,
        "out/normalized_actions": actions,
    }
    return traces


def _robot_units(case: GoldenCase, checkpoint: Checkpoint, inputs: Mapping[str, Tensor], traces: Traces) -> list[ParityRow]:
    """Normalised states and physical actions by the rules of the case's client, as recorded."""
    states = {f"inputs/state_raw/{i}": f"inputs/state_normalized/{i}" for i in range(len(case.settings["examples"]))}
    asked = {given: wanted for given, wanted in states.items() if given in inputs and wanted in case.tensors}
    physical = "out/unnormalized_actions"
    try:
        statistics = pick_statistics(checkpoint.statistics, case.settings.get("stat_key"))
        rules = client_rules(case.settings.get("client"), statistics)
        rows = []
        for given, wanted in asked.items() if statistics.state else ():
            assert statistics.state is not None
            stored = case.tensors[wanted]
            got = torch.from_numpy(rules.state(inputs[given].numpy(), statistics.state))
            rows.append(compare(wanted, stored, got.reshape(stored.shape) if got.numel() == stored.numel() else got, HIDDEN))
        if physical in case.tensors:
            got = torch.from_numpy(rules.actions(traces["out/normalized_actions"].numpy(), statistics.action))
            rows.append(compare(physical, case.tensors[physical], got, ACTIONS))
        return rows
    except UserMistake as error:
        return [not_comparable(key, str(error)) for key in (*asked.values(), physical) if key in case.tensors]


def _frames(inputs: Mapping[str, Tensor], examples: list[dict[str, Any]], centre_crop_90: bool, traces: Traces) -> list[Tensor]:
    """Prepared frames per example, primary before wrist."""
    frames = []
    for index, example in enumerate(examples):
        rows = []
        for kind, count in (("primary", example["n_primary"]), ("wrist", example["n_wrist"])):
            for view in range(count):
                prepared = prepare_image(inputs[f"inputs/{kind}/{index}/{view}"].numpy(), centre_crop_90=centre_crop_90)
                traces[f"proc/resized_{kind}/{index}/{view}"] = prepared.permute(1, 2, 0)
                rows.append(prepared)
        frames.append(torch.stack(rows))
    return frames


def _state(checkpoint: Checkpoint, settings: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> Traces:
    """What the action expert gets: the last row of each recorded normalised state, padded or cut, and which of it exists."""
    size, examples = checkpoint.config.flow.state_dim, settings["examples"]
    state, mask = torch.zeros(len(examples), size), torch.zeros(len(examples), size, dtype=torch.bool)
    for index, example in enumerate(examples):
        if example.get("has_state"):
            values = inputs[f"inputs/state_normalized/{index}"]
            values = values.reshape(-1, values.shape[-1])[-1, :size]
            state[index, : len(values)], mask[index, : len(values)] = values, True
            if f"inputs/state_mask/{index}" in inputs:
                known = inputs[f"inputs/state_mask/{index}"].bool()
                known = known.reshape(-1, known.shape[-1])[-1, :size]
                mask[index, : len(known)] &= known
                mask[index, len(known) :] = False
    return {"flow/state": state, "flow/state_mask": mask}


def _step_observer(traces: Traces) -> Any:
    def observe(step: int, x: Tensor, velocity: Tensor, without: Tensor | None) -> None:
        traces[f"flow/x_t_step{step}"] = x.clone()
        traces[f"flow/velocity_cond_step{step}"] = velocity.clone()
        if without is not None:
            traces[f"flow/velocity_uncond_step{step}"] = without.clone()

    return observe


@contextmanager
def _hooks(model: nn.Module, traces: Traces) -> Iterator[None]:
    """Record the outputs of all layers; of the action expert those of the first call."""
    named: list[tuple[str, nn.Module]] = []
    named += [(f"vlm/decoder_layer_{i}_out", layer) for i, layer in enumerate(model.vlm.model.language_model.layers)]
    named += [(f"dino/layer_{i}_out", layer) for i, layer in enumerate(dino_layers(model.lam.vision_encoder.model))]
    named += [("dino/embeddings_out", model.lam.vision_encoder.model.embeddings)]
    named += [(f"lam/decoder_layer_{i}_out", layer) for i, layer in enumerate(model.lam.decoder.dec_layers)]
    named += [(f"flow/step0_dit_block_{i}_out", block) for i, block in enumerate(model.flow.DiT.transformer_blocks)]
    named += [("flow/step0_dit_out", model.flow.DiT), ("flow/step0_temb", model.flow.DiT.timestep_encoder)]
    named += [("flow/step0_action_tokens", model.flow.action_encoder)]
    if model.flow.config.use_state:
        named += [("flow/cond_state", model.flow.enc_state)]
    handles = [module.register_forward_hook(_recorder(name, traces)) for name, module in named]
    first = model.vlm.model.language_model.layers[0]
    handles.append(first.register_forward_pre_hook(_input_recorder("vlm/inputs_embeds_merged", traces)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _recorder(name: str, traces: Traces) -> Any:
    def record(module: nn.Module, args: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        traces.setdefault(name, (tensor[:, 0] if name == "flow/step0_temb" else tensor).clone())

    return record


def _input_recorder(name: str, traces: Traces) -> Any:
    def record(module: nn.Module, args: Any) -> None:
        traces.setdefault(name, args[0].clone())

    return record


def _compare(key: str, expected: Tensor, got: Tensor, settings: Mapping[str, Any]) -> ParityRow:
    if key.startswith("proc/resized_"):
        got = got[:: settings.get("resized_frames_row_stride") or 1]
    if not expected.is_floating_point():
        return compare(key, expected, got, EXACT)
    return compare(key, expected, got, ACTIONS if key.startswith(("out/", "flow/x_t", "flow/velocity")) else HIDDEN)

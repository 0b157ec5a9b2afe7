"""LeRobot-format cases: one chunk through a folder of that format, from prepared and from raw images, and its processor steps alone."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint import Checkpoint, load_checkpoint
from lawam_ros.model.image_preparation import squash_image
from lawam_ros.model.lerobot_processing import LeRobotProcessing
from lawam_ros.model.parity import ACTIONS, ARITHMETIC, EXACT, HIDDEN, GoldenCase, ParityRow, compare, read_case
from lawam_ros.model.prompt import PromptBatch, PromptEncoder
from lawam_ros.model.sampler import sample_actions


def compare_lerobot(case: GoldenCase) -> list[ParityRow]:
    """Run the folder the case names (with the weights it names) in float32 on the CPU and compare every stored tensor."""
    # The setting may go on after the path: "PATH, keys renamed as ...".
    weights = case.folder / str(case.setting("weights")).split(",")[0].strip()
    checkpoint = load_checkpoint(case.folder / case.setting("run"), weights=weights)
    processing = checkpoint.lerobot
    if processing is None:
        raise UserMistake(f"golden case '{case.name}': expected a LeRobot folder at {case.setting('run')}, found another layout")
    traces = _prepared(case, checkpoint, processing) | _chunks(case, checkpoint, processing) | _processors(case, checkpoint, processing)
    return [
        compare(key, case.tensors[key], traces[key], _tolerance(key, case.tensors[key])) for key in sorted(traces) if key in case.tensors
    ]


def _tolerance(key: str, expected: Tensor) -> float:
    if not expected.is_floating_point():
        return EXACT
    if key.startswith(("post/", "train/", "prepared_256/")):
        return ARITHMETIC
    return HIDDEN if "resized" in key else ACTIONS


def _prompt(case: GoldenCase, checkpoint: Checkpoint, processing: LeRobotProcessing) -> PromptBatch:
    task = str(case.settings.get("task") or processing.default_task)
    return PromptEncoder(checkpoint.config).batch([(task, len(processing.primary_cameras), len(processing.wrist_cameras))])


def _state(case: GoldenCase, checkpoint: Checkpoint, processing: LeRobotProcessing) -> tuple[Tensor, Tensor]:
    state, mask = np.zeros(checkpoint.config.flow.state_dim, np.float32), np.zeros(checkpoint.config.flow.state_dim, bool)
    if processing.state is not None:
        values = processing.states(case.tensor("inputs/state").numpy())
        state[: len(values)], mask[: len(values)] = values, True
    return torch.from_numpy(state)[None], torch.from_numpy(mask)[None]


def _prepared(case: GoldenCase, checkpoint: Checkpoint, processing: LeRobotProcessing) -> dict[str, Tensor]:
    prompt = _prompt(case, checkpoint, processing)
    state, mask = _state(case, checkpoint, processing)
    views = len(processing.primary_cameras) + len(processing.wrist_cameras)
    return {
        "prepared_256/input_ids": prompt.input_ids,
        "prepared_256/attention_mask": prompt.attention_mask.long(),
        "prepared_256/act_placeholder_mask": prompt.act_mask,
        "prepared_256/flow_placeholder_mask": prompt.flow_mask,
        "prepared_256/image_grid_thw": torch.tensor([[1, *checkpoint.config.lam.grid_hw]] * views),
        "prepared_256/state": state,
        "prepared_256/state_mask": mask,
        "prepared_256/action_hz": torch.tensor([processing.action_hz]),
        "prepared_256/embodiment_id": torch.tensor([processing.embodiment_id]),
    }


def _chunks(case: GoldenCase, checkpoint: Checkpoint, processing: LeRobotProcessing) -> dict[str, Any]:
    cameras = (*processing.primary_cameras, *processing.wrist_cameras)
    traces: dict[str, Any] = {}
    if _has(case, "out_256/"):
        ready = torch.stack([case.tensor(f"inputs/{camera}_256") for camera in cameras])
        traces |= _outputs("out_256", case, checkpoint, processing, ready)
    if _has(case, "out_raw/"):
        squashed = torch.stack([squash_image(image, checkpoint.config.image_size) for image in _raw_images(case, processing)])
        traces |= _outputs("out_raw", case, checkpoint, processing, squashed)
        for key in case.tensors:
            if match := re.fullmatch(r"out_raw/resized_rows(\d+)", key):
                traces[key] = squashed[processing.subgoal_view, :, :: int(match[1])]
    return traces


def _has(case: GoldenCase, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in case.tensors)


def _outputs(prefix: str, case: GoldenCase, checkpoint: Checkpoint, processing: LeRobotProcessing, frames: Tensor) -> dict[str, Any]:
    chunk = _chunk(case, checkpoint, processing, frames).numpy()
    return {
        f"{prefix}/action_chunk_normalized": chunk[..., : processing.action_size],
        f"{prefix}/action_chunk_postprocessed": processing.actions(chunk),
    }


def _chunk(case: GoldenCase, checkpoint: Checkpoint, processing: LeRobotProcessing, frames: Tensor) -> Tensor:
    model, guidance = checkpoint.model, checkpoint.config.flow.guidance_scale
    # The older code asks for valid rows only; rows beyond them are masked anyway.
    noise = case.tensor("inputs/noise")
    noise = torch.nn.functional.pad(noise, (0, 0, 0, max(0, checkpoint.config.flow.action_horizon - noise.shape[1])))
    state, mask = _state(case, checkpoint, processing) if checkpoint.config.flow.use_state else (None, None)
    with torch.inference_mode():
        language = model.vlm_forward(_prompt(case, checkpoint, processing), frames)
        h_t = model.encode_images(frames[processing.subgoal_view][None])
        context = model.flow.context(h_t, model.lam.decoder(h_t, language.z), language.h_vlm, None)
        without = None if guidance == 1.0 else model.flow.unconditional_context(h_t, language.h_vlm, None)
        return sample_actions(
            model.flow, context, noise, torch.tensor([processing.action_hz]),
            torch.tensor([processing.embodiment_id]), state, mask, case.settings.get("num_inference_steps"), guidance, without,
        )  # fmt: skip


def _raw_images(case: GoldenCase, processing: LeRobotProcessing) -> Sequence[NDArray[np.uint8]]:
    """Camera images of the inference case this one repeats: "cases/NAME, example INDEX"."""
    match = re.search(r"cases/([\w.-]+)(?:.*?example (\d+))?", str(case.setting("compared_with")))
    if match is None:
        raise UserMistake(f"golden case '{case.name}': expected compared_with to name a case, got {case.setting('compared_with')!r}")
    inputs, index = read_case(case.folder, match[1]), match[2] or "0"
    kinds = (("primary", processing.primary_cameras), ("wrist", processing.wrist_cameras))
    return [inputs.tensor(f"inputs/{kind}/{index}/{view}").numpy() for kind, cameras in kinds for view in range(len(cameras))]


def _processors(case: GoldenCase, checkpoint: Checkpoint, processing: LeRobotProcessing) -> dict[str, Any]:
    """The steps after the model, and the training targets padded to what the model reads."""
    traces: dict[str, Any] = {}
    if "post/in" in case.tensors:
        traces["post/out"] = processing.actions(case.tensor("post/in").numpy())
    if "train/action_raw" in case.tensors:
        targets = torch.from_numpy(processing.training_targets(case.tensor("train/action_raw").numpy()))
        padded = torch.zeros(targets.shape[0], processing.training_rows, checkpoint.config.flow.action_dim)
        known = torch.zeros_like(padded, dtype=torch.bool)
        padded[:, : targets.shape[1], : targets.shape[2]] = targets
        known[:, : targets.shape[1], : targets.shape[2]] = True
        traces |= {"train/actions": padded, "train/actions_mask": known}
    return traces

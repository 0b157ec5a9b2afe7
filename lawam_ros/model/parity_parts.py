"""Cases of single parts: image preparation, helpers of the prompt and the time grid, normalisation."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model import robotwin_normalisation as robotwin
from lawam_ros.model.config import load_model_config
from lawam_ros.model.flow_head import time_grid
from lawam_ros.model.image_preparation import prepare_image
from lawam_ros.model.normalisation import (
    MODES,
    Statistics,
    denormalise,
    denormalise_actions,
    normalise,
    normalise_state,
    statistics_from_mapping,
)
from lawam_ros.model.parity import ARITHMETIC, EXACT, GoldenCase, ParityRow, compare
from lawam_ros.model.position_codes import physical_time_code
from lawam_ros.model.prompt import placeholder_masks, prompt_texts

_BASE_FRAMEWORK_GRIPPER = 6


def compare_image_preparation(case: GoldenCase) -> list[ParityRow]:
    """Every ``<image>/input`` through the plain preparation and through the one with the 90 % centre crop."""
    height, width = case.setting("target_hw")
    if height != width:
        raise UserMistake(f"golden case '{case.name}': expected a square target, got {height}x{width}")
    rows = []
    for name in sorted(key.removesuffix("/input") for key in case.tensors if key.endswith("/input")):
        for variant, crop in (("plain", False), ("center_crop_90", True)):
            if f"{name}/{variant}" in case.tensors:
                got = prepare_image(case.tensor(f"{name}/input").numpy(), height, crop).permute(1, 2, 0)
                rows.append(compare(f"{name}/{variant}", case.tensor(f"{name}/{variant}"), got, EXACT))
    return rows


def compare_helpers(case: GoldenCase) -> list[ParityRow]:
    """Time grids, time codes of any width, placeholder masks and prompt texts."""
    rows = []
    for index, grid in case.settings.get("time_grid", {}).items():
        time_s, valid, count = time_grid(torch.tensor(grid["hz"]), grid["horizon_sec"], grid["seq_len"])
        for name, got, tolerance in (("t", time_s, ARITHMETIC), ("valid", valid, EXACT), ("count", count, EXACT)):
            rows.append(compare(f"time_grid/{index}/{name}", case.tensor(f"time_grid/{index}/{name}"), got, tolerance))
    for key in sorted(case.tensors):
        if match := re.fullmatch(r"time_encoding/dim(\d+)", key):
            got = physical_time_code(case.tensor("time_encoding/input"), int(match[1]))
            rows.append(compare(key, case.tensor(key), got, ARITHMETIC))
    if masks := case.settings.get("masks"):
        found = placeholder_masks(case.tensor("masks/input_ids"), masks["placeholder_id"], masks["act_queries"], masks["flow_queries"])
        rows += [
            compare(f"masks/{name}", case.tensor(f"masks/{name}"), got, EXACT) for name, got in zip(("act", "flow"), found, strict=True)
        ]
    return rows + [_prompt_row(index, prompt) for index, prompt in enumerate(case.settings.get("prompts", []))]


def _prompt_row(index: int, prompt: dict[str, str]) -> ParityRow:
    # Only the numbers of queries matter here; the texts are constants of the official implementation.
    config = replace(load_model_config("tiny"), action_queries=int(prompt["act"]), flow_queries=int(prompt["flow"]))
    got = prompt_texts(prompt["instruction"], config)
    same = got == (prompt["before_wrist"], prompt["after_wrist"])
    return ParityRow(f"prompts/{index}", 0.0 if same else float("inf"), EXACT, "" if same else f"got {got}")


def compare_normalisation(case: GoldenCase) -> list[ParityRow]:
    """Training transforms and the rules of the official clients, for the statistics that the case names."""
    known = {name: statistics_from_mapping(name, {"action": entry}, case.name).action for name, entry in case.setting("stats").items()}
    rows = _transforms(case, known) + _libero(case, known) + _robotwin(case, known)
    if "q_only" in known and "base_framework/unnormalize" in case.tensors:
        output = case.tensor("normalized_policy_output").numpy()
        got = denormalise_actions(output, known["q_only"], "q99", snap_dims=(_BASE_FRAMEWORK_GRIPPER,))
        rows.append(_row(case, "base_framework/unnormalize", got))
    return rows


def _transforms(case: GoldenCase, known: dict[str, Statistics]) -> list[ParityRow]:
    rows = []
    for mode in MODES if "dataset_transform" in known else ():
        if f"dataset_transform/{mode}/forward" in case.tensors:
            forward = normalise(case.tensor("raw").numpy(), known["dataset_transform"], mode)
            rows.append(_row(case, f"dataset_transform/{mode}/forward", forward))
            if f"dataset_transform/{mode}/inverse_of_forward" in case.tensors:
                back = denormalise(forward, known["dataset_transform"], mode)
                rows.append(_row(case, f"dataset_transform/{mode}/inverse_of_forward", back))
    return rows


def _libero(case: GoldenCase, known: dict[str, Statistics]) -> list[ParityRow]:
    rows = []
    for name, key in (("min_max_and_q", "min_max"), ("q_only", "q")):
        if name not in known:
            continue
        plain = known[name]
        masked = replace(plain, mask=np.arange(plain.size) < plain.size - 1)
        snap = (plain.size - 1,)
        output = case.tensor("normalized_policy_output").numpy()
        rows.append(_row(case, f"libero/normalize_state/{key}", normalise_state(case.tensor("raw").numpy(), plain)))
        rows.append(_row(case, f"libero/unnormalize/{key}", denormalise_actions(output, plain, snap_dims=snap)))
        rows.append(_row(case, f"libero/unnormalize/{key}_mask_last", denormalise_actions(output, masked, snap_dims=snap)))
    return rows


def _robotwin(case: GoldenCase, known: dict[str, Statistics]) -> list[ParityRow]:
    rules: tuple[tuple[str, str, str, Callable[[NDArray[np.floating], Statistics], NDArray[np.float32]]], ...] = (
        ("robotwin14", "robotwin/normalize_state", "robotwin/raw14", robotwin.normalise_joint_state),
        ("robotwin14", "robotwin/unnormalize", "robotwin/normalized20", robotwin.denormalise_joint_actions),
        ("robotwin16", "robotwin/eef_normalize_state", "robotwin/normalized16", robotwin.normalise_pose_state),
        ("robotwin16", "robotwin/eef_unnormalize", "robotwin/normalized16", robotwin.denormalise_pose_actions),
    )
    return [_row(case, key, rule(case.tensor(given).numpy(), known[name])) for name, key, given, rule in rules if name in known]


def _row(case: GoldenCase, key: str, got: NDArray[np.float32]) -> ParityRow:
    return compare(key, case.tensor(key), got, ARITHMETIC)

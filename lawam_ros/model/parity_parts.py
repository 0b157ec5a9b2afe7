"""Cases of single parts: image preparation, helpers of the prompt and the time grid, normalisation."""

import re
from collections.abc import Callable, Mapping
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
from lawam_ros.model.parity import ARITHMETIC, EXACT, GoldenCase, ParityRow, compare, not_comparable
from lawam_ros.model.position_codes import physical_time_code
from lawam_ros.model.prompt import placeholder_masks, prompt_texts

_BASE_FRAMEWORK_GRIPPER = 6


def compare_image_preparation(case: GoldenCase) -> list[ParityRow]:
    """Every ``<image>/input`` through the plain preparation and through the one with the 90 % centre crop."""
    height, width = map(int, case.setting("target_hw"))
    rows = []
    for name in sorted(key.removesuffix("/input") for key in case.tensors if key.endswith("/input")):
        for variant, crop in (("plain", False), ("center_crop_90", True)):
            if f"{name}/{variant}" in case.tensors:
                got = prepare_image(case.tensor(f"{name}/input").numpy(), (height, width), crop).permute(1, 2, 0)
                rows.append(compare(f"{name}/{variant}", case.tensor(f"{name}/{variant}"), got, EXACT))
    return rows


def compare_helpers(case: GoldenCase) -> list[ParityRow]:
    """Time grids, time codes of any width, placeholder masks and prompt texts."""
    rows = []
    for index, grid in case.settings.get("time_grid", {}).items():
        time_s, valid, count = time_grid(torch.tensor(grid["hz"]), grid["horizon_sec"], grid["seq_len"])
        for name, got, tolerance in (("t", time_s, ARITHMETIC), ("valid", valid, EXACT), ("count", count, EXACT)):
            if f"time_grid/{index}/{name}" in case.tensors:
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
    """Training transforms and the rules of the official clients, for every recorded result whose statistics the case names.

    Recorded names: ``dataset_transform/MODE/forward``, ``libero/normalize_state/BOUNDS``, ``libero/unnormalize/BOUNDS[_mask_last]``,
    ``robotwin/[eef_]normalize_state`` and ``..._unnormalize``, ``base_framework/unnormalize``.
    """
    known = {name: statistics_from_mapping(name, {"action": entry}, case.name).action for name, entry in case.setting("stats").items()}
    rows = _transforms(case, known) + _libero(case, known) + _robotwin(case, known)
    key = "base_framework/unnormalize"
    if key in case.tensors:
        output = case.tensor("normalized_policy_output").numpy()
        statistics = _with_bounds(case, known, "q", output.shape[-1])
        rows.append(_row(case, key, denormalise_actions(output, statistics, "q99", snap_dims=(_BASE_FRAMEWORK_GRIPPER,))))
    return rows


def _with_bounds(case: GoldenCase, known: Mapping[str, Statistics], bounds: str, size: int) -> Statistics:
    """The statistics of at most ``size`` dimensions that clients read as ``min_max`` (they have extremes) or as ``q`` (only quantiles)."""
    for name, entry in known.items():
        has = "min_max" if entry.minimum is not None else "q"
        if has == bounds and entry.size <= size and not name.startswith(("robotwin", "dataset_transform")):
            return entry
    raise UserMistake(f"golden case '{case.name}': expected statistics with {bounds} bounds, at most {size} dimensions, got {list(known)}")


def _transforms(case: GoldenCase, known: Mapping[str, Statistics]) -> list[ParityRow]:
    rows = []
    for mode in MODES if "dataset_transform" in known else ():
        if f"dataset_transform/{mode}/forward" in case.tensors:
            forward = normalise(case.tensor("raw").numpy(), known["dataset_transform"], mode)
            rows.append(_row(case, f"dataset_transform/{mode}/forward", forward))
            if f"dataset_transform/{mode}/inverse_of_forward" in case.tensors:
                back = denormalise(forward, known["dataset_transform"], mode)
                rows.append(_row(case, f"dataset_transform/{mode}/inverse_of_forward", back))
    return rows


def _libero(case: GoldenCase, known: Mapping[str, Statistics]) -> list[ParityRow]:
    rows = []
    for key in sorted(case.tensors):
        if match := re.fullmatch(r"libero/(normalize_state|unnormalize)/(min_max|q)(_mask_last)?", key):
            given = case.tensor("raw" if match[1] == "normalize_state" else "normalized_policy_output").numpy()
            statistics = _with_bounds(case, known, match[2], given.shape[-1])
            if match[3]:
                statistics = replace(statistics, mask=np.arange(statistics.size) < statistics.size - 1)
            if match[1] == "normalize_state":
                rows.append(_row(case, key, normalise_state(given, statistics)))
            else:
                rows.append(_row(case, key, denormalise_actions(given, statistics, snap_dims=(statistics.size - 1,))))
    return rows


def _robotwin(case: GoldenCase, known: Mapping[str, Statistics]) -> list[ParityRow]:
    """Joints from ``robotwin/raw14`` and the padded ``robotwin/normalized<more than 16>``, poses both from ``robotwin/normalized16``."""
    joint, pose = robotwin.JOINT_SIZE, robotwin.POSE_SIZE
    padded = [key for key in case.tensors if key.startswith("robotwin/normalized") and key != f"robotwin/normalized{pose}"]
    rules: tuple[tuple[str, int, list[str], Callable[[NDArray[np.floating], Statistics], NDArray[np.float32]]], ...] = (
        ("robotwin/normalize_state", joint, [f"robotwin/raw{joint}"], robotwin.normalise_joint_state),
        ("robotwin/unnormalize", joint, padded, robotwin.denormalise_joint_actions),
        ("robotwin/eef_normalize_state", pose, [f"robotwin/normalized{pose}"], robotwin.normalise_pose_state),
        ("robotwin/eef_unnormalize", pose, [f"robotwin/normalized{pose}"], robotwin.denormalise_pose_actions),
    )
    rows = []
    for key, size, given, rule in rules:
        if key in case.tensors:
            statistics = next((entry for name, entry in known.items() if name.startswith("robotwin") and entry.size == size), None)
            if statistics is None or not given:
                rows.append(not_comparable(key, f"expected RoboTwin statistics of {size} dimensions and an input for them, found none"))
            else:
                rows.append(_row(case, key, rule(case.tensor(given[0]).numpy(), statistics)))
    return rows


def _row(case: GoldenCase, key: str, got: NDArray[np.float32]) -> ParityRow:
    return compare(key, case.tensor(key), got, ARITHMETIC)

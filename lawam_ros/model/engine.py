"""A loaded checkpoint that turns images, text and state into an action chunk."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.model.checkpoint import Checkpoint, load_checkpoint
from lawam_ros.model.facts import check_contract
from lawam_ros.model.image_preparation import prepare_view
from lawam_ros.model.normalisation import denormalise_actions, normalise_state, pick_statistics
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.model.sampler import sample_actions

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class EngineOutput:
    """One chunk.

    normalised_actions: float32 (n, action_dim), also the dimensions the robot does not have. actions: float32 (n, D) in robot units by the
    checkpoint's statistics. h_t, h_t1: float32 (rows * columns, F), features of the first primary image now and predicted. stage_ms:
    milliseconds per stage, "total" included.
    """

    normalised_actions: NDArray[np.float32]
    actions: NDArray[np.float32]
    h_t: NDArray[np.float32]
    h_t1: NDArray[np.float32]
    grid_hw: tuple[int, int]
    stage_ms: dict[str, float] = field(default_factory=dict)


class Engine:
    """Inference with one checkpoint on one device; not to be called from two threads at once."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", dtype: str = "float32", statistics_tag: str | None = None) -> None:
        """dtype: ``float32``, or ``bfloat16`` for language model, vision and world model (the action expert stays float32).

        statistics_tag: which statistics to use; by default the embodiment of the checkpoint's facts, or the only ones there are.
        """
        if dtype not in DTYPES:
            raise UserMistake(f"expected dtype {' or '.join(DTYPES)}, got {dtype!r}")
        self.checkpoint = checkpoint
        self.config, self.facts, self.lerobot = checkpoint.config, checkpoint.facts, checkpoint.lerobot
        self.device = _usable_device(device)
        self.dtype = DTYPES[dtype]
        self.model = checkpoint.model.to(self.device).eval().requires_grad_(False)
        if self.dtype == torch.bfloat16:
            for parameter in self.model.vlm.parameters():
                parameter.data = parameter.data.to(torch.bfloat16)
        self.prompts = PromptEncoder(self.config)
        self.statistics = pick_statistics(checkpoint.statistics, statistics_tag or (self.facts.embodiment_tag if self.facts else None))
        self._batches: dict[tuple[str, int, int], Any] = {}

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu", dtype: str = "float32", statistics_tag: str | None = None) -> "Engine":
        return cls(load_checkpoint(path, _usable_device(device)), device, dtype, statistics_tag)

    @property
    def grid_hw(self) -> tuple[int, int]:
        return self.config.lam.grid_hw

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Shape (T, action_dim) of the noise of one chunk."""
        return self.config.flow.action_horizon, self.config.flow.action_dim

    def check(self, policy: PolicyContract, embodiment_id: int) -> None:
        """Refuse at configure time a task this checkpoint was not made for; official folders name only horizon and embodiments."""
        if self.facts is not None:
            check_contract(self.facts, policy, embodiment_id, self.checkpoint.path.name)
        elif abs(policy.horizon_s - self.config.flow.horizon_s) > 1e-6:
            trained = self.config.flow.horizon_s
            raise UserMistake(
                f"the checkpoint has a horizon of {trained} s, the task asks for {policy.horizon_s} s; use another checkpoint"
            )
        if self.lerobot is not None and abs(policy.action_hz - self.lerobot.action_hz) > 1e-6:
            made_for = self.lerobot.action_hz
            raise UserMistake(
                f"the checkpoint was made for {made_for:g} Hz, the task asks for {policy.action_hz:g} Hz; use another checkpoint"
            )
        self._valid_steps(policy.action_hz)
        self._checked_embodiment(embodiment_id)

    def infer(
        self,
        primary: Sequence[NDArray[np.uint8]],
        wrist: Sequence[NDArray[np.uint8]],
        instruction: str,
        state: NDArray[np.floating] | None,
        embodiment_id: int,
        action_hz: float,
        noise: Tensor | None = None,
        seed: int | None = None,
        guidance_scale: float | None = None,
        steps: int | None = None,
    ) -> EngineOutput:
        """One chunk of floor(horizon_s * action_hz) actions.

        primary, wrist: camera images uint8 (H, W, 3) in prompt order; the subgoal is predicted for the first primary one, or the one a
        LeRobot folder names. state: (D,) in
        robot units, None if the model uses none. noise: (T, action_dim) or (1, T, action_dim), otherwise drawn on the CPU from ``seed``
        (fresh if None). UserMistake says what is wrong with an argument.
        """
        stages = _StageClock(self.device)
        count = self._valid_steps(action_hz)
        hz = torch.tensor([action_hz], dtype=torch.float32, device=self.device)
        embodiment = torch.tensor([self._checked_embodiment(embodiment_id)], device=self.device)
        if not instruction.strip():
            raise UserMistake("expected an instruction in words, got an empty text")
        if not primary:
            raise UserMistake("expected at least one primary image, got none")
        with torch.inference_mode():
            with stages.measure("prepare"):
                frames = torch.stack([prepare_view(image, self.config) for image in (*primary, *wrist)]).to(self.device)
                prompt = self._prompt(instruction, len(primary), len(wrist))
                state_tensor, state_mask = self._state(state)
                x_0 = self._noise(noise, seed)
            with self._autocast():
                with stages.measure("language"):
                    language = self.model.vlm_forward(prompt, frames)
                with stages.measure("vision"):
                    h_t = self.model.encode_images(frames[self.lerobot.subgoal_view if self.lerobot else 0][None])
                with stages.measure("world_model"):
                    h_t1 = self.model.lam.decoder(h_t, language.z)
            with stages.measure("actions"):
                context = self.model.flow.context(h_t, h_t1, language.h_vlm, None)
                guidance = self.config.flow.guidance_scale if guidance_scale is None else guidance_scale
                without = None if guidance == 1.0 else self.model.flow.unconditional_context(h_t, language.h_vlm, None)
                chunk = sample_actions(
                    self.model.flow, context, x_0, hz, embodiment, state_tensor, state_mask, steps, guidance, without
                )  # fmt: skip
                normalised = chunk[0, :count].float().cpu().numpy()
        features = (h_t[0].float().cpu().numpy(), h_t1[0].float().cpu().numpy())
        return EngineOutput(normalised, self._denormalise(normalised), *features, self.grid_hw, stages.finish())

    def warm_up(self, primary: int, wrist: int, instruction: str, embodiment_id: int, action_hz: float) -> EngineOutput:
        """One inference on black images, so that the first real one is not slower than the rest."""
        black = np.zeros((self.config.image_size, self.config.image_size, 3), np.uint8)
        state = None
        if self.config.flow.use_state and self.statistics.state is not None:
            low, high = self.statistics.state.bounds(self.facts.state_mode if self.facts else None)
            state = (low + high) / 2
        return self.infer([black] * primary, [black] * wrist, instruction, state, embodiment_id, action_hz, seed=0)

    def _prompt(self, instruction: str, primary: int, wrist: int) -> Any:
        key = (instruction, primary, wrist)
        if key not in self._batches:
            if len(self._batches) > 256:
                self._batches.clear()
            self._batches[key] = self.prompts.batch([key]).to(self.device)
        return self._batches[key]

    def _state(self, state: NDArray[np.floating] | None) -> tuple[Tensor | None, Tensor | None]:
        if not self.config.flow.use_state:
            return None, None
        if state is None or self.statistics.state is None:
            raise UserMistake("the checkpoint uses the robot state; give one and keep its statistics in dataset_statistics.json")
        raw = np.asarray(state).reshape(-1)
        if self.lerobot is not None:
            values = self.lerobot.states(raw)
        else:
            values = normalise_state(raw, self.statistics.state, self.facts.state_mode if self.facts else None)
        padded = np.zeros(self.config.flow.state_dim, np.float32)
        padded[: len(values)] = values
        mask = np.arange(len(padded)) < len(values)
        return torch.from_numpy(padded)[None].to(self.device), torch.from_numpy(mask)[None].to(self.device)

    def _noise(self, noise: Tensor | None, seed: int | None) -> Tensor:
        if noise is None:
            generator = torch.Generator().manual_seed(seed) if seed is not None else None
            noise = torch.randn(self.noise_shape, generator=generator)
        return noise.reshape(-1, *noise.shape[-2:]).to(self.device)

    def _denormalise(self, normalised: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.lerobot is not None:
            return self.lerobot.actions(normalised)
        if self.facts is not None:
            return denormalise_actions(normalised, self.statistics.action, self.facts.action_mode, self.facts.binary_dims)
        # Official folders: masked dimensions were trained as 0 or 1 and are snapped, as the official clients do with the gripper.
        return denormalise_actions(normalised, self.statistics.action, None, tuple(np.flatnonzero(~self.statistics.action.mask)))

    def _valid_steps(self, action_hz: float) -> int:
        flow = self.config.flow
        count = math.floor(flow.horizon_s * action_hz) if math.isfinite(action_hz) and action_hz > 0 else 0
        if count and flow.valid_steps is not None:
            count = flow.valid_steps
        if not 1 <= count <= flow.action_horizon:
            raise UserMistake(
                f"expected a rate that gives 1 to {flow.action_horizon} actions within the model's horizon of {flow.horizon_s} s, "
                f"got {action_hz:g} Hz ({count} actions); use the rate of the training"
            )
        return count

    def _checked_embodiment(self, embodiment_id: int) -> int:
        known = self.config.flow.num_embodiments
        if not 0 <= embodiment_id < known:
            raise UserMistake(f"expected an embodiment id of 0 to {known - 1}, got {embodiment_id}")
        if self.facts is not None and embodiment_id != self.facts.embodiment_id:
            raise UserMistake(
                f"the checkpoint was trained for embodiment {self.facts.embodiment_id} ({self.facts.embodiment_tag}), got {embodiment_id}"
            )
        if self.lerobot is not None and embodiment_id != self.lerobot.embodiment_id:
            raise UserMistake(f"the checkpoint was made for embodiment {self.lerobot.embodiment_id}, got {embodiment_id}")
        return embodiment_id

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)


class _StageClock:
    """Milliseconds per named stage, waiting for the device at the end of each."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start_s = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        start_s = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._stages[name] = (time.perf_counter() - start_s) * 1e3

    def finish(self) -> dict[str, float]:
        return self._stages | {"total": (time.perf_counter() - self._start_s) * 1e3}


def _usable_device(device: str | torch.device) -> torch.device:
    kind = torch.device(device)
    if kind.type == "cuda" and not torch.cuda.is_available():
        raise EnvironmentLacks("device cuda was asked for, torch sees no CUDA device; use device cpu or install torch for your GPU")
    return kind

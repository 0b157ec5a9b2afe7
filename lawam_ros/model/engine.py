"""A loaded checkpoint that turns images, text and state into action chunks."""

import math
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.contract.task import PolicyContract
from lawam_ros.model.checkpoint import Checkpoint, load_checkpoint
from lawam_ros.model.facts import check_contract
from lawam_ros.model.fast.chunk import (
    Chunks,
    ChunkTensors,
    DenoisingPlan,
    PackedModel,
    PromptTensors,
    compiled_stages,
    denoising_plan,
    for_embodiment,
    on_device,
    pack_model,
    plain_stages,
    prompt_tensors,
)
from lawam_ros.model.fast.denoise import Guide
from lawam_ros.model.fast.precision import precision_of
from lawam_ros.model.fast.run_chunk import CapturedChunk, CudaMachine, can_capture, capture_key, run_directly
from lawam_ros.model.flow_head import valid_steps
from lawam_ros.model.image_preparation import prepare_view
from lawam_ros.model.normalisation import denormalise_actions, normalise, normalise_state, pick_statistics
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.model.real_time_chunking import ChunkPrefix, prefix_mask, prefix_target

MAX_INSTRUCTION_TOKENS = 512
Value = TypeVar("Value")


@dataclass(frozen=True)
class EngineOutput:
    """Chunks for one observation.

    normalised_actions: float32 (n, action_dim), also the dimensions the robot does not have; actions: float32 (n, D) in robot units by the
    checkpoint's statistics; both with a leading axis N where several chunks were asked for. h_t, h_t1: float32 (rows * columns, F),
    features of the first primary image now and predicted. stage_ms: milliseconds per stage, "total" included.
    """

    normalised_actions: NDArray[np.float32]
    actions: NDArray[np.float32]
    h_t: NDArray[np.float32]
    h_t1: NDArray[np.float32]
    grid_hw: tuple[int, int]
    stage_ms: dict[str, float] = field(default_factory=dict)


class Engine:
    """Inference with one checkpoint on one device; not to be called from two threads at once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "cpu",
        dtype: str = "float32",
        statistics_tag: str | None = None,
        capture: bool = True,
        compiled: bool = False,
    ) -> None:
        """dtype: ``float32``; ``bfloat16`` for language model, vision and world model; ``bfloat16_head`` for the action expert too.

        statistics_tag: which statistics to use; by default the embodiment of the checkpoint's facts, or the only ones there are.
        capture: on a CUDA device, run every shape as captured graphs; the first chunk of a shape is slow.
        compiled: fuse kernels with torch.compile; the first chunk of a shape takes minutes.
        """
        precision = precision_of(dtype)
        self.checkpoint = checkpoint
        self.config, self.facts, self.lerobot = checkpoint.config, checkpoint.facts, checkpoint.lerobot
        self.device = _usable_device(device)
        self.model = checkpoint.model.to(self.device).eval().requires_grad_(False)
        self.packed = pack_model(self.model, precision)
        self.statistics = pick_statistics(checkpoint.statistics, statistics_tag or (self.facts.embodiment_tag if self.facts else None))
        self._encoder = PromptEncoder(self.config)
        self._stages = compiled_stages() if compiled else plain_stages()
        self._capture = capture and self.device.type == "cuda"
        self._prompts: OrderedDict[Hashable, PromptTensors] = OrderedDict()
        self._plans: OrderedDict[Hashable, DenoisingPlan] = OrderedDict()
        self._heads: OrderedDict[Hashable, PackedModel] = OrderedDict()
        self._captured: OrderedDict[Hashable, CapturedChunk] = OrderedDict()

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: str = "cpu",
        dtype: str = "float32",
        statistics_tag: str | None = None,
        embodiment_id: int | None = None,
        compiled: bool = False,
    ) -> "Engine":
        """Engine of a checkpoint, without what inference never reads. embodiment_id: the only one that will be asked for, if known."""
        checkpoint = load_checkpoint(
            path, _usable_device(device), for_inference=True, embodiment_id=embodiment_id, vlm_dtype=precision_of(dtype).language
        )
        return cls(checkpoint, device, dtype, statistics_tag, compiled=compiled)

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
        valid_steps(self.config.flow, policy.action_hz)
        self._embodiment_row(embodiment_id)

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
        prefix: ChunkPrefix | None = None,
        chunks: int | None = None,
        subgoal: NDArray[np.float32] | None = None,
    ) -> EngineOutput:
        """One chunk of floor(horizon_s * action_hz) actions, or ``chunks`` of them for one observation, which is read once.

        primary, wrist: camera images uint8 (H, W, 3) in prompt order; the subgoal is predicted for the first primary one, or the one a
        LeRobot folder names. state: (D,) in robot units, None if the model uses none. noise: (T, action_dim), or with ``chunks`` N
        (N, T, action_dim); otherwise drawn on the CPU from ``seed`` (fresh if None) times the checkpoint's ``noise_scale``, so that the
        first of several chunks is the single one of that seed. guidance_scale, steps: the checkpoint's own if None. prefix: what the chunk
        has to continue. subgoal: features (rows * columns, F) the action expert reads in place of the predicted ones. UserMistake says
        what is wrong with an argument.
        """
        start_s = time.perf_counter()
        scale = self.config.flow.guidance_scale if guidance_scale is None else guidance_scale
        steps = self.config.flow.num_inference_steps if steps is None else steps
        rows, row = valid_steps(self.config.flow, action_hz), self._embodiment_row(embodiment_id)
        count = 1 if chunks is None else chunks
        self._check(primary, wrist, instruction, count, scale, steps)
        clean_rows = 0
        if prefix is not None:
            prefix.check(rows, self.statistics.action.size)
            clean_rows = prefix.delay_steps if prefix.trained else 0
        with torch.no_grad():
            packed = self._packed_for(row)
            plan_key = (steps, action_hz, scale, clean_rows)
            plan = _kept(self._plans, plan_key, 16, lambda: denoising_plan(packed, steps, action_hz, scale, clean_rows))
            state_values, state_mask = self._state(state)
            given = ChunkTensors(
                frames=torch.stack([prepare_view(image, self.config) for image in (*primary, *wrist)]),
                prompt=self._prompt(instruction, len(primary), len(wrist)),
                noise=self._noise(count, noise, seed)[:, :rows],
                state=state_values,
                state_mask=state_mask,
                guide=None if prefix is None else self._guide(prefix, rows),
                subgoal_view=self.lerobot.subgoal_view if self.lerobot else 0,
                subgoal=None if subgoal is None else self._given_subgoal(subgoal),
            )
        prepared_s = time.perf_counter()
        result, stages = self._run(packed, given, plan, (row, plan_key))
        normalised, h_t, h_t1 = (tensor.float().cpu().numpy() for tensor in (result.actions, result.h_t, result.h_t1))
        actions = np.stack([self._denormalise(chunk) for chunk in normalised])
        if chunks is None:
            normalised, actions = normalised[0], actions[0]
        stages = {"prepare": (prepared_s - start_s) * 1e3, **stages, "total": (time.perf_counter() - start_s) * 1e3}
        return EngineOutput(normalised, actions, h_t, h_t1, self.grid_hw, stages)

    def warm_up(self, primary: int, wrist: int, instruction: str, embodiment_id: int, action_hz: float) -> EngineOutput:
        """One inference on black images, so that the first real one is not slower than the rest."""
        black = np.zeros((self.config.image_size, self.config.image_size, 3), np.uint8)
        state = None
        if self.config.flow.use_state and self.statistics.state is not None:
            low, high = self.statistics.state.bounds(self.facts.state_mode if self.facts else None)
            state = (low + high) / 2
        return self.infer([black] * primary, [black] * wrist, instruction, state, embodiment_id, action_hz, seed=0)

    def normalise_actions(self, actions: NDArray[np.floating]) -> NDArray[np.float32]:
        """Actions (m, D) in robot units as the model speaks them, clipped to -1..1: what a prefix is made of. Our checkpoints only."""
        if self.facts is None:
            raise UserMistake("expected a checkpoint that says how its actions are normalised (a lawam_ros block), got another layout")
        modes = ["binary" if dim in self.facts.binary_dims else self.facts.action_mode for dim in range(self.statistics.action.size)]
        return np.clip(normalise(actions, self.statistics.action, modes), -1.0, 1.0)

    def _run(self, packed: PackedModel, given: ChunkTensors, plan: DenoisingPlan, plan_key: Hashable) -> tuple[Chunks, dict[str, float]]:
        if not (self._capture and can_capture(given)):
            return run_directly(packed, on_device(given, self.device), plan, self._stages)
        captured = _kept(
            self._captured,
            capture_key(given, plan_key),
            8,
            lambda: CapturedChunk(packed, on_device(given, self.device), plan, CudaMachine(), self._stages),
        )
        return captured.run(given)

    def _packed_for(self, row: int) -> PackedModel:
        return _kept(self._heads, row, 4, lambda: for_embodiment(self.packed, row))

    def _check(self, primary: Sequence[Any], wrist: Sequence[Any], instruction: str, chunks: int, scale: float, steps: int) -> None:
        if not instruction.strip():
            raise UserMistake("expected an instruction in words, got an empty text")
        made_for = self.facts or self.lerobot
        for kind, images in (("primary", primary), ("wrist", wrist)):
            cameras = getattr(made_for, f"{kind}_cameras") if made_for else None
            if cameras is not None and len(images) != len(cameras):
                named = f" ({', '.join(cameras)})" if cameras else ""
                raise UserMistake(f"expected {len(cameras)} {kind} image(s){named}, got {len(images)}; the checkpoint was made for these")
        if not primary:
            raise UserMistake("expected at least one primary image, got none")
        if chunks < 1:
            raise UserMistake(f"expected at least one chunk, got {chunks}")
        buckets = self.config.flow.num_timestep_buckets
        if not 1 <= steps <= buckets:
            raise UserMistake(f"expected 1 to {buckets} denoising steps, got {steps}")
        if not math.isfinite(scale):
            raise UserMistake(f"expected a finite guidance scale, got {scale}")
        if scale != 1.0 and not self.config.flow.cfg_drop_prob > 0.0:
            warnings.warn(
                f"guidance {scale:g} mixes in an unconditional embedding this checkpoint never trained (cfg_drop_prob 0); "
                "use guidance 1 unless you know it helps",
                RuntimeWarning,
                stacklevel=4,
            )

    def _prompt(self, instruction: str, primary: int, wrist: int) -> PromptTensors:
        def fresh() -> PromptTensors:
            batch = self._encoder.batch([(instruction, primary, wrist)])
            spoken = self._encoder.instruction_tokens(instruction)
            if spoken > MAX_INSTRUCTION_TOKENS:
                raise UserMistake(f"expected an instruction of at most {MAX_INSTRUCTION_TOKENS} tokens, got {spoken}; shorten it")
            return prompt_tensors(self.packed, batch.to(self.device))

        return _kept(self._prompts, (instruction, primary, wrist), 256, fresh)

    def _given_subgoal(self, subgoal: NDArray[np.float32]) -> Tensor:
        expected = (self.grid_hw[0] * self.grid_hw[1], self.config.feature_dim)
        if subgoal.shape != expected:
            raise UserMistake(f"expected subgoal features of shape {expected}, got {subgoal.shape}")
        return torch.from_numpy(np.array(subgoal, dtype=np.float32))

    def _guide(self, prefix: ChunkPrefix, rows: int) -> Guide:
        if prefix.trained and self.facts is not None and prefix.delay_steps > self.facts.trained_delay_steps:
            known = self.facts.trained_delay_steps
            raise UserMistake(
                f"the checkpoint was trained for prefixes of up to {known} steps, got {prefix.delay_steps}; use a guided prefix"
            )
        width = self.config.flow.action_dim
        mask = prefix_mask(prefix, rows, width, self.statistics.action.size)
        clean_rows = prefix.delay_steps if prefix.trained else 0
        target = prefix_target(prefix, rows, width)
        return Guide(target, mask, clean_rows, prefix.max_weight, prefix.prior_sigma, prefix.jacobian)

    def _state(self, state: NDArray[np.floating] | None) -> tuple[Tensor | None, Tensor | None]:
        if not self.config.flow.use_state:
            return None, None
        if state is None or self.statistics.state is None:
            raise UserMistake("the checkpoint uses the robot state; give one and keep its statistics in dataset_statistics.json")
        raw = np.asarray(state, dtype=np.float64).reshape(-1)
        if not np.all(np.isfinite(raw)):
            raise UserMistake(f"expected a finite robot state, got {raw.tolist()}; check joint_states before asking for a chunk")
        if self.lerobot is not None:
            values = self.lerobot.states(raw)
        else:
            values = normalise_state(raw, self.statistics.state, self.facts.state_mode if self.facts else None)
        padded = np.zeros(self.config.flow.state_dim, np.float32)
        padded[: len(values)] = values
        mask = np.arange(len(padded)) < len(values)
        return torch.from_numpy(padded)[None], torch.from_numpy(mask)[None]

    def _noise(self, chunks: int, noise: Tensor | None, seed: int | None) -> Tensor:
        expected = (chunks, *self.noise_shape)
        if noise is None:
            generator = torch.Generator().manual_seed(seed) if seed is not None else None
            return torch.randn(expected, generator=generator) * (self.facts.noise_scale if self.facts else 1.0)
        noise = noise.reshape(-1, *noise.shape[-2:])
        if tuple(noise.shape) != expected:
            raise UserMistake(f"expected noise of shape {expected} (chunks, action_horizon, action_dim), got {tuple(noise.shape)}")
        return noise.float()

    def _denormalise(self, normalised: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.lerobot is not None:
            return self.lerobot.actions(normalised)
        if self.facts is not None:
            return denormalise_actions(normalised, self.statistics.action, self.facts.action_mode, self.facts.binary_dims)
        # Official folders: masked dimensions were trained as 0 or 1 and are snapped, as the official clients do with the gripper.
        return denormalise_actions(normalised, self.statistics.action, None, tuple(np.flatnonzero(~self.statistics.action.mask)))

    def _embodiment_row(self, embodiment_id: int) -> int:
        if self.facts is not None and embodiment_id != self.facts.embodiment_id:
            raise UserMistake(
                f"the checkpoint was trained for embodiment {self.facts.embodiment_id} ({self.facts.embodiment_tag}), got {embodiment_id}"
            )
        if self.lerobot is not None and embodiment_id != self.lerobot.embodiment_id:
            raise UserMistake(f"the checkpoint was made for embodiment {self.lerobot.embodiment_id}, got {embodiment_id}")
        return self.checkpoint.embodiment_row(embodiment_id)


def _kept(store: OrderedDict[Hashable, Value], key: Hashable, most: int, make: Callable[[], Value]) -> Value:
    """The value stored under ``key``, made if need be; the one unused for longest goes when there are more than ``most``."""
    if key not in store:
        store[key] = make()
        if len(store) > most:
            store.popitem(last=False)
    store.move_to_end(key)
    return store[key]


def _usable_device(device: str | torch.device) -> torch.device:
    kind = torch.device(device)
    if kind.type == "cuda" and not torch.cuda.is_available():
        raise EnvironmentLacks("device cuda was asked for, torch sees no CUDA device; use device cpu or install torch for your GPU")
    return kind

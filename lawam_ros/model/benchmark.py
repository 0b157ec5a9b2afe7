"""Speed, work and fidelity of the engine next to the plain computation, on one shared set of random weights, in one run."""

import copy
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from lawam_ros.model import eager
from lawam_ros.model.config import ModelConfig
from lawam_ros.model.fast import chunk as fast
from lawam_ros.model.fast.precision import Precision, precision_of
from lawam_ros.model.fast.run_chunk import CapturedChunk, CudaMachine, run_directly
from lawam_ros.model.flow_head import valid_steps
from lawam_ros.model.lawam import LaWAM
from lawam_ros.model.prompt import PromptBatch
from lawam_ros.model.random_model import random_frames, random_model, random_prompt

STAGES = ("language", "vision", "world_model", "actions")
Timings = dict[str, list[float]]


@dataclass(frozen=True)
class Setting:
    """What is measured. action_hz decides the number of valid actions; dtype: a plan of ``fast/precision.py``."""

    config: ModelConfig
    device: str
    dtype: str
    views: int
    steps: int
    action_hz: float
    repeats: int
    seed: int = 0
    compiled: bool = False

    @property
    def precision(self) -> Precision:
        return precision_of(self.dtype)


@dataclass(frozen=True)
class Measured:
    """One way of computing a chunk: milliseconds per repeat of each stage and in all, and floating point operations per stage."""

    timings: Timings
    flops: Mapping[str, int]

    def percentiles(self, stage: str) -> dict[str, float]:
        values = np.asarray(self.timings[stage])
        return {name: float(np.percentile(values, q)) for name, q in (("p50", 50), ("p90", 90), ("p99", 99))} | {"max": float(values.max())}


@dataclass(frozen=True)
class Comparison:
    """Both ways on one set of weights. max_abs_difference: of the actions of the repeats."""

    eager: Measured
    engine: Measured
    weight_bytes: int
    peak_bytes: int
    max_abs_difference: float
    valid_steps: int
    prompt_tokens: int
    stage_weight_bytes: Mapping[str, int] = field(default_factory=dict)


class _Bench:
    """Model, packed model and inputs of one setting."""

    def __init__(self, setting: Setting, model: LaWAM, packed: fast.PackedModel) -> None:
        self.setting, self.model, self.packed = setting, model, packed
        self.device = torch.device(setting.device)
        self.prompt: PromptBatch = random_prompt(setting.config, setting.views, setting.seed).to(self.device)
        self.plan = fast.denoising_plan(packed, setting.steps, setting.action_hz, 1.0)
        self.prompt_tensors = fast.prompt_tensors(packed, self.prompt)
        self.rows = valid_steps(setting.config.flow, setting.action_hz)

    def inputs(self, seed: int) -> tuple[eager.EagerInputs, fast.ChunkTensors]:
        config, device = self.setting.config, self.device
        frames = random_frames(config, self.setting.views, seed)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, config.flow.action_horizon, config.flow.action_dim, generator=generator)
        state = mask = None
        if config.flow.use_state:
            state = torch.rand(1, config.flow.state_dim, generator=generator) * 2 - 1
            mask = torch.ones(1, config.flow.state_dim, dtype=torch.bool)
        plain = eager.EagerInputs(
            prompt=self.prompt,
            frames=frames,
            noise=noise,
            action_hz=torch.tensor([self.setting.action_hz], device=device),
            embodiment_id=torch.tensor([0], device=device),
            state=state,
            state_mask=mask,
        )
        return plain, fast.ChunkTensors(frames, self.prompt_tensors, noise[:, : self.rows], state, mask)


def compare(setting: Setting, progress: Callable[[str], None]) -> Comparison:
    """Both ways on the same weights and inputs, taking turns, after warming up. progress: gets what is being done."""
    progress("making random weights")
    model = random_model(setting.config, setting.seed, setting.device)
    with torch.no_grad():
        packed = fast.pack_model(model, setting.precision)
        bench = _Bench(setting, model, packed)
        run_engine = _engine_runner(bench)
        timings: tuple[Timings, Timings] = ({}, {})
        difference = 0.0
        for repeat in range(-_warm_up_runs(setting), setting.repeats):
            progress(f"{setting.views} view(s): {'warming up' if repeat < 0 else f'repeat {repeat + 1} of {setting.repeats}'}")
            plain, packed_inputs = bench.inputs(seed=repeat + 1000)
            expected, eager_ms = run_eager(bench, plain)
            got, engine_ms = run_engine(packed_inputs)
            if repeat >= 0:
                for store, stages in zip(timings, (eager_ms, engine_ms), strict=True):
                    for name, ms in stages.items():
                        store.setdefault(name, []).append(ms)
                difference = max(difference, float((expected[:, : bench.rows].cpu() - got.cpu()).abs().max()))
        progress("counting operations")
        flops = _count_flops(bench)
    return Comparison(
        eager=Measured(timings[0], flops[0]),
        engine=Measured(timings[1], flops[1]),
        weight_bytes=_weight_bytes(model),
        peak_bytes=_peak_bytes(bench.device),
        max_abs_difference=difference,
        valid_steps=bench.rows,
        prompt_tokens=bench.prompt.input_ids.shape[1],
        stage_weight_bytes=_stage_weight_bytes(packed, setting.steps),
    )


def run_eager(bench: _Bench, given: eager.EagerInputs) -> tuple[Tensor, dict[str, float]]:
    """Actions (1, T, A) on the device and milliseconds per stage, each waited for."""
    device, precision = bench.device, bench.setting.precision
    start_s = time.perf_counter()
    clock = _StageClock(device)
    moved = eager.on_device(given, device)
    with _autocast(device, precision.language):
        h_vlm, z = clock("language", lambda: eager.read_language(bench.model, moved))
    with _autocast(device, precision.vision):
        h_t = clock("vision", lambda: eager.read_image(bench.model, moved))
    with _autocast(device, precision.world_model):
        h_t1 = clock("world_model", lambda: eager.foresee(bench.model.lam.decoder, h_t, z.float()))
    with _autocast(device, precision.head):
        actions = clock(
            "actions", lambda: eager.act(bench.model.flow, moved, h_t.float(), h_t1.float(), h_vlm.float(), bench.setting.steps)
        )
    host = actions.float().cpu()
    return host, clock.stages | {"total": (time.perf_counter() - start_s) * 1e3}


def _engine_runner(bench: _Bench) -> Callable[[fast.ChunkTensors], tuple[Tensor, dict[str, float]]]:
    captured: list[CapturedChunk] = []
    stages = fast.compiled_stages() if bench.setting.compiled else fast.plain_stages()

    def run(given: fast.ChunkTensors) -> tuple[Tensor, dict[str, float]]:
        start_s = time.perf_counter()
        if bench.device.type == "cuda":
            if not captured:
                captured.append(CapturedChunk(bench.packed, fast.on_device(given, bench.device), bench.plan, CudaMachine(), stages))
            chunks, stage_ms = captured[0].run(given)
        else:
            chunks, stage_ms = run_directly(bench.packed, given, bench.plan, stages)
        return chunks.actions.float().cpu(), stage_ms | {"total": (time.perf_counter() - start_s) * 1e3}

    return run


def fidelity(
    config: ModelConfig, dtype: str, views: int, steps: int, action_hz: float, observations: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Cosine and largest difference of the engine's actions in ``dtype`` against the plain float32 computation on a CPU, same noise."""
    setting = Setting(config, "cpu", dtype, views, steps, action_hz, repeats=1)
    reference = random_model(config, setting.seed)
    packed_model = copy.deepcopy(reference)
    cosines, differences = [], []
    with torch.no_grad():
        bench = _Bench(setting, packed_model, fast.pack_model(packed_model, setting.precision))
        for index in range(observations):
            progress(f"fidelity: observation {index + 1} of {observations}")
            plain, given = bench.inputs(seed=10_000 + index)
            expected = eager.eager_chunk(reference, plain, steps)[0][:, : bench.rows].flatten()
            got = run_directly(bench.packed, given, bench.plan)[0].actions.flatten()
            cosines.append(float(torch.nn.functional.cosine_similarity(expected, got, dim=0)))
            differences.append(float((expected - got).abs().max()))
    return {
        "dtype": dtype,
        "observations": observations,
        "cosine_min": min(cosines),
        "cosine_mean": float(np.mean(cosines)),
        "max_abs_difference": max(differences),
    }


def machine_rates(device: str, dtype: torch.dtype, seconds: float = 0.5) -> dict[str, float]:
    """Best of a few large matrix products (operations per s) and of reads of much memory by matrix-vector products (bytes per s)."""
    kind = torch.device(device)
    size = 8192 if kind.type == "cuda" else 1536
    a = torch.randn(size, size, device=kind).to(dtype)
    wide = torch.randn(2**29 if kind.type == "cuda" else 2**27, device=kind).to(dtype).view(-1, 4096)
    column = torch.randn(4096, 1, device=kind).to(dtype)
    return {
        "operations_per_s": 2 * size**3 / _best_s(lambda: a @ a, kind, seconds),
        "bytes_per_s": wide.numel() * wide.element_size() / _best_s(lambda: wide @ column, kind, seconds),
    }


def _best_s(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    best, end_s = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end_s:
        _wait(device)
        start_s = time.perf_counter()
        work()
        _wait(device)
        best = min(best, time.perf_counter() - start_s)
    return best


def floor_ms(flops: Mapping[str, int], weight_bytes: Mapping[str, int], rates: Mapping[str, float]) -> dict[str, float]:
    """Per stage the longer of reading its weights as often as it must and of doing its operations, at the machine's best rates."""
    stages = {name: max(weight_bytes[name] / rates["bytes_per_s"], flops[name] / rates["operations_per_s"]) * 1e3 for name in STAGES}
    return stages | {"total": sum(stages.values())}


class _StageClock:
    """Runs stages one by one, each waited for."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.stages: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        start_s = time.perf_counter()
        result = work()
        _wait(self._device)
        self.stages[name] = (time.perf_counter() - start_s) * 1e3
        return result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def _warm_up_runs(setting: Setting) -> int:
    return 5 if setting.device == "cuda" else 1


def _count_flops(bench: _Bench) -> tuple[dict[str, int], dict[str, int]]:
    """Operations per stage of both ways: matrix products, convolutions and attention, a multiplication with its addition as two."""
    plain, given = bench.inputs(seed=0)
    plain, given = eager.on_device(plain, bench.device), fast.on_device(given, bench.device)
    precision = bench.setting.precision
    model, packed = bench.model, bench.packed
    eager_flops: dict[str, int] = {}
    with _autocast(bench.device, precision.language):
        h_vlm, z = _counted(eager_flops, "language", lambda: eager.read_language(model, plain))
        h_t = _counted(eager_flops, "vision", lambda: eager.read_image(model, plain)).float()
        h_t1 = _counted(eager_flops, "world_model", lambda: eager.foresee(model.lam.decoder, h_t, z.float())).float()
    with _autocast(bench.device, precision.head):
        _counted(eager_flops, "actions", lambda: eager.act(model.flow, plain, h_t, h_t1, h_vlm.float(), bench.setting.steps))
    engine_flops: dict[str, int] = {}
    h_vlm, z = _counted(engine_flops, "language", lambda: fast.read_language(packed, given))
    h_t = _counted(engine_flops, "vision", lambda: fast.read_image(packed, given))
    h_t1 = _counted(engine_flops, "world_model", lambda: fast.foresee(packed, h_t, z))
    _counted(engine_flops, "actions", lambda: fast.act(packed, given, bench.plan, h_t, h_t1, h_vlm))
    return eager_flops, engine_flops


def _counted(store: dict[str, int], name: str, work: Callable[[], Any]) -> Any:
    cpu_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={cpu_attention: _attention_flops})
    with counter:
        result = work()
    store[name] = int(counter.get_total_flops())
    return result


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    batch, heads = query[:2]
    key, value = ((batch, heads, *shape[2:]) for shape in (key, value))
    return int(sdpa_flop_count(query, key, value))


def _weight_bytes(model: LaWAM) -> int:
    stores = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()}
    return sum(stores.values())


def _stage_weight_bytes(packed: fast.PackedModel, steps: int) -> dict[str, int]:
    """Bytes of weights each stage must read; those of the action expert's blocks once per step."""
    model, head = packed.model, packed.head
    encoder = model.lam.vision_encoder
    blocks = sum(_bytes(part) for block in head.blocks for part in (block.query, block.output, block.up, block.down))
    per_step = blocks + _bytes(head.output) + sum(t.numel() * t.element_size() for t in (*head.encoder, *head.decoder))
    context = _bytes(head.text) + _bytes(head.image) + sum(p.numel() * p.element_size() for p in model.flow.enc_vlm.parameters())
    used = [p for name, p in encoder.named_parameters() if not name.startswith(_unread(encoder))]
    embeddings = model.vlm.model.language_model.embed_tokens.weight
    return {
        "language": sum(p.numel() * p.element_size() for p in model.vlm.parameters()) - embeddings.numel() * embeddings.element_size(),
        "vision": sum(p.numel() * p.element_size() for p in used),
        "world_model": sum(p.numel() * p.element_size() for p in model.lam.decoder.parameters()),
        "actions": context + steps * per_step,
    }


def _unread(encoder: Any) -> tuple[str, ...]:
    """Prefixes of parameters of the frozen encoder that are never read: of DINOv3, the last block and what follows it."""
    if not isinstance(encoder, eager.DinoEncoder):
        return ("no such name",)
    last = encoder.model.config.num_hidden_layers - 1
    return ("model.norm.", f"model.layer.{last}.", f"model.model.layer.{last}.")


def _bytes(dense: Any) -> int:
    return sum(t.numel() * t.element_size() for t in (dense.weight, dense.bias) if t is not None)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

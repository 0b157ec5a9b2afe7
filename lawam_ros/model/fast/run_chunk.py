"""Running the stages of a chunk: directly, or as captured graphs on buffers that stay where they are."""

import time
from collections.abc import Callable, Hashable
from dataclasses import fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from lawam_ros.model.fast.chunk import Chunks, ChunkTensors, DenoisingPlan, PackedModel, Stages, plain_stages

PLAIN = plain_stages()


def run_directly(packed: PackedModel, given: ChunkTensors, plan: DenoisingPlan, stages: Stages = PLAIN) -> tuple[Chunks, dict[str, float]]:
    """Chunks and milliseconds per stage. On a GPU nothing waits for the stages, so their times are those of the launches."""
    stamps = [time.perf_counter()]
    with torch.no_grad():
        h_vlm, z = stages.read_language(packed, given)
        stamps.append(time.perf_counter())
        h_t = stages.read_image(packed, given)
        stamps.append(time.perf_counter())
        h_t1 = stages.foresee(packed, h_t, z)
        stamps.append(time.perf_counter())
        actions = stages.act(packed, given, plan, h_t, h_t1, h_vlm)
        stamps.append(time.perf_counter())
    spans = zip(("language", "vision", "world_model", "actions"), stamps[:-1], stamps[1:], strict=True)
    return Chunks(actions, h_t, h_t1), {name: (end - start) * 1e3 for name, start, end in spans}


def capture_key(given: ChunkTensors, plan_key: Hashable) -> Hashable:
    """What a captured chunk depends on besides the values in its buffers; ``plan_key`` stands for the plan and the embodiment."""
    guide = None if given.guide is None else (given.guide.set_rows, given.guide.max_weight, given.guide.prior_sigma, given.guide.jacobian)
    sizes = (tuple(given.frames.shape), given.frames.dtype, len(given.prompt.embeds), len(given.prompt.image_index))
    return (*sizes, tuple(given.noise.shape), given.state is None, guide, given.subgoal_view, plan_key)


def can_capture(given: ChunkTensors) -> bool:
    """Neither work that differentiates through the network is captured, nor a subgoal of the caller's."""
    if given.subgoal is not None:
        return False
    return given.guide is None or given.guide.set_rows > 0 or given.guide.jacobian == "identity"


class Machine(Protocol):
    """The few calls of a device that captured chunks need."""

    def warm_up(self, work: Callable[[], object]) -> None:
        """Run ``work`` a few times: libraries choose kernels and allocate in first calls, which must not be captured."""

    def capture(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Record ``work`` without running it: a function that runs it again into the same memory, and its results."""

    def beside(self, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
        """Both results; ``second`` may run at the same time as ``first``."""

    def host_buffer(self, like: Tensor) -> Tensor:
        """Host memory the device copies from and into without blocking."""

    def mark(self) -> Any:
        """A point in the device's time."""

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """Between two points that have passed."""

    def wait(self) -> None:
        """Until all work given so far is done."""


class CudaMachine:
    """The current CUDA device."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._side = torch.cuda.Stream()

    def warm_up(self, work: Callable[[], object]) -> None:
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(self._side)

    def capture(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = work()
        return graph.replay, result

    def beside(self, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
        main = torch.cuda.current_stream()
        self._side.wait_stream(main)
        with torch.cuda.stream(self._side):
            other = second()
        own = first()
        main.wait_stream(self._side)
        return own, other

    def host_buffer(self, like: Tensor) -> Tensor:
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def elapsed_ms(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return start.elapsed_time(end)

    def wait(self) -> None:
        torch.cuda.current_stream().synchronize()


class CapturedChunk:
    """The stages for one :func:`capture_key`: three graphs (reading, world model, actions), replayed for every chunk."""

    def __init__(self, packed: PackedModel, given: ChunkTensors, plan: DenoisingPlan, machine: Machine, stages: Stages = PLAIN) -> None:
        self._machine = machine
        self._prompt = given.prompt
        own = self._buffers = _copied(given)
        with torch.no_grad():
            machine.warm_up(lambda: run_directly(packed, own, plan, stages))
            read, ((h_vlm, z), h_t) = machine.capture(
                lambda: machine.beside(lambda: stages.read_language(packed, own), lambda: stages.read_image(packed, own))
            )
            look_ahead, h_t1 = machine.capture(lambda: stages.foresee(packed, h_t, z))
            move, actions = machine.capture(lambda: stages.act(packed, own, plan, h_t, h_t1, h_vlm))
        # h_vlm and z are kept because their memory is written by every replay.
        self._kept = (h_vlm, z)
        self._replays = {"language": read, "world_model": look_ahead, "actions": move}
        self._result = Chunks(actions, h_t, h_t1)
        self._staged = [machine.host_buffer(buffer) for buffer in _inputs(own)]
        self._host = Chunks(*(machine.host_buffer(tensor) for tensor in _parts(self._result)))

    def run(self, given: ChunkTensors) -> tuple[Chunks, dict[str, float]]:
        """Chunks on the host and milliseconds per stage (``language`` with the image features beside it). Waits once, at the end."""
        self._fill(given)
        marks = [self._machine.mark()]
        for replay in self._replays.values():
            replay()
            marks.append(self._machine.mark())
        for host, tensor in zip(_parts(self._host), _parts(self._result), strict=True):
            host.copy_(tensor, non_blocking=True)
        self._machine.wait()
        spans = zip(self._replays, marks[:-1], marks[1:], strict=True)
        stage_ms = {name: self._machine.elapsed_ms(start, end) for name, start, end in spans}
        return Chunks(*(tensor.clone() for tensor in _parts(self._host))), stage_ms

    def _fill(self, given: ChunkTensors) -> None:
        # The staged values may be overwritten: the last run waited until they had been copied.
        for buffer, staged, value in zip(_inputs(self._buffers), self._staged, _inputs(given), strict=True):
            staged.copy_(value)
            buffer.copy_(staged, non_blocking=True)
        if given.prompt is not self._prompt:
            for buffer, value in zip(_prompt_parts(self._buffers), _prompt_parts(given), strict=True):
                buffer.copy_(value, non_blocking=True)
            self._prompt = given.prompt


def _parts(chunks: Chunks) -> list[Tensor]:
    return [getattr(chunks, field.name) for field in fields(chunks)]


def _inputs(given: ChunkTensors) -> list[Tensor]:
    """The tensors that change with every chunk."""
    guide = [given.guide.target, given.guide.mask] if given.guide is not None else []
    return [tensor for tensor in (given.frames, given.noise, given.state, given.state_mask, *guide) if tensor is not None]


def _prompt_parts(given: ChunkTensors) -> list[Tensor]:
    return [given.prompt.embeds, given.prompt.image_index, given.prompt.act_index]


def _copied(given: ChunkTensors) -> ChunkTensors:
    """The same values in memory of their own."""
    prompt = replace(given.prompt, **{name: getattr(given.prompt, name).clone() for name in ("embeds", "image_index", "act_index")})
    guide = given.guide and replace(given.guide, target=given.guide.target.clone(), mask=given.guide.mask.clone())
    own = {name: getattr(given, name).clone() for name in ("frames", "noise", "state", "state_mask") if getattr(given, name) is not None}
    return replace(given, prompt=prompt, guide=guide, **own)

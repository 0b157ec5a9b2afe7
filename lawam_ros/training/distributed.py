"""Several processes that train one model together, started by torchrun or anything else that sets RANK, WORLD_SIZE and MASTER_ADDR."""

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from lawam_ros.contract.errors import EnvironmentLacks


@dataclass(frozen=True)
class Processes:
    """rank: number of this process among ``size``; device: what it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and evaluates."""
        return self.rank == 0


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """This process's place; joins the group inside the block. ``device``: "cpu", or "cuda" for the GPU of the process's local rank."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = (int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
    kind = torch.device(device)
    if kind.type == "cuda":
        if not torch.cuda.is_available():
            raise EnvironmentLacks("device cuda was asked for, torch sees no CUDA device; use --device cpu or install torch for your GPU")
        kind = torch.device("cuda", local if kind.index is None else kind.index)
        torch.cuda.set_device(kind)
    if size == 1:
        yield Processes(0, 1, kind)
        return
    dist.init_process_group("nccl" if kind.type == "cuda" else "gloo")
    try:
        yield Processes(rank, size, kind)
    finally:
        dist.destroy_process_group()


def shared(module: nn.Module, processes: Processes) -> nn.Module:
    """The module as torch's distributed engine runs it: gradients are averaged over the processes during the backward pass."""
    if processes.size == 1:
        return module
    devices = [processes.device] if processes.device.type == "cuda" else None
    # Buffers are fixed tables; the option that leaves them alone has another name in newer versions.
    known = inspect.signature(nn.parallel.DistributedDataParallel).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return nn.parallel.DistributedDataParallel(module, device_ids=devices, **{option: False})


def mean_over_processes(values: Mapping[str, float], processes: Processes) -> dict[str, float]:
    """The same numbers averaged over all processes."""
    if processes.size == 1:
        return dict(values)
    tensor = torch.tensor(list(values.values()), dtype=torch.float64 if processes.device.type == "cpu" else torch.float32)
    tensor = tensor.to(processes.device)
    dist.all_reduce(tensor)
    return dict(zip(values, (tensor / processes.size).tolist(), strict=True))


def wait_for_all(processes: Processes) -> None:
    if processes.size > 1:
        dist.barrier()

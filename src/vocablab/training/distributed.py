"""Several devices under torchrun: data-parallel copies (DDP) or sharded parameters (FSDP2)."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from vocablab.base.errors import UserError

CHOICES = ("ddp", "fsdp")


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """How many there are."""
    device: str = "cpu"
    """This process's device."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and says things."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.size > 1:
            dist.all_reduce(value)
        return value


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def ranks(device: str) -> Iterator[Ranks]:
    """This process's place, from the environment that torchrun sets; one process without it."""
    if not under_torchrun():
        yield Ranks(device=device)
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    own = device
    if device.startswith("cuda"):
        own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Ranks(rank, size, own)
    finally:
        dist.destroy_process_group()


def distributed(module: nn.Module, blocks: Iterable[nn.Module], place: Ranks, kind: str) -> nn.Module:
    """Wrap a module for training on all ranks; in FSDP2 its parameters become sharded tensors in place.

    Args:
        module: what is called with a batch and returns a loss; rank 0's parameters count in DDP.
        blocks: parts of it that are gathered one at a time in FSDP2.
        place: this process.
        kind: ``ddp`` or ``fsdp``.
    """
    if kind not in CHOICES:
        raise UserError(f"parallel '{kind}': it is {' or '.join(CHOICES)}.")
    if place.size == 1:
        return module
    if kind == "fsdp":
        mesh = dist.init_device_mesh(place.device.split(":", maxsplit=1)[0], (place.size,))
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(module, mesh=mesh)
        return module
    return DistributedDataParallel(module, device_ids=[place.device] if place.device.startswith("cuda") else None)


@contextmanager
def accumulating(module: nn.Module, last: bool) -> Iterator[None]:
    """Gradients meet only after the last micro-batch of a step."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(last)
        yield
    elif isinstance(module, DistributedDataParallel) and not last:
        with module.no_sync():
            yield
    else:
        yield


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded; every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """`tensor` on the device of `model`, and sharded as it is."""
    moved: Any = tensor.to(model.device)
    if isinstance(model, DTensor):
        moved = distribute_tensor(moved, model.device_mesh, model.placements)
    return moved  # type: ignore[no-any-return]

"""Cross entropy of the next token without logits for all positions.

Shapes: N positions, D width, V padded vocabulary. A head of 50k rows makes logits that are larger than everything else in a
training step together. Here they exist for a chunk of positions at a time: the chunk's loss and its gradients are
computed at once and the logits are dropped, so the matrix products are those of the plain head and peak memory is not.
The idea is that of Liger Kernel's fused linear cross entropy (Hsu et al. 2024, arXiv:2410.10989).
"""

import math
from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""Target of a position that has none."""
CHUNK_ELEMENTS = 1 << 24
"""Logits that exist at a time on a CPU: 64 MiB in float32, which the shared cache of a server still holds."""
CHUNK_ELEMENTS_GPU = 1 << 28
"""The same on a GPU: 1 GiB in float32; smaller chunks leave it idle."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of minus log p(target), in nats, with gradients made in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, table_VD: Tensor, targets_N: Tensor, kind: torch.dtype) -> Tensor:
        wants = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        hidden, table = hidden_ND.to(kind), table_VD.to(kind)
        elements = CHUNK_ELEMENTS if hidden.device.type == "cpu" else CHUNK_ELEMENTS_GPU
        rows = chunk_rows(len(hidden), len(table), elements)
        nats = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if wants else None
        grad_table = torch.zeros_like(table_VD, dtype=torch.float32) if wants else None
        for start in range(0, len(hidden), rows):
            part, wanted = hidden[start : start + rows], targets_N[start : start + rows]
            known = wanted != IGNORED
            places = wanted.clamp(min=0).unsqueeze(1)
            scores = (part @ table.t()).float()
            normaliser = scores.logsumexp(-1, keepdim=True)
            losses = (normaliser - scores.gather(1, places)).squeeze(1)
            nats += torch.where(known, losses, 0.0).sum()
            if grad_hidden is not None and grad_table is not None:
                scores.sub_(normaliser).exp_()
                scores.scatter_add_(1, places, torch.full_like(normaliser, -1.0))
                # A position without a target must not pull at anything.
                slopes = scores.mul_(known.unsqueeze(1)).to(kind)
                torch.mm(slopes, table, out=grad_hidden[start : start + rows])
                if kind == torch.float32:
                    grad_table.addmm_(slopes.t(), part)
                else:
                    grad_table += slopes.t() @ part
        if wants:
            ctx.save_for_backward(grad_hidden, grad_table)
        ctx.kinds = hidden_ND.dtype, table_VD.dtype
        return nats

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_table = ctx.saved_tensors
        kind_hidden, kind_table = ctx.kinds
        scale = gradients[0]
        return (grad_hidden.to(kind_hidden) * scale), grad_table.mul_(scale).to(kind_table), None, None


def chunk_rows(positions: int, vocabulary: int, elements: int) -> int:
    """Positions per chunk: chunks of one size, none with more than `elements` logits."""
    chunks = max(1, math.ceil(positions * vocabulary / elements))
    return max(1, math.ceil(positions / chunks))


def cross_entropy(hidden_ND: Tensor, table_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Sum of the cross entropy in nats over the positions that have a target.

    Args:
        hidden_ND: hidden states, shape (N, D).
        table_VD: rows of the head, shape (V, D).
        targets_N: ids, shape (N,), or `IGNORED`.
    """
    device = hidden_ND.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else table_VD.dtype
    with torch.autocast(device, enabled=False):
        out: Tensor = _ChunkedCrossEntropy.apply(hidden_ND, table_VD, targets_N, kind)
    return out

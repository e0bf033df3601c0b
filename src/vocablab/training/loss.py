"""Cross entropy of the next token without logits for all positions.

Shapes: N positions, D width, V padded vocabulary, C positions of a chunk. A head of 50k rows makes logits that are
larger than everything else in a training step together. Here they exist for a chunk of positions at a time: the
chunk's loss and its gradients are computed at once and the logits are dropped, so the matrix products are those of the
plain head and peak memory is not. The idea is that of Liger Kernel's fused linear cross entropy (Hsu et al. 2024,
arXiv:2410.10989).
"""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100
"""Target of a position that has none."""
CHUNK_LOGITS = 1 << 26
"""Logits that exist at a time: 64 MiB in bfloat16, 128 MiB in float32."""
CHUNK_LOGITS_GPU = 1 << 28
"""The same on a GPU, which smaller chunks leave idle: 512 MiB in bfloat16."""
CACHED_LOGITS = 1 << 20
"""Logits that a CPU turns into slopes at a time: 4 MiB in float32, which stays in the cache of two cores from the first
of five passes to the last. A quarter of it is as fast on an idle machine, but where cores are busy every pass waits for
the slowest thread."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of minus log p(target), in nats, with gradients made in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, table_VD: Tensor, targets_N: Tensor, kind: torch.dtype) -> Tensor:
        wants = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        hidden, table = hidden_ND.to(kind), table_VD.to(kind)
        on_cpu = hidden.device.type == "cpu"
        terms = _terms_in_cache if on_cpu else _terms_compiled()
        rows = chunk_rows(len(hidden), len(table), CHUNK_LOGITS if on_cpu else CHUNK_LOGITS_GPU)
        nats = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if wants else None
        grad_table = torch.zeros_like(table_VD, dtype=torch.float32) if wants else None
        scores_CV = torch.empty(rows, len(table), dtype=kind, device=hidden.device)
        for start in range(0, len(hidden), rows):
            part = hidden[start : start + rows]
            scores = torch.mm(part, table.t(), out=scores_CV[: len(part)])
            loss, slopes = terms(scores, targets_N[start : start + rows], wants)
            nats += loss
            if grad_hidden is not None and grad_table is not None:
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
        return grad_hidden.to(kind_hidden) * scale, grad_table.mul_(scale).to(kind_table), None, None


def _terms(scores_CV: Tensor, targets_C: Tensor, wants: bool) -> tuple[Tensor, Tensor]:
    """Loss of a chunk and its slopes, d loss / d scores; a position without a target has neither."""
    known_C1 = (targets_C != IGNORED).unsqueeze(1)
    places_C1 = targets_C.clamp(min=0).unsqueeze(1)
    scores_f32 = scores_CV.float()
    normaliser_C1 = scores_f32.logsumexp(-1, keepdim=True)
    chosen_C1 = scores_CV.gather(1, places_C1).float() - normaliser_C1
    nats = -torch.where(known_C1, chosen_C1, 0.0).sum()
    if not wants:
        return nats, scores_CV
    slopes = torch.where(known_C1, (scores_f32 - normaliser_C1).exp(), 0.0).to(scores_CV.dtype)
    # p - 1 rounded once, not the rounded p minus 1: for what the model already knows, the difference is all there is.
    return nats, slopes.scatter(1, places_C1, torch.where(known_C1, chosen_C1.expm1(), 0.0).to(slopes.dtype))


@lru_cache(maxsize=1)
def _terms_compiled() -> Any:
    """`_terms` as two passes over the logits instead of eight: what a GPU is bound by here."""
    return torch.compile(_terms, dynamic=True)


def _terms_in_cache(scores_CV: Tensor, targets_C: Tensor, wants: bool) -> tuple[Tensor, Tensor]:
    """`_terms` on a CPU: a few rows at a time through two small buffers, slopes in the place of the scores."""
    vocabulary = scores_CV.shape[1]
    rows = max(1, CACHED_LOGITS // vocabulary)
    scores_f32 = torch.empty(rows, vocabulary)
    logs_f32 = torch.empty(rows, vocabulary)
    known_C1 = (targets_C != IGNORED).unsqueeze(1)
    all_known = bool(known_C1.all())
    places_C1 = targets_C.clamp(min=0).unsqueeze(1)
    chosen_C1 = torch.empty(len(scores_CV), 1)
    for start in range(0, len(scores_CV), rows):
        stretch = slice(start, start + rows)
        scores, places = scores_CV[stretch], places_C1[stretch]
        own = scores if scores.dtype == torch.float32 else scores_f32[: len(scores)].copy_(scores)
        logs = torch.log_softmax(own, -1, out=logs_f32[: len(scores)])  # type: ignore[call-overload]
        chosen_C1[stretch] = logs.gather(1, places)
        if wants:
            slopes = logs.exp_()
            slopes.scatter_add_(1, places, torch.full((len(scores), 1), -1.0))
            if not all_known:
                slopes.mul_(known_C1[stretch])
            scores.copy_(slopes)
    return -torch.where(known_C1, chosen_C1, 0.0).sum(), scores_CV


def chunk_rows(positions: int, vocabulary: int, most: int) -> int:
    """Positions per chunk: chunks of one size, none with more than `most` logits."""
    chunks = max(1, math.ceil(positions * vocabulary / most))
    return max(1, math.ceil(positions / chunks))


def cross_entropy(hidden_ND: Tensor, table_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Sum of the cross entropy in nats over the positions that have a target.

    Products are in autocast's type where it is on, the softmax always in float32.

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


def plain_cross_entropy(hidden_ND: Tensor, table_VD: Tensor, targets_N: Tensor) -> Tensor:
    """The same with all logits at once: what the chunked one is checked against."""
    return F.cross_entropy(F.linear(hidden_ND, table_VD).float(), targets_N, reduction="sum", ignore_index=IGNORED)

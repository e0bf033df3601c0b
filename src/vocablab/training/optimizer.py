"""AdamW as GPT-2 recipes use it, and the cosine schedule."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from vocablab.base.errors import RunError

BETAS = (0.9, 0.95)
"""AdamW's moment decays in GPT-3 (Brown et al. 2020, appendix B) and nanoGPT."""


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with decay on matrices and embeddings only, none on biases and norms (nanoGPT's grouping)."""
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, eps=1e-8, foreach=True)


def cosine(step: int, steps: int, peak: float, warmup: int, floor: float = 0.1) -> float:
    """Learning rate at `step` (from 0): linear warm-up, then a cosine down to `floor` of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def require_float32(parameters: Iterable[torch.Tensor], state: Iterable[torch.Tensor]) -> None:
    """Rule 11: weights and optimiser moments are float32, else small steps are rounded away.

    Raises:
        RunError: at the first tensor of another type.
    """
    for kind, tensors in (("parameter", parameters), ("optimiser state", state)):
        for tensor in tensors:
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                raise RunError(f"rule 11: an {kind} tensor is {tensor.dtype}, not float32; small steps would vanish.")


def moments(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Every tensor of the optimiser's state."""
    return [t for state in optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor)]

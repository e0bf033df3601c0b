"""What turns gradients into steps, declared as data; and the check that it does so in float32 (rule 11)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vocablab.base.errors import RunError

PEAK = "peak_learning_rate"
"""Key of a parameter group: the learning rate that the schedule scales."""


@dataclass(frozen=True)
class Optimizer(ABC):
    """A choice of optimiser."""

    learning_rate: float
    """Peak of the schedule."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices and token tables; none on biases and norms (nanoGPT's grouping)."""
    beta1: float = 0.9
    """AdamW's decay of the first moment."""
    beta2: float = 0.95
    """AdamW's decay of the second moment (GPT-3, Brown et al. 2020, appendix B)."""
    epsilon: float = 1e-8
    """AdamW's."""

    @abstractmethod
    def build(self, named: dict[str, nn.Parameter], matrices: Iterable[str]) -> list[torch.optim.Optimizer]:
        """The optimisers, which step one after the other.

        Args:
            named: every parameter of the network by name.
            matrices: names of the matrices inside blocks: not token tables, not the head.
        """

    def _adamw(self, parameters: list[nn.Parameter]) -> torch.optim.AdamW:
        decayed = [p for p in parameters if p.dim() >= 2]
        others = [p for p in parameters if p.dim() < 2]
        groups: list[dict[str, Any]] = [
            {"params": params, "weight_decay": decay, PEAK: self.learning_rate}
            for params, decay in ((decayed, self.weight_decay), (others, 0.0))
            if params
        ]
        # One fused pass over all parameters: several times as fast as one tensor at a time, also on a CPU.
        return torch.optim.AdamW(
            groups, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True
        )


@dataclass(frozen=True)
class AdamW(Optimizer):
    """AdamW for every parameter (Loshchilov and Hutter 2019), as GPT-2 recipes use it."""

    def build(self, named: dict[str, nn.Parameter], matrices: Iterable[str]) -> list[torch.optim.Optimizer]:
        return [self._adamw(list(named.values()))]


@dataclass(frozen=True)
class MuonAdamW(Optimizer):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the matrices of the blocks, AdamW for the rest.

    `learning_rate` is AdamW's.
    """

    muon_learning_rate: float = 0.02
    """Peak for the matrices, in Jordan's scaling: a step of an (out, in) matrix has spectral norm
    max(1, out / in)^0.5 times this."""
    muon_momentum: float = 0.95
    """Nesterov momentum, Jordan's value."""
    muon_weight_decay: float = 0.01
    """Decoupled decay of the matrices."""

    def build(self, named: dict[str, nn.Parameter], matrices: Iterable[str]) -> list[torch.optim.Optimizer]:
        chosen = set(matrices)
        muon = torch.optim.Muon(
            [{"params": [p for n, p in named.items() if n in chosen], PEAK: self.muon_learning_rate}],
            lr=self.muon_learning_rate,
            momentum=self.muon_momentum,
            weight_decay=self.muon_weight_decay,
        )
        return [muon, self._adamw([p for n, p in named.items() if n not in chosen])]


def set_learning_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Set every group to `factor` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group[PEAK]


def require_float32(parameters: Iterable[torch.Tensor], state: Iterable[torch.Tensor]) -> None:
    """Rule 11: weights and optimiser moments are float32, else small steps are rounded away.

    Raises:
        RunError: at the first tensor of another type.
    """
    for kind, tensors in (("a parameter", parameters), ("an optimiser state", state)):
        for tensor in tensors:
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                raise RunError(f"rule 11: {kind} tensor is {tensor.dtype}, not float32; small steps would vanish.")


def moments(optimizers: Iterable[torch.optim.Optimizer]) -> list[torch.Tensor]:
    """Every tensor of the optimisers' state."""
    return [
        t
        for optimizer in optimizers
        for state in optimizer.state.values()
        for t in state.values()
        if isinstance(t, torch.Tensor)
    ]

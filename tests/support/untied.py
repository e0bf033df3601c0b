"""A network whose head is not tied, small enough to see through."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocablab.model.network import ModelConfig, Network


@dataclass(frozen=True)
class UntiedConfig(ModelConfig):
    """No blocks: the hidden state is the input row."""

    n_layer: int = 0
    n_head: int = 1
    n_embd: int = 16
    n_positions: int = 32

    def network(self, padded_vocabulary: int) -> "Untied":
        return Untied(self, padded_vocabulary)

    def parameters(self, padded_vocabulary: int) -> int:
        return 2 * padded_vocabulary * self.n_embd

    def flops_per_token(self, padded_vocabulary: int) -> dict[str, float]:
        return {"head": 6.0 * padded_vocabulary * self.n_embd}


class Untied(Network):
    """An embedding and a head."""

    def __init__(self, config: UntiedConfig, padded_vocabulary: int) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(padded_vocabulary, config.n_embd)
        self.head = nn.Linear(config.n_embd, padded_vocabulary, bias=False)

    @property
    def input_rows(self) -> nn.Parameter:
        return cast(nn.Parameter, self.embedding.weight)

    @property
    def output_rows(self) -> nn.Parameter:
        return cast(nn.Parameter, self.head.weight)

    @property
    def blocks(self) -> nn.ModuleList:
        return nn.ModuleList()

    def hidden(self, ids_BT: Tensor, table_VD: Tensor) -> Tensor:
        return F.embedding(ids_BT, table_VD)

    def initial_std(self, name: str) -> float | None:
        return 0.5 if name.startswith("head") else 0.02


def random_ids(high: int, shape: tuple[int, int], seed: int = 0) -> Tensor:
    """Ids from 0 to ``high - 1``."""
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))

"""What every architecture has: a size that is data, one random stream per parameter, a loss-ready hidden state.

Shapes: B batch, T time (tokens), D width, V padded vocabulary. The network never computes its loss: training and
evaluation take `hidden` and a table of V rows, so that logits need not exist for all positions at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocablab.base.random_streams import stream_seed

INIT_STD = 0.02
"""Standard deviation of GPT-2's normal initialisation (Radford et al. 2019)."""


@dataclass(frozen=True)
class ModelConfig(ABC):
    """Size of a network."""

    n_layer: int
    """Number of blocks."""
    n_head: int
    """Attention heads per block; divides `n_embd`."""
    n_embd: int
    """Width of the residual stream."""
    n_positions: int
    """Longest context in tokens."""

    @property
    def key_width(self) -> int:
        """Width of a position's keys in a block, all heads together; its values have the same."""
        return self.n_embd

    @abstractmethod
    def network(self, padded_vocabulary: int) -> "Network":
        """The network with parameters that are not yet set."""

    @abstractmethod
    def parameters(self, padded_vocabulary: int) -> int:
        """Number of trainable parameters, a tied head counted once."""

    @abstractmethod
    def flops_per_token(self, padded_vocabulary: int) -> dict[str, float]:
        """Training FLOPs per token at full context, forward and backward, by part: blocks, attention, head.

        6 per matrix parameter plus 12 L D T for attention (PaLM, Chowdhery et al. 2022, appendix B); the
        head counts although it may be tied, since its product is computed.
        """

    def build(self, padded_vocabulary: int, seed: int) -> "Network":
        """The network with every parameter drawn from its own named stream under `seed`."""
        network = self.network(padded_vocabulary)
        initialise(network, seed)
        return network


@dataclass(frozen=True)
class View:
    """What the tokens of a pass see, where it is not simply everything before them in their row."""

    positions_BT: Tensor
    """Place of each token in its text, below `n_positions`."""
    mask_B1TS: Tensor
    """Added to attention's scores: 0 where token t sees key s, else the least number of its type."""
    remember: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    """Stores keys and values of a block, given by number, each of shape (B, H, T, N), and returns those to look at, of
    shape (B, H, S, N); None if a pass sees only itself."""
    block: int = 0
    """Whose view it is. A block does not know its number: compiled, it would be compiled anew for each."""

    def of(self, block: int) -> "View":
        """The view of a block."""
        return View(self.positions_BT, self.mask_B1TS, self.remember, block)


class Network(nn.Module, ABC):
    """A decoder with an input table of token rows and an output table, which may be the same one."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.composition: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
        """Replaces rows of both tables by computed ones; see `vocablab.model.composition`."""

    @property
    @abstractmethod
    def input_rows(self) -> nn.Parameter:
        """The token embedding's parameter, shape (V, D)."""

    @property
    @abstractmethod
    def output_rows(self) -> nn.Parameter:
        """The head's parameter, shape (V, D); the same object as `input_rows` if it is tied."""

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleList:
        """The blocks in order."""

    @abstractmethod
    def hidden(self, ids_BT: Tensor, table_VD: Tensor, view: View | None = None) -> Tensor:
        """Final hidden states, shape (B, T, D), for ids of shape (B, T).

        Args:
            ids_BT: token ids; T is at most `n_positions` without a view.
            table_VD: rows of the token embedding.
            view: positions and sight of the tokens; None for rows that are one text each, from its start.
        """

    @abstractmethod
    def initial_std(self, name: str) -> float | None:
        """Standard deviation of a parameter's normal initialisation, 0 for zeros, None for ones."""

    def tables(self) -> tuple[Tensor, Tensor]:
        """Input and output table, each of shape (V, D), computed rows in place."""
        if self.composition is None:
            return self.input_rows, self.output_rows
        return self.composition(self.input_rows, self.output_rows)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits, shape (B, T, V)."""
        rows_in, rows_out = self.tables()
        return F.linear(self.hidden(ids_BT, rows_in), rows_out)


def attend(q_BHTN: Tensor, k_BHTN: Tensor, v_BHTN: Tensor, view: View | None, *, grouped: bool) -> Tensor:
    """Attention of a pass, shape (B, H, T, N): causal in its rows, or what the view says.

    Args:
        q_BHTN: queries.
        k_BHTN: keys, of fewer heads if `grouped`.
        v_BHTN: values, as many.
        view: what the tokens see.
        grouped: whether several queries share a key.
    """
    if view is None:
        return F.scaled_dot_product_attention(q_BHTN, k_BHTN, v_BHTN, is_causal=True, enable_gqa=grouped)
    if view.remember is not None:
        k_BHTN, v_BHTN = view.remember(view.block, k_BHTN, v_BHTN)
    return F.scaled_dot_product_attention(q_BHTN, k_BHTN, v_BHTN, attn_mask=view.mask_B1TS, enable_gqa=grouped)


def initialise(network: Network, seed: int) -> None:
    """Set every parameter from a stream named after it, so that arms share them bit for bit (rule 3).

    Drawn on the CPU in float32, whatever the device.
    """
    for name, parameter in network.named_parameters():
        std = network.initial_std(name)
        with torch.no_grad():
            if std is None:
                parameter.fill_(1.0)
            elif std == 0.0:
                parameter.zero_()
            else:
                generator = torch.Generator().manual_seed(stream_seed(seed, "parameter", name))
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)

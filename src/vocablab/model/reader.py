"""A finished model as scoring and answering use it: our own network, or any causal model of transformers.

Shapes: B rows, T tokens of a pass, S keys it may look at, D width, V rows of the head, N positions.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vocablab.model.key_values import KeyValues
from vocablab.model.network import Network, View


class Reader(ABC):
    """Reads tokens and says what may come next."""

    context: int
    """Positions it has."""
    vocabulary: int
    """Rows of its head."""
    device: torch.device
    """Where it is."""
    dtype: torch.dtype
    """Type of its weights."""
    position_bytes: int
    """Bytes of the keys and values of one position of one text."""

    @abstractmethod
    def states(
        self, ids_BT: Tensor, positions_BT: Tensor, mask_B1TS: Tensor, memory: KeyValues | None = None
    ) -> Tensor:
        """What the head reads, shape (B, T, D).

        Args:
            ids_BT: token ids.
            positions_BT: the place of each token in its text.
            mask_B1TS: added to attention's scores (`vocablab.model.network.View`).
            memory: keeps keys and values from pass to pass, and is aimed at this one.
        """

    @abstractmethod
    def scores(self, states_ND: Tensor) -> Tensor:
        """Logits, shape (N, V), a tensor of its own."""

    @property
    def lowest(self) -> float:
        """What a mask adds where nothing may be seen: finite, so that a row that sees nothing is not nan."""
        return float(torch.finfo(self.dtype).min)


class NetworkReader(Reader):
    """One of our networks."""

    def __init__(self, network: Network) -> None:
        """Read with `network`, wherever it is, as it is now."""
        self._network = network
        self.context = network.config.n_positions
        with torch.no_grad():
            self._rows_in, self._rows_out = (table.detach() for table in network.tables())
        self.vocabulary, self.device, self.dtype = len(self._rows_out), self._rows_out.device, self._rows_out.dtype
        config = network.config
        self.position_bytes = 2 * config.n_layer * config.key_width * self.dtype.itemsize

    def states(
        self, ids_BT: Tensor, positions_BT: Tensor, mask_B1TS: Tensor, memory: KeyValues | None = None
    ) -> Tensor:
        view = View(positions_BT, mask_B1TS, None if memory is None else memory.remember)
        return self._network.hidden(ids_BT, self._rows_in, view)

    def scores(self, states_ND: Tensor) -> Tensor:
        return F.linear(states_ND, self._rows_out)


class TransformersReader(Reader):
    """Any causal language model of transformers whose attention takes a mask of four dimensions."""

    def __init__(self, model: Any, context: int | None = None) -> None:
        """Read with `model`, in evaluation mode; its context is its config's unless given."""
        self._body, self._head = model.base_model, model.get_output_embeddings()
        self.context = context or int(model.config.max_position_embeddings)
        self.vocabulary = int(self._head.weight.shape[0])
        self.device, self.dtype = model.device, model.dtype
        config = model.config
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        keys = getattr(config, "num_key_value_heads", None) or heads
        self.position_bytes = 2 * config.num_hidden_layers * keys * width * self.dtype.itemsize

    def states(
        self, ids_BT: Tensor, positions_BT: Tensor, mask_B1TS: Tensor, memory: KeyValues | None = None
    ) -> Tensor:
        out: Tensor = self._body(
            ids_BT,
            attention_mask=mask_B1TS,
            position_ids=positions_BT,
            past_key_values=memory,
            use_cache=memory is not None,
        ).last_hidden_state
        return out

    def scores(self, states_ND: Tensor) -> Tensor:
        out: Tensor = self._head(states_ND)
        return out

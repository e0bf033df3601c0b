"""Keys and values of texts under way, each row at its own position, in one buffer per block.

Shapes: B rows of a pass, H heads, Q tokens of a pass, T positions looked at, N width of a head.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache


class KeyValues(Cache):  # type: ignore[misc]
    """The memory of both our networks and transformers' models.

    A pass is about neighbouring rows, so that what it looks back on is a part of the buffers and never copied, as
    transformers' own dynamic cache copies all of it for every token.
    """

    def __init__(self, rows: int) -> None:
        """Make it for so many texts at a time."""
        super().__init__(layers=[])
        self.rows = rows
        self.positions = 0
        """Positions there is room for."""
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._rows = slice(0)
        self._numbers_B1 = self._positions_BQ = torch.empty(0)
        self._length = 0

    def aim(self, rows: slice, positions_BQ: Tensor, length: int) -> None:
        """Say what the next pass is about.

        Args:
            rows: its rows.
            positions_BQ: where its keys and values go.
            length: positions that it looks back on, its own included.
        """
        self._rows, self._positions_BQ, self._length = rows, positions_BQ, length
        self._numbers_B1 = torch.arange(rows.stop - rows.start, device=positions_BQ.device).unsqueeze(1)

    def remember(self, block: int, k_BHQN: Tensor, v_BHQN: Tensor) -> tuple[Tensor, Tensor]:
        """Store what a pass computed; returns all that it looks at, each of shape (B, H, T, N)."""
        if block == len(self._buffers):
            self._buffers.append((self._buffer(k_BHQN), self._buffer(v_BHQN)))
        seen = []
        for buffer, new in zip(self._buffers[block], (k_BHQN, v_BHQN), strict=True):
            part = buffer[self._rows]
            part[self._numbers_B1, :, self._positions_BQ] = new.transpose(1, 2)
            seen.append(part[:, :, : self._length])
        return seen[0], seen[1]

    def _buffer(self, like: Tensor) -> Tensor:
        # Zeros: what nothing may look at is still multiplied by nought, and must not be nan.
        return torch.zeros(
            (self.rows, like.shape[1], self.positions, like.shape[3]), dtype=like.dtype, device=like.device
        )

    def make_room(self, positions: int) -> None:
        """Have room for at least so many positions."""
        if positions <= self.positions:
            return
        self.positions = positions
        for block, pair in enumerate(self._buffers):
            larger = []
            for old in pair:
                new = self._buffer(old)
                new[:, :, : old.shape[2]] = old
                larger.append(new)
            self._buffers[block] = (larger[0], larger[1])

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row over another."""
        for pair in self._buffers:
            for buffer in pair:
                buffer[target, :, :length] = buffer[source, :, :length]

    def update(self, keys: Tensor, values: Tensor, layer: int, *rest: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """`remember` as transformers calls it."""
        return self.remember(layer, keys, values)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """As transformers asks; of no effect, since every pass is given its positions and its mask."""
        return 0

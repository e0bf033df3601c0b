"""Losses as bits per raw byte (rule 5)."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vocablab.corpus.shards import Split
from vocablab.training.loss import IGNORED

WINDOWS = 16
"""Windows of a validation batch."""


class BitsReader:
    """Turns losses into bits per raw byte, the lost forms of replacements included."""

    def __init__(self, train: Split, validation: Split, documents: int, context: int, eos_id: int) -> None:
        self._tokens_per_byte = len(train.tokens) / train.raw_bytes
        self._lost_per_byte = train.lost_bits / train.raw_bytes
        self._shard, self._rows = validation, validation.documents[:documents]
        self._context, self._eos = context, eos_id

    def train_bits_per_byte(self, nats_per_token: float) -> float:
        """From the mean training loss, at the corpus's average tokens and lost bits per byte."""
        return nats_per_token / math.log(2) * self._tokens_per_byte + self._lost_per_byte

    @torch.no_grad()
    def validation_bits_per_byte(self, loss: Callable[[Tensor, Tensor], Tensor], device: str) -> float | None:
        """Exactly: every token of the held-out documents once, EOS included, plus what replacements lost.

        Args:
            loss: sum of the cross entropy in nats for ids and targets, each of shape (B, T).
            device: where the ids go.

        Returns:
            Bits per byte, or None if nothing is held out.
        """
        if not len(self._rows):
            return None
        bits = float(self._rows["lost_bits"].sum())
        for inputs, targets in self._batches(device):
            bits += float(loss(inputs, targets)) / math.log(2)
        return bits / int(self._rows["raw_bytes"].sum())

    def _batches(self, device: str) -> list[tuple[Tensor, Tensor]]:
        windows = []
        for row in self._rows:
            ids = np.append(self._eos, self._shard.tokens[row["start"] : row["start"] + row["tokens"]]).astype(np.int64)
            for start in range(0, len(ids) - 1, self._context):
                piece = np.full(self._context + 1, IGNORED, dtype=np.int64)
                part = ids[start : start + self._context + 1]
                piece[: len(part)] = part
                windows.append(piece)
        stacked = torch.from_numpy(np.stack(windows)).to(device)
        return [(w[:, :-1].clamp(min=0), w[:, 1:]) for w in stacked.split(WINDOWS)]

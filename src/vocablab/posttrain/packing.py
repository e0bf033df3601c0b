"""Several examples in one row of a forward pass: none sees another, and none loses a label.

A padded batch of drills beside word problems is mostly padding. Here the examples of a batch are laid into as few rows
as they need (first fit, longest first: Johnson 1973), with positions that start at 0 in every example and a mask in
which an example sees itself only. So the loss is that of the padded batch up to rounding, and a batch stays the same
examples however they are laid.
"""

from dataclasses import dataclass

import torch

from vocablab.posttrain.labels import IGNORE

Row = dict[str, list[int]]


@dataclass(frozen=True)
class PackedCollator:
    """Examples with ``input_ids`` and ``labels`` to tensors.

    ``input_ids``, ``labels`` and ``position_ids``: (R, T) int64; ``attention_mask``: (R, 1, T, T) bool, true where a
    token (row) sees another (column). What is left of a row is an example of its own that nothing learns.
    """

    pad_id: int
    """Fills what is left of a row."""

    def __call__(self, examples: list[Row]) -> dict[str, torch.Tensor]:
        bins = first_fit([len(example["input_ids"]) for example in examples])
        width = max(sum(len(examples[i]["input_ids"]) for i in one) for one in bins)
        ids_RT = torch.full((len(bins), width), self.pad_id)
        labels_RT = torch.full((len(bins), width), IGNORE)
        # Which example of its row a token belongs to; what is left counts as one more.
        owner_RT = torch.full((len(bins), width), -1)
        places_RT = torch.zeros((len(bins), width), dtype=torch.long)
        for r, one in enumerate(bins):
            start = 0
            for number, i in enumerate(one):
                stop = start + len(examples[i]["input_ids"])
                ids_RT[r, start:stop] = torch.tensor(examples[i]["input_ids"])
                labels_RT[r, start:stop] = torch.tensor(examples[i]["labels"])
                owner_RT[r, start:stop] = number
                places_RT[r, start:stop] = torch.arange(stop - start)
                start = stop
            places_RT[r, start:] = torch.arange(width - start)
        causal_TT = torch.ones(width, width, dtype=torch.bool).tril()
        sees_RTT = (owner_RT[:, :, None] == owner_RT[:, None, :]) & causal_TT
        return {
            "input_ids": ids_RT,
            "labels": labels_RT,
            "position_ids": places_RT,
            "attention_mask": sees_RTT[:, None],
        }


def first_fit(lengths: list[int]) -> list[list[int]]:
    """Indices of the examples of each row, no row longer than the longest example; longer ones first."""
    room: list[int] = []
    rows: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        place = next((r for r, left in enumerate(room) if left >= lengths[i]), None)
        if place is None:
            room.append(max(lengths))
            rows.append([])
            place = len(rows) - 1
        room[place] -= lengths[i]
        rows[place].append(i)
    return rows

"""TRL's `SFTTrainer` on examples that arrive labelled and in order."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback
from trl import SFTTrainer

from vocablab.posttrain.checkpoints import keep_padding
from vocablab.posttrain.labels import IGNORE, Labelled
from vocablab.posttrain.packing import PackedCollator

READ = "held_out_bits_per_byte"
"""What the log calls a reading of the held-out examples."""


class OrderedTrainer(SFTTrainer):  # type: ignore[misc]
    """Learns examples in the order of its data set, and asks the head only where something is learned.

    TRL's fused head does the latter by itself on a GPU, but not on a CPU, where prompts would cost as much as targets.
    """

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if return_outputs:
            raise ValueError("an OrderedTrainer returns a loss only")
        with self.accelerator.autocast():
            nats, learned = nats_of(model, inputs)
        return nats / (learned if num_items_in_batch is None else num_items_in_batch)


def nats_of(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Summed cross entropy of the labelled tokens of a batch in nats, and how many they are."""
    rest = {name: value for name, value in inputs.items() if name != "labels"}
    states = model.base_model(**rest, use_cache=False).last_hidden_state[:, :-1]
    targets = inputs["labels"][:, 1:]
    learned = targets != IGNORE
    scores = model.get_output_embeddings()(states[learned])
    return F.cross_entropy(scores.float(), targets[learned], reduction="sum"), int(learned.sum())


@torch.no_grad()
def held_out_bits(model: Any, rows: Sequence[Labelled], pad_id: int, at_once: int = 64) -> float:
    """Bits per byte of the targets of examples, EOS included, lost forms not charged: it compares epochs, not arms."""
    collate, device, training = PackedCollator(pad_id), next(model.parameters()).device, model.training
    model.eval()
    nats = 0.0
    for start in range(0, len(rows), at_once):
        batch = collate([row.row() for row in rows[start : start + at_once]])
        nats += float(nats_of(model, {name: value.to(device) for name, value in batch.items()})[0])
    model.train(training)
    return nats / math.log(2) / sum(row.target_bytes for row in rows)


class EpochReadings(TrainerCallback):  # type: ignore[misc]
    """Reads the held-out examples at the end of every epoch, and keeps the weights that read them best."""

    def __init__(
        self, rows: Sequence[Labelled], ends: Sequence[int], pad_id: int, padding: int | None, best: Path
    ) -> None:
        """Make it.

        Args:
            rows: the examples; none for no readings.
            ends: steps after which an epoch ends.
            pad_id: the vocabulary's filling id.
            padding: the padding id of the start's config, which the kept weights keep.
            best: directory for the best weights.
        """
        self._rows, self._ends, self._pad_id, self._best = rows, frozenset(ends), pad_id, best
        self._padding = padding

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        if not self._rows or state.global_step not in self._ends:
            return
        value = held_out_bits(model, self._rows, self._pad_id)
        before = readings(state.log_history)
        # Not by the trainer's own log, which would empty its running means.
        state.log_history.append({"step": state.global_step, READ: value})
        if not before or value < min(bits for _, bits in before):
            keep_padding(model, self._padding)
            model.save_pretrained(self._best)


def readings(history: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Step and bits per byte of every reading in a trainer's log."""
    return [(int(line["step"]), float(line[READ])) for line in history if READ in line]


class Progress(TrainerCallback):  # type: ignore[misc]
    """Passes losses on."""

    def __init__(self, told: Callable[[float, float, str], None], done: int, steps: int) -> None:
        self._told, self._done, self._steps = told, done, steps

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **rest: Any) -> None:
        if logs and "loss" in logs:
            self._told(self._done + state.global_step, self._steps, f"loss {float(logs['loss']):.3f}")

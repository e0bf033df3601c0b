"""How long a run is: steps that a budget buys from a corpus."""

from dataclasses import dataclass

from vocablab.base.errors import RunError
from vocablab.corpus.shards import Split
from vocablab.pretrain.config import Pretraining


def target_bytes(config: Pretraining, raw_bytes: int, shard_tokens: int, flops_per_token: float) -> float:
    """Raw bytes that a run with this budget reads from such a shard."""
    per_byte = shard_tokens / max(1, raw_bytes)
    return config.budget.tokens(per_byte, flops_per_token) / per_byte


@dataclass(frozen=True)
class Length:
    """How long a run is."""

    steps: int
    """Optimiser steps."""
    windows: int
    """Windows of `context` tokens in the corpus."""
    epochs: float
    """How often the corpus is read."""
    tokens_per_step: int
    """Over all ranks."""


def length(config: Pretraining, context: int, flops_per_token: float, train: Split) -> Length:
    """Steps that the budget buys.

    Raises:
        RunError: rule 12, if the corpus would be read more often than declared.
    """
    windows = (len(train.tokens) - 1) // context
    wanted = config.budget.tokens(len(train.tokens) / train.raw_bytes, flops_per_token)
    steps = max(1, wanted // (config.batch_size * context))
    epochs = steps * config.batch_size / max(1, windows)
    # A run of whole windows can pass the limit by the remainder of one window: hence the small slack.
    if windows < config.batch_size or epochs > config.max_epochs + 0.01:
        raise RunError(
            f"rule 12: {steps} steps read the corpus {epochs:.2f} times, at most {config.max_epochs:g} are declared."
        )
    return Length(steps, windows, epochs, config.batch_size * context)

"""The pretraining loop: the same for every arm; what differs is the shard it reads.

The tokens of a run are laid in windows of `context` tokens; step s reads windows s*B to s*B+B-1, modulo the
corpus. So the position in the data is the step number alone, and a resumed run reads what it would have read.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vocablab.base.config import execution_only
from vocablab.base.errors import RunError
from vocablab.corpus.shards import Split
from vocablab.model.gpt2 import GPT2, GPT2Config
from vocablab.training.budget import Budget
from vocablab.training.checkpoint import CHECKPOINT, WEIGHTS, load_checkpoint, save_checkpoint, save_weights
from vocablab.training.optimizer import adamw, cosine, moments, require_float32


@dataclass(frozen=True)
class Pretraining:
    """How an arm is pretrained."""

    budget: Budget
    """How much text, tokens or FLOPs every arm gets."""
    batch_size: int
    """Sequences per step."""
    learning_rate: float
    """Peak of the cosine schedule."""
    warmup_steps: int
    """Steps of linear warm-up."""
    weight_decay: float = 0.1
    """AdamW's decay of matrices."""
    clip: float = 1.0
    """Largest global gradient norm."""
    max_epochs: float = 1.0
    """How often the corpus may be read; a longer run is refused (rule 12)."""
    evaluate_every: float = 0.2
    """Share of the run between two validation readings."""
    validation_documents: int = 64
    """Documents of a validation reading: the first ones held out."""
    micro_batch: int = execution_only(64)
    """Sequences per forward pass; gradients are accumulated over the step."""
    checkpoint_seconds: float = execution_only(20.0)
    """Least time between two checkpoints."""


def target_bytes(config: Pretraining, raw_bytes: int, shard_tokens: int, flops_per_token: float) -> float:
    """Raw bytes that a run with this budget reads from such a shard."""
    per_byte = shard_tokens / max(1, raw_bytes)
    return config.budget.tokens(per_byte, flops_per_token) / per_byte


def pretrain(
    config: Pretraining,
    architecture: GPT2Config,
    padded_vocabulary: int,
    eos_id: int,
    train: Split,
    validation: Split,
    seed: int,
    device: str,
    directory: Path,
    progress: Callable[[float, float, str], None],
) -> dict[str, Any]:
    """Train one model; resume from `directory` if a checkpoint lies there.

    Writes ``model.safetensors`` and ``metrics.jsonl`` into `directory`.

    Returns:
        Counts for the record: steps, tokens, bytes, FLOPs by part, final losses, gates.

    Raises:
        RunError: rule 12 (too many epochs), rule 11 (state not float32), or a loss that is not finite.
    """
    context = architecture.n_positions
    flops = architecture.flops_per_token(padded_vocabulary)
    windows = (len(train.tokens) - 1) // context
    wanted = config.budget.tokens(len(train.tokens) / train.raw_bytes, sum(flops.values()))
    steps = max(1, wanted // (config.batch_size * context))
    epochs = steps * config.batch_size / max(1, windows)
    # A run of whole windows can pass the limit by the remainder of one window: hence the small slack.
    if windows < config.batch_size or epochs > config.max_epochs + 0.01:
        raise RunError(
            f"rule 12: {steps} steps read the corpus {epochs:.2f} times, at most {config.max_epochs:g} are declared."
        )
    model = architecture.build(padded_vocabulary, seed).to(device)
    optimizer = adamw(model, config.learning_rate, config.weight_decay)
    state: dict[str, Any] = {"step": 0, "metrics": [], "seconds": 0.0}
    if (directory / CHECKPOINT).exists():
        state = load_checkpoint(directory / CHECKPOINT, model, optimizer)
    reader = BitsReader(train, validation, config.validation_documents, context, eos_id)
    every = max(1, round(steps * config.evaluate_every))
    started, saved = time.monotonic() - state["seconds"], time.monotonic()
    for step in range(state["step"], steps):
        rate = cosine(step, steps, config.learning_rate, config.warmup_steps)
        loss = _step(model, optimizer, train, windows, step, config, context, rate, device)
        if not math.isfinite(loss):
            raise RunError(f"the loss is {loss} at step {step}; lower the learning rate. Nothing was published.")
        last = step + 1 == steps
        if step % max(1, steps // 100) == 0 or last or (step + 1) % every == 0:
            tokens = (step + 1) * config.batch_size * context
            line: dict[str, float | None] = {
                "step": step + 1,
                "tokens": tokens,
                "source_bytes": round(tokens * train.raw_bytes / len(train.tokens)),
                "train_bits_per_byte": reader.train_bits_per_byte(loss),
                "learning_rate": rate,
            }
            if last or (step + 1) % every == 0:
                line["val_bits_per_byte"] = reader.validation_bits_per_byte(model, device)
            state["metrics"].append(line)
            progress(step + 1, steps, f"{line['train_bits_per_byte']:.3f} bits/byte")
        if step == 0:
            require_float32(model.parameters(), moments(optimizer))
        if not last and time.monotonic() - saved > config.checkpoint_seconds:
            state |= {"step": step + 1, "seconds": time.monotonic() - started}
            save_checkpoint(directory / CHECKPOINT, model, optimizer, state)
            saved = time.monotonic()
    save_weights(model, directory / WEIGHTS)
    (directory / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in state["metrics"]))
    (directory / CHECKPOINT).unlink(missing_ok=True)
    tokens = steps * config.batch_size * context
    return {
        "steps": steps,
        "tokens": tokens,
        "source_bytes": round(tokens * train.raw_bytes / len(train.tokens)),
        "epochs": epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops": {part: each * tokens for part, each in flops.items()},
        "train_seconds": time.monotonic() - started,
        "final": state["metrics"][-1],
        "gates": [
            {
                "rule": 11,
                "name": "Optimiser state is float32",
                "passed": True,
                "detail": "checked after step 1",
            },
            {
                "rule": 12,
                "name": "Target reached within the epoch limit",
                "passed": True,
                "detail": f"{steps} steps, {epochs:.2f} of {config.max_epochs:g} epochs",
            },
        ],
    }


def _step(
    model: GPT2,
    optimizer: torch.optim.Optimizer,
    train: Split,
    windows: int,
    step: int,
    config: Pretraining,
    context: int,
    rate: float,
    device: str,
) -> float:
    """One optimiser step; returns the mean loss in nats per token."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    first = step * config.batch_size
    starts = [((first + i) % windows) * context for i in range(config.batch_size)]
    total = 0.0
    for begin in range(0, len(starts), config.micro_batch):
        rows = [train.tokens[s : s + context + 1] for s in starts[begin : begin + config.micro_batch]]
        ids = torch.from_numpy(np.stack(rows).astype(np.int64)).to(device)
        with _autocast(device):
            logits = model(ids[:, :-1])
        nats = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
        loss = nats / (config.batch_size * context)
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def _autocast(device: str) -> torch.autocast:
    """bfloat16 matrix products on a GPU; plain float32 on a CPU, where runs are bit-exact."""
    kind = device.split(":", maxsplit=1)[0]
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda")


class BitsReader:
    """Turns losses into bits per raw byte (rule 5), the lost forms of replacements included."""

    def __init__(self, train: Split, validation: Split, documents: int, context: int, eos_id: int) -> None:
        self._tokens_per_byte = len(train.tokens) / train.raw_bytes
        self._lost_per_byte = train.lost_bits / train.raw_bytes
        self._shard, self._rows = validation, validation.documents[:documents]
        self._context, self._eos = context, eos_id

    def train_bits_per_byte(self, nats_per_token: float) -> float:
        """From the mean training loss, at the corpus's average tokens and lost bits per byte."""
        return nats_per_token / math.log(2) * self._tokens_per_byte + self._lost_per_byte

    @torch.no_grad()
    def validation_bits_per_byte(self, model: GPT2, device: str) -> float | None:
        """Exactly: every token of the held-out documents once, EOS included, plus what replacements lost.

        None if nothing is held out.
        """
        if not len(self._rows):
            return None
        model.eval()
        bits = float(self._rows["lost_bits"].sum())
        for inputs, targets in self._batches(device):
            logits = model(inputs).float().flatten(0, 1)
            bits += float(F.cross_entropy(logits, targets.flatten(), reduction="sum", ignore_index=-1)) / math.log(2)
        model.train()
        return bits / int(self._rows["raw_bytes"].sum())

    def _batches(self, device: str) -> list[tuple[Tensor, Tensor]]:
        windows = []
        for row in self._rows:
            ids = np.append(self._eos, self._shard.tokens[row["start"] : row["start"] + row["tokens"]]).astype(np.int64)
            for start in range(0, len(ids) - 1, self._context):
                piece = np.full(self._context + 1, -1, dtype=np.int64)
                part = ids[start : start + self._context + 1]
                piece[: len(part)] = part
                windows.append(piece)
        stacked = torch.from_numpy(np.stack(windows)).to(device)
        return [(w[:, :-1].clamp(min=0), w[:, 1:]) for w in stacked.split(16)]

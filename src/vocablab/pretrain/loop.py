"""The pretraining loop: the same for every arm; what differs is the shard it reads.

The tokens of a run are laid in windows of `context` tokens; step s reads windows s*B to s*B+B-1, modulo the
corpus, split evenly over the ranks. So the position in the data is the step number alone: a resumed run reads what it
would have read, also with another number of ranks.

Shapes: B sequences of a micro-batch, T context in tokens.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vocablab.base.config import fingerprint, to_json
from vocablab.base.errors import RunError, UserError
from vocablab.corpus.accounting import gate
from vocablab.corpus.shards import Split
from vocablab.model.composition import materialise, plain_state
from vocablab.model.network import ModelConfig, Network
from vocablab.model.new_rows import ComposedRows, enter_phase
from vocablab.pretrain.config import Pretraining
from vocablab.pretrain.journal import Journal, SilentJournal
from vocablab.pretrain.length import length
from vocablab.pretrain.next_token import NextToken
from vocablab.pretrain.reading import BitsReader
from vocablab.pretrain.start import Checkpoint, start
from vocablab.pretrain.updates import steps_with
from vocablab.training.allocator import keep_freed_memory
from vocablab.training.checkpoint import (
    CHECKPOINT,
    PREVIOUS,
    WEIGHTS,
    load_checkpoint,
    newest_checkpoint,
    read_state,
    save_checkpoint,
    save_weights,
    training_state,
)
from vocablab.training.distributed import Ranks, accumulating, distributed, whole
from vocablab.training.optimizer import moments, require_float32, set_learning_rates
from vocablab.training.precision import autocast, resolved
from vocablab.training.throughput import peak_memory_bytes, utilisation
from vocablab.training.watch import Watch
from vocablab.vocab.codec import Codec

READINGS = 200
"""Readings of the training loss in a run, about."""
COMPILE_PAYS_FLOPS = 2e14
"""On a CPU compiling takes some 10 s and saves a few percent of the time: it pays in runs of more than this, some
minutes on a machine with AMX."""
CHECKPOINT_SHARE = 0.05
"""Most of a run's time that may go into writing checkpoints."""
CHECKPOINTS = "checkpoints"
"""Directory of the kept weights."""

Hook = Callable[[Network], dict[str, float]]
"""Evaluates a network during training; its results enter the readings under their names."""
Progress = Callable[[float, float, str], None]


def pretrain(
    config: Pretraining,
    architecture: ModelConfig,
    codec: Codec,
    train: Split,
    validation: Split,
    seed: int,
    directory: Path,
    progress: Progress,
    *,
    place: Ranks,
    checkpoint: Checkpoint | None = None,
    hook: Hook | None = None,
) -> dict[str, Any]:
    """Train one model; resume from `directory` if a checkpoint lies there.

    Writes ``model.safetensors``, ``metrics.jsonl``, ``speed.jsonl`` and TensorBoard's events into `directory`.

    Args:
        config: how.
        architecture: size of the network.
        codec: the arm's vocabulary and intervention, which say where the rows of added tokens start.
        train: what is read.
        validation: what is never read.
        seed: of the initialisation.
        directory: where everything goes; of rank 0 alone.
        progress: called with steps done, all steps, and a short reading.
        place: this process among the ranks.
        checkpoint: what to continue from, if `config.init_from` says so.
        hook: evaluates the network at every validation reading.

    Returns:
        Counts for the record: steps, tokens, bytes, FLOPs by part, final losses, speed, gates.

    Raises:
        RunError: rule 12 (too many epochs), rule 11 (state not float32), or a loss that is not finite or climbs.
        UserError: if the ranks do not divide the batch, or a checkpoint of another run is in the way.
    """
    run = _Run(config, architecture, codec, train, validation, seed, directory, place, checkpoint, hook)
    try:
        run.train(progress)
    finally:
        run.journal.close()
    return run.finish()


class _Run:
    """One run under way."""

    def __init__(
        self,
        config: Pretraining,
        architecture: ModelConfig,
        codec: Codec,
        train: Split,
        validation: Split,
        seed: int,
        directory: Path,
        place: Ranks,
        checkpoint: Checkpoint | None,
        hook: Hook | None,
    ) -> None:
        self.config, self.architecture, self.codec = config, architecture, codec
        self.data, self.directory, self.place, self.hook = train, directory, place, hook
        padded = codec.vocabulary.padded_size
        self.context = architecture.n_positions
        self.flops = architecture.flops_per_token(padded)
        self.length = length(config, self.context, sum(self.flops.values()), train)
        _refuse(config, place)
        if place.device == "cpu":
            keep_freed_memory()
        self.precision = resolved(config.precision, place.device)
        flops = sum(self.flops.values()) * self.length.steps * self.length.tokens_per_step
        self.compiled = config.compile == "always" or (
            config.compile == "auto" and (place.device != "cpu" or flops > COMPILE_PAYS_FLOPS)
        )
        self.identity = fingerprint(
            {
                "config": to_json(config, identity_only=True),
                "model": to_json(architecture),
                "vocabulary": codec.vocabulary.fingerprint(),
                "seed": seed,
                "tokens": len(train.tokens),
                "bytes": train.raw_bytes,
                "start": None if checkpoint is None else checkpoint.sha256,
            }
        )
        self.state = self._known_state()
        self.watch = Watch(config.divergence)
        if self.state["watch"] is not None:
            self.watch.restore(self.state["watch"])
        self.network, self.step_zero = start(architecture, codec, config.new_rows, seed, checkpoint)
        self.network.to(place.device)
        # The phase of the step before: a checkpoint at the border was written before the rows became parameters.
        enter_phase(self.network, config.new_rows, max(0, self.state["step"] - 1), self.length.steps)
        if self.compiled:
            for block in self.network.blocks:
                block.compile()
        self.module = self._wrapped()
        self.named = named = dict(self.network.named_parameters())
        in_blocks = {id(p) for p in self.network.blocks.parameters() if p.dim() == 2}
        self.optimizers = config.optimizer.build(named, [n for n, p in named.items() if id(p) in in_blocks])
        known = newest_checkpoint(directory)
        if known is not None:
            load_checkpoint(known, named, self.optimizers)
        self.reader = BitsReader(train, validation, config.validation_documents, self.context, codec.vocabulary.eos_id)
        self.journal: Any = Journal(directory, self.state["metrics"]) if place.leads else SilentJournal()
        self.saved, self.save_took = time.monotonic(), 0.0
        self.rates: list[float] = []

    def _known_state(self) -> dict[str, Any]:
        path = newest_checkpoint(self.directory)
        if path is None:
            return {"step": 0, "metrics": [], "seconds": 0.0, "watch": None}
        state = read_state(path)
        if state["identity"] != self.identity:
            raise UserError(
                f"{path} was made by another configuration; move {self.directory} away, or use another output."
            )
        return state

    def _wrapped(self) -> nn.Module:
        return distributed(NextToken(self.network), self.network.blocks, self.place, self.config.parallel)

    def train(self, progress: Progress) -> None:
        """All steps that are left."""
        steps, every = self.length.steps, max(1, round(self.length.steps * self.config.evaluate_every))
        log_every = max(1, steps // READINGS)
        began, timed = time.monotonic() - self.state["seconds"], [time.monotonic(), self.state["step"]]
        for step in range(self.state["step"], steps):
            if enter_phase(self.network, self.config.new_rows, step, steps):
                self.module = self._wrapped()
            factor = self.config.schedule.factor(step, steps)
            loss, norm = self._step(step, factor)
            wrong = self.watch.verdict(loss, norm)
            if wrong is not None:
                self._refuse_to_go_on(wrong, step)
            last = step + 1 == steps
            reads = last or (step + 1) % every == 0
            if step % log_every == 0 or reads:
                line = self._reading(step, loss, norm, factor, reads)
                self.journal.reading(line)
                timed = self._speed(step, timed, reads)
                progress(step + 1, steps, f"{line['train_bits_per_byte']:.3f} bits/byte")
            if step == 0:
                require_float32(self.network.parameters(), moments(self.optimizers))
            if not last and self._due():
                self._save(step + 1, time.monotonic() - began)
        self.seconds = time.monotonic() - began

    def _step(self, step: int, factor: float) -> tuple[float, float]:
        """One optimiser step; returns the mean loss in nats per token and the gradient's norm before clipping."""
        set_learning_rates(self.optimizers, factor)
        share = self.config.batch_size // self.place.size
        first = step * self.config.batch_size + self.place.rank * share
        starts = [((first + i) % self.length.windows) * self.context for i in range(share)]
        total = torch.zeros((), device=self.place.device)
        for begin in range(0, share, self.config.micro_batch):
            ids = self._windows(starts[begin : begin + self.config.micro_batch])
            with accumulating(self.module, begin + self.config.micro_batch >= share):
                with autocast(self.precision, self.place.device):
                    nats = self.module(ids[:, :-1], ids[:, 1:])
                # Ranks average their gradients, so each weighs its own tokens by the number of ranks.
                (nats * (self.place.size / self.length.tokens_per_step)).backward()
            total += nats.detach()
        norm = whole(nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(self.place.total(total)) / self.length.tokens_per_step, float(norm)

    def _windows(self, starts: list[int]) -> Tensor:
        """Token ids, shape (B, T + 1)."""
        rows = [self.data.tokens[s : s + self.context + 1] for s in starts]
        ids = torch.from_numpy(np.stack(rows).astype(np.int64))
        if self.place.device == "cpu":
            return ids
        return ids.pin_memory().to(self.place.device, non_blocking=True)

    def _reading(self, step: int, loss: float, norm: float, factor: float, validates: bool) -> dict[str, Any]:
        tokens = (step + 1) * self.length.tokens_per_step
        line: dict[str, Any] = {
            "step": step + 1,
            "tokens": tokens,
            "source_bytes": round(tokens * self.data.raw_bytes / len(self.data.tokens)),
            "train_bits_per_byte": self.reader.train_bits_per_byte(loss),
            "train_nats_per_token": loss,
            "learning_rate": factor * self.config.optimizer.learning_rate,
            "gradient_norm": norm,
        }
        if validates:
            self.network.eval()
            # Compiled blocks would be compiled again for every length of a validation batch.
            with torch.compiler.set_stance("force_eager") if self.compiled else nullcontext():
                line["val_bits_per_byte"] = self.reader.validation_bits_per_byte(self.module, self.place.device)
                line |= self._evaluated(step)
            self.network.train()
        return line

    def _evaluated(self, step: int) -> dict[str, float]:
        """What the evaluation hook says, and the kept weights of this moment."""
        if self.hook is None and not self.config.keep_checkpoints:
            return {}
        state = {name: whole(value) for name, value in plain_state(self.network).items()}
        found: dict[str, float] = {}
        if self.place.leads:
            if self.config.keep_checkpoints:
                path = self.directory / CHECKPOINTS / f"step-{step + 1:08d}.safetensors"
                save_weights(state, path)
            if self.hook is not None:
                # A network of its own: sharded parameters cannot be called outside the training step.
                network = self.architecture.network(self.codec.vocabulary.padded_size).to(self.place.device)
                network.load_state_dict(state)
                found = self.hook(network.eval())
        if self.place.size > 1:
            torch.distributed.barrier()
        return found

    def _speed(self, step: int, timed: list[Any], validated: bool) -> list[Any]:
        """Write the speed since the last reading; returns time and step to count from."""
        now = time.monotonic()
        seconds, steps = now - timed[0], step + 1 - timed[1]
        # The first step also compiles, a validation is no training: neither says how fast the next hour will be.
        if step > self.state["step"] and not validated:
            rate = steps * self.length.tokens_per_step / max(seconds, 1e-9)
            used = utilisation(rate * sum(self.flops.values()), self.place.device, self.place.size)
            memory = peak_memory_bytes(self.place.device)
            line = {"step": step + 1, "tokens_per_second": rate, "mfu": used, "peak_memory_bytes": memory}
            self.journal.speed(line)
            self.rates.append(rate)
        return [now, step + 1]

    def _due(self) -> bool:
        """Whether a checkpoint is due, and worth writing; rank 0 decides for all."""
        since = time.monotonic() - self.saved
        due = since > max(self.config.checkpoint_seconds, self.save_took / CHECKPOINT_SHARE) and self.watch.calm
        if self.place.size > 1:
            flag = torch.tensor([float(due)], device=self.place.device)
            torch.distributed.broadcast(flag, 0)
            due = bool(flag.item())
        return due

    def _save(self, step: int, seconds: float) -> None:
        began = time.monotonic()
        # What the optimisers step: in FSDP2 the network itself may hold gathered copies after a validation.
        left = {name for name, _ in self.network.named_parameters()}
        tensors = training_state({n: p for n, p in self.named.items() if n in left}, self.optimizers)
        if self.place.leads:
            state = {
                "step": step,
                "seconds": seconds,
                "metrics": self.journal.lines,
                "watch": self.watch.state(),
                "identity": self.identity,
            }
            save_checkpoint(self.directory, tensors, state)
        self.saved = time.monotonic()
        self.save_took = self.saved - began

    def _refuse_to_go_on(self, wrong: str, step: int) -> None:
        # A checkpoint of this very step holds the weights that gave the loss.
        kept = newest_checkpoint(self.directory, before=step)
        where = (
            f"the last good checkpoint, {kept}, is kept" if kept is not None else "no checkpoint had been due before"
        )
        raise RunError(f"{wrong} at step {step + 1}; lower the learning rate. Nothing was published; {where}.")

    def finish(self) -> dict[str, Any]:
        """Write the weights; returns the counts of the record."""
        materialise(self.network)
        state = {name: whole(value) for name, value in self.network.state_dict().items()}
        if self.place.leads:
            save_weights(state, self.directory / WEIGHTS)
            for name in (CHECKPOINT, PREVIOUS):
                (self.directory / name).unlink(missing_ok=True)
        steps, tokens = self.length.steps, self.length.steps * self.length.tokens_per_step
        rates = sorted(self.rates)
        rate = rates[len(rates) // 2] if rates else None
        total = sum(self.flops.values())
        return {
            "steps": steps,
            "tokens": tokens,
            "source_bytes": round(tokens * self.data.raw_bytes / len(self.data.tokens)),
            "epochs": self.length.epochs,
            "parameters": sum(state[name].numel() for name, _ in self.network.named_parameters()),
            "flops": {part: each * tokens for part, each in self.flops.items()},
            "head_share_of_flops": self.flops["head"] / total,
            "train_seconds": self.seconds,
            "tokens_per_second": rate,
            "model_flops_utilisation": None
            if rate is None
            else utilisation(rate * total, self.place.device, self.place.size),
            "peak_memory_bytes": peak_memory_bytes(self.place.device),
            "precision": self.precision,
            "compiled": self.compiled,
            "ranks": self.place.size,
            "step_zero": None if self.step_zero is None else asdict(self.step_zero),
            "updates": self._updates() if self.place.leads else {},
            "final": self.journal.lines[-1] if self.place.leads else {},
            "gates": [
                gate(11, "Optimiser state is float32", True, "checked after step 1"),
                gate(
                    12,
                    "Target reached within the epoch limit",
                    True,
                    f"{steps} steps, {self.length.epochs:.2f} of {self.config.max_epochs:g} epochs",
                ),
            ],
        }

    def _updates(self) -> dict[str, int]:
        """Steps that read each added token."""
        vocabulary = self.codec.vocabulary
        names = vocabulary.added
        counts = steps_with(self.data.tokens, vocabulary.base_size, len(names), self.context, self.length)
        return dict(zip(names, counts.tolist(), strict=True))


def _refuse(config: Pretraining, place: Ranks) -> None:
    if config.batch_size % place.size:
        raise UserError(f"a batch of {config.batch_size} sequences cannot be split evenly over {place.size} ranks.")
    if place.size > 1 and config.parallel == "fsdp" and isinstance(config.new_rows, ComposedRows):
        raise UserError("composed rows need whole tables: use parallel ddp, not fsdp.")

"""In which order examples are learned: problems, drills among them, or drills first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vocablab.base.errors import UserError
from vocablab.base.random_streams import numpy_stream
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.tasks.task import Example, evenly


@dataclass(frozen=True)
class Lesson:
    """One stage of fine-tuning, with a schedule of its own."""

    name: str
    """``problems``, ``drills`` or ``problems and drills``."""
    order: tuple[Example, ...]
    """Every example in the order in which it is learned, all epochs one after the other, whole batches only."""
    held_out: tuple[Example, ...]
    """Examples that are read at the end of each epoch and never learned."""
    epoch_ends: tuple[int, ...]
    """Steps after which they are read; the last step is the last of them."""
    steps: int
    """Optimiser steps."""


def lessons(
    config: SupervisedFineTuning, problems: Sequence[Example], drills: Sequence[Example], seed: int
) -> list[Lesson]:
    """The stages of a fine-tuning.

    Args:
        config: how.
        problems: training examples of the tasks.
        drills: examples of `config.drills`; empty if it has none.
        seed: of the order.

    Raises:
        UserError: if there is nothing to learn from, or nothing that tells the best epoch if that is wanted.
    """
    kinds = {"problems": problems} | ({"drills": drills} if config.drills is not None else {})
    for kind, examples in kinds.items():
        if not examples:
            raise UserError(f"there are no {kind} to fine-tune on.")
    learned, kept_out = {}, {}
    for kind, examples in kinds.items():
        out = {i for i, _ in evenly(examples, round(len(examples) * config.held_out_share))}
        learned[kind] = [e for i, e in enumerate(examples) if i not in out]
        kept_out[kind] = tuple(e for i, e in enumerate(examples) if i in out)
    if config.use == "best" and not any(kept_out.values()):
        raise UserError("sft.use: with so few examples none is held out, so the best epoch cannot be told.")
    if config.drills is None:
        return [
            _lesson(
                "problems",
                config,
                config.epochs,
                [_passes(learned["problems"], config.epochs, seed, "problems")],
                kept_out["problems"],
            )
        ]
    if config.order == "drills_first":
        return [
            _lesson(kind, config, epochs, [_passes(learned[kind], epochs, seed, kind)], kept_out[kind])
            for kind, epochs in (("drills", config.drill_epochs), ("problems", config.epochs))
        ]
    # Drills are as many as the share asks for beside the problems.
    wanted = config.epochs * len(learned["problems"]) * config.drill_share / (1 - config.drill_share)
    streams = [
        _passes(learned["problems"], config.epochs, seed, "problems"),
        _passes(learned["drills"], wanted / len(learned["drills"]), seed, "drills"),
    ]
    if config.order == "mixed":
        # Each epoch's share of both is shuffled by itself, so that no epoch has more drills than another.
        streams = [_shuffled_by_epoch(streams, config.epochs, seed)]
    return [
        _lesson("problems and drills", config, config.epochs, streams, (*kept_out["problems"], *kept_out["drills"]))
    ]


def _passes(examples: Sequence[Example], epochs: float, seed: int, kind: str) -> list[Example]:
    """`epochs` passes, each in an order of its own; a part of a pass is its beginning."""
    wanted, epoch = max(1, round(len(examples) * epochs)), 0
    found: list[Example] = []
    while len(found) < wanted:
        order = numpy_stream(seed, "sft", kind, epoch).permutation(len(examples))
        found += [examples[int(i)] for i in order[: wanted - len(found)]]
        epoch += 1
    return found


def _shuffled_by_epoch(streams: list[list[Example]], epochs: float, seed: int) -> list[Example]:
    parts = max(1, round(epochs))
    found: list[Example] = []
    for part in range(parts):
        mine = [
            e for stream in streams for e in stream[len(stream) * part // parts : len(stream) * (part + 1) // parts]
        ]
        order = numpy_stream(seed, "sft", "mixture", part).permutation(len(mine))
        found += [mine[int(i)] for i in order]
    return found


def _lesson(
    name: str, config: SupervisedFineTuning, epochs: float, streams: list[list[Example]], held_out: tuple[Example, ...]
) -> Lesson:
    order = _in_turn([_batches(stream, config.batch_size) for stream in streams])
    steps = len(order)
    ends = {min(steps, max(1, round(steps * epoch / epochs))) for epoch in range(1, int(epochs) + 1)} | {steps}
    return Lesson(name, tuple(e for batch in order for e in batch), held_out, tuple(sorted(ends)), steps)


def _batches(stream: list[Example], size: int) -> list[list[Example]]:
    """Whole batches; fewer examples than one are repeated until they fill it, so that no kind is lost."""
    if len(stream) < size:
        return [[stream[i % len(stream)] for i in range(size)]]
    return [stream[i : i + size] for i in range(0, len(stream) - size + 1, size)]


def _in_turn(batches: list[list[list[Example]]]) -> list[list[Example]]:
    """Batches of several streams, each stream's evenly spread over the whole."""
    placed = [((i + 0.5) / len(stream), s, batch) for s, stream in enumerate(batches) for i, batch in enumerate(stream)]
    return [batch for _, _, batch in sorted(placed, key=lambda entry: entry[:2])]


def shares(lesson: Lesson, drill_ids: frozenset[str]) -> float:
    """Share of drills among the examples of a lesson."""
    return float(np.mean([example.example_id in drill_ids for example in lesson.order]))

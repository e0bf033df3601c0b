"""Where the content of a fact in context sits: states copied, layer by layer, from a text with another fact.

After layer l the state at the fact's positions is replaced by that of the same text with fact B in place of A. The
log-odds of B's answer against A's move from their value in A's text (0) towards that in B's text (1): early layers
move all of it, since everything later is computed from them; the layer where the share falls is where the content has
been read by later positions (Meng et al. 2022, arXiv:2202.05262; Zhang and Nanda 2023, arXiv:2309.16042).

Shapes: B texts, T tokens from the fact on, D width, L layers, V tokens.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

from vocablab.probe.contexts import Placed, answer_ids
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.passes import changed_output, layers, log_probabilities
from vocablab.probe.subject import Subject
from vocablab.tasks.task import evenly

MOST_PAIRS = 24
"""Pairs of texts, at even distances: each is read twice per layer."""
LEAST_SHIFT = 1.0
"""Bits by which the exchange must move the log-odds on average for shares of it to mean something."""


@dataclass(frozen=True)
class _Pair:
    """Two texts that differ in the fact alone, up to the token in which the two answers part."""

    clean: list[int]
    other: list[int]
    statement: list[int]
    answer_a: int
    answer_b: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pairs that share it are read together."""
        return len(self.clean), self.statement[0], len(self.statement)


def layer_patching(subject: Subject, pairs: Sequence[tuple[Placed, Placed]]) -> Findings:
    """Share of the shift of log-odds that each layer's state at the fact carries, by lines; a note if there is none.

    The control copies the state of a third fact instead, which takes A away and brings no B: about half of the shift
    where facts are read. Positions before the fact could be no control: both texts have the same states there.
    """
    found = Findings()
    chosen = [pair for _, two in evenly(pairs, MOST_PAIRS) if (pair := _pair(subject, *two)) is not None]
    if not chosen:
        found.notes.append(f"{subject.name}: no two texts differ in the fact alone, so no layer was patched.")
        return found
    shape = sorted(chosen, key=lambda pair: pair.shape)
    # Bits of B's answer over A's, a column per pair: in A's text, in B's, patched by layer, and the control by layer.
    odds = torch.cat([_log_odds(subject, list(alike)) for _, alike in groupby(shape, lambda pair: pair.shape)], dim=1)
    gained = (odds - odds[0]).mean(1)
    shift, count = float(gained[1]), len(layers(subject.model))
    if shift < LEAST_SHIFT:
        found.notes.append(
            f"{subject.name}: the exchanged fact moves the log-odds of the answers by {shift:.2f} bits only: shares of "
            "that by layer would be noise, and are not reported."
        )
        return found
    # A ratio of means: single pairs with hardly a shift would make a mean of ratios explode.
    values, controls = (gained[2:] / shift).split(count)
    note = f"Share of a shift of {shift:.2f} bits; control: a third fact's state, which takes A away only."
    for i in range(count):
        found.measures.append(
            Measure("causal", f"layer {i + 1}", "log-odds", "recovered", float(values[i]), float(controls[i]), None,
                    len(chosen), note)
        )  # fmt: skip
    numbers = list(range(count + 1))
    # Patched before the first layer, the one text is the other.
    series = [
        {"name": "the exchanged fact", "x": numbers, "y": [1.0, *values.tolist()]},
        {"name": "a third fact", "x": numbers[1:], "y": controls.tolist()},
    ]
    title = "Share of the exchanged fact's effect that the state at its place carries"
    label = "share of the shift in log-odds"
    found.figures.append(Figure("causal-layers", title, "lines", "after layer", label, {"series": series}))
    return found


def _pair(subject: Subject, clean: Placed, other: Placed) -> _Pair | None:
    """None if the one answer is the beginning of the other."""
    a, b = answer_ids(subject, clean.stated), answer_ids(subject, other.stated)
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if same is None:
        return None
    return _Pair(clean.ids + a[:same], other.ids + a[:same], clean.statement, a[same], b[same])


def _log_odds(subject: Subject, pairs: Sequence[_Pair]) -> Tensor:
    """Bits of B's answer over A's for pairs of one shape, (2 + 2 L, B): clean, exchanged, patched, control."""
    blocks, start = layers(subject.model), pairs[0].statement[0]
    clean = torch.tensor([pair.clean for pair in pairs], device=subject.device)
    other = torch.tensor([pair.other for pair in pairs], device=subject.device)
    states: list[Tensor] = []

    def keep(state_BTD: Tensor) -> Tensor:
        states.append(state_BTD)
        return state_BTD

    with torch.inference_mode():
        # All texts are the same before the fact: read once, and kept as keys and values.
        body, seen = subject.model.base_model, torch.ones_like(clean)
        memory = body(clean[:, :start], attention_mask=seen[:, :start], use_cache=True).past_key_values

        def odds(ids_BT: Tensor, changes: Sequence[tuple[nn.Module, Callable[[Tensor], Tensor]]]) -> Tensor:
            with ExitStack() as stack:
                for block, change in changes:
                    stack.enter_context(changed_output(block, change))
                out = body(ids_BT[:, start:], attention_mask=seen, past_key_values=memory, use_cache=True)
            memory.crop(start - ids_BT.shape[1])
            return _odds(subject, pairs, out.last_hidden_state[:, -1])

        found = [odds(clean, []), odds(other, [(block, keep) for block in blocks])]
        span = slice(pairs[0].statement[-1] + 1 - start)
        for third in (0, (len(pairs) + 1) // 2):
            found += [odds(clean, [(b, _patch(s.roll(third, 0), span))]) for b, s in zip(blocks, states, strict=True)]
    return torch.stack(found)


def _patch(source_BTD: Tensor, span: slice) -> Callable[[Tensor], Tensor]:
    """Puts another text's states at the fact's positions."""

    def change(state_BTD: Tensor) -> Tensor:
        out = state_BTD.clone()
        out[:, span] = source_BTD[:, span]
        return out

    return change


def _odds(subject: Subject, pairs: Sequence[_Pair], states_BD: Tensor) -> Tensor:
    """Bits of B's answer over A's, (B,) on the CPU."""
    log2_BV = log_probabilities(subject, states_BD).cpu()
    every = torch.arange(len(pairs))
    b, a = (torch.tensor([getattr(pair, part) for pair in pairs]) for part in ("answer_b", "answer_a"))
    return log2_BV[every, b] - log2_BV[every, a]

"""The logit lens: what each layer's state would predict if it were the last (nostalgebraist 2020, "interpreting GPT:
the logit lens", lesswrong.com/posts/AcKRB8wDpdaN6v6ru).

The final norm and the head are applied to the state after each layer. A rank says when an answer becomes the model's
own; early states may hold it in a form that this lens does not read (Belrose et al. 2023, arXiv:2303.08112), so a bad
rank there is no proof of absence.

Shapes: B texts, L layers, D width, V tokens, C wanted tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocablab.base.random_streams import numpy_stream
from vocablab.probe.contexts import (
    NO_TOKENS,
    Answers,
    Placed,
    distinct_answers,
    facts_in_play,
    frames,
    has_fact_tokens,
    placed_facts,
    token_ids,
)  # fmt: skip
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.passes import final_norm, forward, log_probabilities, passes
from vocablab.probe.subject import Subject

PROBE = "lens"
SHUFFLES = 4
"""Wrong answers that each text is given as a control."""


@dataclass(frozen=True)
class _Place:
    """One position in each text, and what is looked for there."""

    name: str
    """For reports: ``answer at the fact's token``."""
    at: list[int]
    """The position in each text."""
    wanted_BC: Tensor
    """The right token of each text, and the right ones of other texts (the control)."""


def lens(subject: Subject) -> Findings:
    """Rank and log-probability of the right answer at the fact and before the answer, and of the right fact token.

    The control is a shuffled assignment: each text is given the answers of `SHUFFLES` others, from the same states.
    """
    family, facts = facts_in_play(subject)
    found, tokens = Findings(), has_fact_tokens(subject)
    if not tokens:
        found.notes.append(NO_TOKENS.format(name=subject.name, what="the logit lens"))
    placed = placed_facts(subject, family, frames(family)[:1], facts, token=tokens)
    answers = distinct_answers(subject, facts)
    if len(set(answers.first.values())) < 2 or not placed:
        found.notes.append(f"{subject.name}: no two facts have answers that differ, so the lens had nothing to find.")
        return found
    places = _places(subject, placed, answers, tokens)
    bits, ranks = _seen(subject, [one.ids + answers.common for one in placed], places)
    for i, place in enumerate(places):
        found += _report(place, bits[i], ranks[i])
    return found


def _places(subject: Subject, placed: Sequence[Placed], answers: Answers, tokens: bool) -> list[_Place]:
    """At the fact (its last position), before the answer, and before the fact where its token should be emitted."""
    first = _assigned([answers.first[one.stated.answer] for one in placed])
    what = "token" if tokens else "text"
    found = [
        _Place(f"answer at the fact's {what}", [one.statement[-1] for one in placed], first),
        _Place(f"answer after the fact's {what}", [len(one.ids) + len(answers.common) - 1 for one in placed], first),
    ]
    ids = token_ids(subject)
    if ids:
        emitted = _assigned([ids[one.stated] for one in placed])
        found.append(_Place("fact token before it", [one.statement[0] - 1 for one in placed], emitted))
    return found


def _assigned(right: Sequence[int]) -> Tensor:
    """The right token of each text and those of others, (B, 1 + `SHUFFLES`), never the right one again."""
    rng = numpy_stream(0, "probe shuffled answers")
    return torch.tensor([[own, *rng.choice([r for r in right if r != own], SHUFFLES)] for own in right])


def _report(place: _Place, bits_LBC: np.ndarray, ranks_LBC: np.ndarray) -> Findings:
    """Measures per layer, and two pictures."""
    found = Findings()
    layers, count, _ = bits_LBC.shape
    curves = []
    for values_LBC in (1 / ranks_LBC, bits_LBC):
        curves.append((values_LBC[..., 0].mean(1), values_LBC[..., 1:].mean((1, 2))))
    (own_rank, others_rank), (own_bits, others_bits) = curves
    note = "Control: the answers of other texts."
    for layer in range(layers):
        where = f"layer {layer}" if layer else "input rows"
        metric, own, other = "mean reciprocal rank", float(own_rank[layer]), float(others_rank[layer])
        found.measures.append(Measure(PROBE, where, place.name, metric, own, other, None, count, note))
    own, other = float(own_bits[-1]), float(others_bits[-1])
    where = f"layer {layers - 1}"
    found.measures.append(Measure(PROBE, where, place.name, "log2 probability", own, other, None, count, note))
    pictures = (
        ("reciprocal rank among all tokens", "rank", own_rank, others_rank),
        ("log2 of the probability (bits)", "bits", own_bits, others_bits),
    )
    for label, key, right, wrong in pictures:
        series = [
            {"name": name, "x": list(range(layers)), "y": [float(v) for v in values]}
            for name, values in (("right", right), ("of other texts", wrong))
        ]
        name = f"lens-{key}-{place.name}".replace(" ", "-").replace("'s", "")
        title = f"Logit lens: {place.name}"
        found.figures.append(Figure(name, title, "lines", "after layer", label, {"series": series}))
    return found


def _seen(
    subject: Subject, texts: Sequence[Sequence[int]], places: Sequence[_Place]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log2 probability and rank among all tokens of what is wanted, (L + 1, B, C) per place; layer 0 is the input."""
    norm = final_norm(subject.model)
    bits: list[dict[int, Tensor]] = [{} for _ in places]
    ranks: list[dict[int, Tensor]] = [{} for _ in places]
    with torch.inference_mode():
        for batch in passes(subject, texts):
            hidden = forward(subject, batch, output_hidden_states=True).hidden_states
            for n, place in enumerate(places):
                at = [place.at[i] for i in batch.rows]
                states = [state[range(len(at)), at] for state in hidden]
                # Transformers hands out the last state with the norm already applied.
                normed_LBD = torch.stack([*(norm(state) for state in states[:-1]), states[-1]])
                for b, i in enumerate(batch.rows):
                    log2_LV = log_probabilities(subject, normed_LBD[:, b])
                    own_LC = log2_LV[:, place.wanted_BC[i].to(subject.device)]
                    bits[n][i] = own_LC.cpu()
                    above = [(log2_LV > own_L1).sum(-1) for own_L1 in own_LC.T[..., None]]
                    ranks[n][i] = 1 + torch.stack(above, dim=-1).cpu()
    every = range(len(texts))
    return (
        [torch.stack([one[i] for i in every], dim=1).double().numpy() for one in bits],
        [torch.stack([one[i] for i in every], dim=1).double().numpy() for one in ranks],
    )

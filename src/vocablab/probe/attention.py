"""Attention where a fact stands in context: does its token look at the operands, and does the answer look at it?

Mass is read with a control beside it, since attention weights alone explain little (Jain and Wallace 2019,
arXiv:1902.10186) and much of the mass rests on the first position whatever the text (Xiao et al. 2023,
arXiv:2309.17453): the same text spelled, and what attention spread evenly over all positions would give.

Shapes: L layers, H heads, B texts, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vocablab.probe.contexts import NO_TOKENS, Placed, facts_in_play, frames, has_fact_tokens, placed_facts
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.passes import forward, passes
from vocablab.probe.subject import Subject
from vocablab.tasks.task import evenly

PROBE = "attention"
FACTS = 24
"""Facts, at even distances, each of which stands in every frame."""


@dataclass(frozen=True)
class _Mass:
    """Attention mass in some texts, each text with as much weight as any other."""

    name: str
    """``fact token`` or ``matched text``."""
    to_operands_BLH: np.ndarray
    """From the statement (its positions' mean) to the operands."""
    to_statement_BLH: np.ndarray
    """From the position that predicts the answer to the statement (all its positions together)."""
    even_operands_B: np.ndarray
    """What even attention would give."""
    even_statement_B: np.ndarray


def attention(subject: Subject) -> Findings:
    """Mass by layer and head between operands, fact and answer, for the fact token and for matched text.

    Per layer the mean over heads, with matched text (for an arm without fact tokens, even attention) as control; and
    the strongest head, chosen on half of the texts and measured on the other, so that the choice does not flatter it.
    """
    family, facts = facts_in_play(subject)
    facts = tuple(fact for _, fact in evenly(facts, FACTS))
    found = Findings()
    chosen = frames(family)
    plain = _mass(subject, "matched text", placed_facts(subject, family, chosen, facts, token=False))
    placed = placed_facts(subject, family, chosen, facts, token=True) if has_fact_tokens(subject) else []
    if not placed:
        found.notes.append(NO_TOKENS.format(name=subject.name, what="attention"))
    tokens = _mass(subject, "fact token", placed) if placed else None
    for mass in (tokens, plain):
        if mass is not None:
            _report(found, mass, plain if mass is tokens else None)
    return found


def _mass(subject: Subject, name: str, placed: Sequence[Placed]) -> _Mass:
    to_operands: dict[int, np.ndarray] = {}
    to_statement: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for batch in passes(subject, [one.ids for one in placed]):
            layers = forward(subject, batch, output_attentions=True).attentions
            for b, i in enumerate(batch.rows):
                one = placed[i]
                # (L, H, rows of interest, T): copied, so that the layers' (B, H, T, T) can be freed.
                stated_LHST = torch.stack([layer[b][:, one.statement] for layer in layers])
                last_LHT = torch.stack([layer[b][:, len(one.ids) - 1] for layer in layers])
                to_operands[i] = stated_LHST[..., one.operands].sum(-1).mean(-1).float().cpu().numpy()
                to_statement[i] = last_LHT[..., one.statement].sum(-1).float().cpu().numpy()
    every = range(len(placed))
    return _Mass(
        name,
        np.stack([to_operands[i] for i in every]),
        np.stack([to_statement[i] for i in every]),
        np.array([np.mean([len(one.operands) / (p + 1) for p in one.statement]) for one in placed]),
        np.array([len(one.statement) / len(one.ids) for one in placed]),
    )


def _report(found: Findings, mass: _Mass, matched: _Mass | None) -> None:
    """Measures and heatmaps of the two directions."""
    pairs = [
        ("operands", f"mass from {mass.name}", mass.to_operands_BLH, mass.even_operands_B,
         None if matched is None else matched.to_operands_BLH),
        (mass.name, "mass from the answer", mass.to_statement_BLH, mass.even_statement_B,
         None if matched is None else matched.to_statement_BLH),
    ]  # fmt: skip
    for target, metric, mass_BLH, even_B, matched_BLH in pairs:
        even, n = float(even_B.mean()), len(mass_BLH)
        beside = "matched text" if matched_BLH is not None else "even attention"
        for layer, value in enumerate(mass_BLH.mean((0, 2))):
            control = even if matched_BLH is None else float(matched_BLH[:, layer].mean())
            note = f"Mean over heads; control: {beside}; even attention gives {even:.4f}."
            found.measures.append(
                Measure(PROBE, f"layer {layer + 1}", target, metric, float(value), control, None, n, note)
            )
        found.measures.append(_strongest(target, metric, mass_BLH, even))
        found.figures.append(_heatmap(target, metric, mass_BLH, even))


def _strongest(target: str, metric: str, mass_BLH: np.ndarray, even: float) -> Measure:
    """The head with the most mass in every second text, measured in the others."""
    chosen, measured = mass_BLH[::2].mean(0), mass_BLH[1::2] if len(mass_BLH) > 1 else mass_BLH
    layer, head = (int(i) for i in np.unravel_index(chosen.argmax(), chosen.shape))
    value = float(measured[:, layer, head].mean())
    note = "The strongest head, chosen on the other half of the texts; control: even attention."
    place = f"layer {layer + 1} head {head + 1}"
    return Measure(PROBE, place, target, f"strongest {metric}", value, even, None, len(measured), note)


def _heatmap(target: str, metric: str, mass_BLH: np.ndarray, even: float) -> Figure:
    values = mass_BLH.mean(0)
    return Figure(
        f"attention-{metric}-to-{target}".replace(" ", "-"),
        f"Attention {metric} to {target} (even attention: {even:.3f})",
        "heatmap",
        "head",
        "layer",
        {
            "values": [[round(float(v), 5) for v in row] for row in values],
            "x": [str(h + 1) for h in range(values.shape[1])],
            "y": [str(layer + 1) for layer in range(values.shape[0])],
            "low": 0.0,
            "high": 1.0,
        },
    )

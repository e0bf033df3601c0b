"""What a model does when the fact in its context is taken away or exchanged: does it read the token, or recompute?

An exchanged fact stands after a question about another one, so the two sources of the answer disagree. Reliance is the
share of greedy answers that follow the fact; recomputation is the share that are right for the question. They need not
sum to one: a model may answer neither.

Shapes: B texts, T tokens, D width, L layers, N base tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vocablab.base.random_streams import numpy_stream
from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.model.decoding import Decoder, Request
from vocablab.model.reader import TransformersReader
from vocablab.probe.contexts import (
    ASKED,
    NO_TOKENS,
    Frame,
    Placed,
    answer_ids,
    facts_in_play,
    frames,
    has_fact_tokens,
    place,
    placed_facts,
    row_of,
    token_ids,
)  # fmt: skip
from vocablab.probe.layer_patching import layer_patching
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.passes import bits_after
from vocablab.probe.shares import share
from vocablab.probe.subject import Subject
from vocablab.tasks.answers import first_answer, normalise

PROBE = "causal"
ANSWER_TOKENS = 4
"""Tokens of a greedy answer: two digits spelled one by one, a full stop, and one to spare."""


@dataclass(frozen=True)
class Exchange:
    """A kind of planted fact, for each asked one."""

    name: str
    """For the measure."""
    planted: dict[Fact, Fact]
    """What is stated where the key is asked."""
    token: bool
    """Whether it is planted as a token; else spelled."""


def causal(subject: Subject) -> Findings:
    """Ablation, exchange and patching by layer of the fact in context; of its matched text for an arm without tokens.

    Sources: Meng et al. 2022 (arXiv:2202.05262) for patching states, Zhang and Nanda 2023 (arXiv:2309.16042) for
    counterfactual inputs and log-odds instead of noise and probabilities.
    """
    family, facts = facts_in_play(subject)
    found, tokens = Findings(), has_fact_tokens(subject)
    if not tokens:
        found.notes.append(NO_TOKENS.format(name=subject.name, what="causal patching"))
    # Two frames are enough here: every fact is read many times over.
    chosen = frames(family)[:2]
    found += _ablations(subject, placed_facts(subject, family, chosen[:1], facts, token=tokens), tokens)
    kinds = exchanges(facts, tokens)
    if not kinds:
        found.notes.append("No two facts have different answers, so none could be exchanged.")
    shares = []
    for kind in kinds:
        measures, bars = _exchanged(subject, family, chosen, kind)
        found.measures += measures
        shares += [bars] if bars else []
    if shares:
        found.figures.append(_bars(shares))
    if kinds:
        found += layer_patching(subject, _pairs(subject, family, kinds[0]))
    return found


def exchanges(facts: Sequence[Fact], tokens: bool) -> list[Exchange]:
    """Planted facts: of another answer, the nearest one with the same first operand; any; and spelled, a wrong product.

    The wrong product is the nearest larger right answer of the table, as `vocablab.vocab.controls` plants it: as
    plausible as a wrong one can be. A token cannot state it, so it is spelled in every arm.
    """
    order = numpy_stream(0, "probe exchanges").permutation(len(facts))
    anyhow = [facts[int(i)] for i in order]
    same, other, wrong = {}, {}, {}
    answers = sorted({fact.answer for fact in facts})
    for fact in facts:
        rivals = [f for f in facts if f.answer != fact.answer]
        if not rivals:
            continue
        near = [f for f in rivals if f.operands[0] == fact.operands[0]] or rivals
        same[fact] = min(near, key=lambda f: (abs(f.answer - fact.answer), f.answer))
        start = anyhow.index(fact)
        other[fact] = next(f for f in anyhow[start:] + anyhow[:start] if f.answer != fact.answer)
        wrong[fact] = replace(fact, answer=answers[(answers.index(fact.answer) + 1) % len(answers)])
    if not same:
        return []
    spelled = Exchange("wrong product, spelled", wrong, False)
    if not tokens:
        return [spelled]
    return [
        Exchange("token of the same first operand", same, True),
        Exchange("token of any other fact", other, True),
        spelled,
    ]


def _ablations(subject: Subject, placed: Sequence[Placed], tokens: bool) -> Findings:
    """Bits that the right answer costs more when the rows of the statement carry nothing."""
    found = Findings()
    if not placed:
        return found
    texts = [one.ids for one in placed]
    answers = [answer_ids(subject, one.asked) for one in placed]
    base = row_of(subject, "input", range(subject.codec.vocabulary.base_size)).mean(0)
    kinds = {"mean base row": base}
    if tokens:
        kinds["mean added row"] = row_of(subject, "input", list(token_ids(subject).values())).mean(0)
    plain = bits_after(subject, texts, answers)
    # Also one position that says nothing of the answer, the last, is taken out: what any damage costs.
    damage = float((bits_after(subject, texts, answers, [{len(t) - 1: base} for t in texts]) - plain).mean())
    what = "fact token" if tokens else "matched text"
    for name, row in kinds.items():
        without = bits_after(subject, texts, answers, [dict.fromkeys(one.statement, row) for one in placed])
        note = f"Right answer: {plain.mean():.3f} bits with it. Control: the last position ablated instead."
        value = float((without - plain).mean())
        found.measures.append(
            Measure(PROBE, "input rows", what, f"bits lost to {name}", value, damage, None, len(placed), note)
        )
    return found


def _exchanged(
    subject: Subject, family: Family, chosen: Sequence[Frame], kind: Exchange
) -> tuple[list[Measure], tuple[str, float, float] | None]:
    """Reliance and recomputation under one kind of exchange."""
    made = [
        place(subject, family, frame, asked, planted, token=kind.token)
        for frame in chosen
        for asked, planted in kind.planted.items()
    ]
    placed = [one for one in made if one is not None]
    if not placed:
        return [], None
    given = greedy_answers(subject, [one.ids for one in placed])
    follows = [answer == normalise(str(one.stated.answer)) for answer, one in zip(given, placed, strict=True)]
    right = [answer == normalise(str(one.asked.answer)) for answer, one in zip(given, placed, strict=True)]
    # The same answers against the facts of all texts: what answers of this kind hit without looking.
    chance = [
        float(np.mean([[answer == str(getattr(one, part).answer) for one in placed] for answer in given]))
        for part in ("stated", "asked")
    ]
    note = "Control: the same answers against the facts of all texts."
    count = len({one.asked for one in placed})
    reliance = share(PROBE, "context", kind.name, "reliance", follows, chance[0], count, note)
    recomputed = share(PROBE, "context", kind.name, "recomputed", right, chance[1], count, note)
    return [reliance, recomputed], (kind.name, reliance.value, recomputed.value)


def greedy_answers(subject: Subject, texts: Sequence[Sequence[int]]) -> list[str]:
    """The first number of what the model goes on with, in normal form; empty if there is none."""
    decoder = Decoder(
        TransformersReader(subject.model), eos=subject.codec.vocabulary.eos_id, banned=nameless(subject), guesses=0
    )
    found = decoder.answers([Request(text, ANSWER_TOKENS) for text in texts])
    return [first_answer(subject.codec.render(answer.ids)) for answer in found]


def nameless(subject: Subject) -> range:
    """Ids that pad the head: no token, never emitted."""
    return range(subject.codec.vocabulary.size, subject.model.get_output_embeddings().weight.shape[0])


def _pairs(subject: Subject, family: Family, kind: Exchange) -> list[tuple[Placed, Placed]]:
    """Each fact's text, and the same with the exchanged fact, if they differ from the fact on and have one length."""
    frame = ASKED if ASKED in frames(family) else frames(family)[0]
    found = []
    for asked, planted in kind.planted.items():
        clean = place(subject, family, frame, asked, asked, token=kind.token)
        other = place(subject, family, frame, asked, planted, token=kind.token)
        if clean is None or other is None or len(clean.ids) != len(other.ids) or clean.statement != other.statement:
            continue
        start = clean.statement[0]
        if clean.ids[:start] == other.ids[:start]:
            found.append((clean, other))
    return found


def _bars(shares: Sequence[tuple[str, float, float]]) -> Figure:
    names = [name for name, _, _ in shares]
    series = [
        {"name": "follows the fact", "x": names, "y": [value for _, value, _ in shares]},
        {"name": "right for the question", "x": names, "y": [value for _, _, value in shares]},
    ]
    title = "Answers after a fact that contradicts the question"
    return Figure("causal-reliance", title, "bars", "exchanged for", "share of answers", {"series": series})

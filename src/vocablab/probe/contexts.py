"""Texts in which a fact stands after its operands and before its answer, with the place of every part.

The same text is read in two ways: with the arm's token for the fact, and as matched text, spelled in ordinary tokens.
Places come from the characters where tokens end (`vocablab.vocab.vocabulary.Encoded`), never from a search for ids.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from vocablab.facts.fact import Fact
from vocablab.facts.families import Family, Multiplication
from vocablab.probe.subject import Subject
from vocablab.tasks.arithmetic import EVALUATION_PHRASING, TRAINED_PHRASINGS
from vocablab.tasks.task import chat_prompt, evenly
from vocablab.vocab.codec import Codec
from vocablab.vocab.digits import Chunked, DigitTokens, Hybrid
from vocablab.vocab.forms import answer_text, canonical_text, question_text
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.meaning import fact_rule, family_of

MOST_FACTS = 45
"""Facts that are put into texts: a whole unordered table of 1 to 9; of more, that many at even distances."""
STEM = ". The answer is"
"""What stands between a fact and its answer, as in the worked answers of `vocablab.tasks.arithmetic`."""
NO_TOKENS = "{name} has no tokens that state a fact: {what} is measured on plain text only."


@dataclass(frozen=True)
class Frame:
    """What stands around a fact."""

    name: str
    """For notes."""
    head: str
    """Text before the statement; ``{a}``, ``{b}`` are the operands, ``{q}`` is the question in symbols."""
    tail: str = STEM
    """Text between the statement and the answer."""


ASKED = Frame("asked", chat_prompt(TRAINED_PHRASINGS["what-is"]) + " ")
ASKED_OTHERWISE = Frame("asked otherwise", chat_prompt(EVALUATION_PHRASING[1]) + " ")
STORY = Frame("story", "We have {a} bags with {b} nuts each, which makes ", " nuts" + STEM)
ANY_FAMILY = Frame("asked", chat_prompt("What is {q}?") + " ")
BARE = Frame("bare", chat_prompt("What is the result?") + " ")
"""Without the operands: the answer can come from the fact only."""


@dataclass(frozen=True)
class Placed:
    """A text as tokens, end-of-text before it, up to the place where the answer follows."""

    asked: Fact
    """The fact whose operands stand in the head."""
    stated: Fact
    """The fact that is stated: the same, or a planted one."""
    ids: list[int]
    """Its tokens; what the last one predicts is the answer."""
    operands: list[int]
    """Positions of the operands in the head."""
    statement: list[int]
    """Positions of the statement: one if it is a token."""


def facts_in_play(subject: Subject) -> tuple[Family, tuple[Fact, ...]]:
    """The family that a subject's arm is about, the table of products if none, and the facts to put into texts.

    The facts of its tokens if it has such tokens.
    """
    family = family_of(subject.codec.intervention) or Multiplication()
    facts = tuple(fact for fact in subject.facts if fact is not None) or family.facts(ordered=False)
    return family, tuple(fact for _, fact in evenly(facts, MOST_FACTS))


def has_fact_tokens(subject: Subject) -> bool:
    """Whether any added token states a fact."""
    return any(fact is not None for fact in subject.facts)


def frames(family: Family) -> tuple[Frame, ...]:
    """Texts in which the operands stand before the fact."""
    multiplies = family.facts(ordered=False)[0].relation == "MUL"
    return (ASKED, ASKED_OTHERWISE, STORY) if multiplies else (ANY_FAMILY,)


def place(subject: Subject, family: Family, frame: Frame, asked: Fact, stated: Fact, *, token: bool) -> Placed | None:
    """Write a text and encode it.

    Args:
        subject: whose codec encodes.
        family: of the facts.
        frame: the text around.
        asked: whose operands stand in the head.
        stated: what the text states; a wrong product makes no token. In mode annotate, what the token states.
        token: whether the statement is to be the arm's token; else it is spelled.

    Returns:
        None if a token was wanted and the arm has none for this statement.
    """
    names = dict(zip("ab", asked.operands, strict=False)) | {"q": question_text(family, asked)}
    head = frame.head.format(**names)
    mode = mode_of(subject) if token else ""
    # A token that annotates is exchanged alone: were its text exchanged as well, nobody knew which of them is read.
    written = asked if mode == "annotate" else stated
    statement = canonical_text(family, written)
    text = head + statement + frame.tail
    first, last = len(head), len(head) + len(statement)
    codec = _always(subject.codec) if token else _spelling(subject.codec)
    spans = codec.intervention.spans(text, "probe")
    encoded = codec.encode_spans(text, spans)
    ends, ids = encoded.ends, encoded.ids
    starts = np.concatenate([[0], ends[:-1]])
    if token:
        own = next((s for s in spans if s.is_token and first <= s.start and s.end <= last), None)
        if own is None:
            return None
        here = (ends == own.end) & (ids == codec.vocabulary.added_ids[own.replacement])
        if written != stated:
            ids = np.where(here, token_ids(subject)[stated], ids)
    else:
        here = (ends > first) & (starts < last)
    operands = np.zeros(len(ends), dtype=bool)
    for number in re.finditer("[0-9]+", head):
        if int(number.group()) in asked.operands:
            operands |= (ends > number.start()) & (starts < number.end())
    # A token of the operands alone is followed by its equals sign and the answer; nothing may spell it before that.
    read = ends <= (first + len(begun(family, stated)) if mode == "operands" else len(text))
    # A token that stands for the operands themselves (weak mode) is in both; it is not counted as its own operand.
    operands &= ~here & read
    return Placed(
        asked, stated, [codec.vocabulary.eos_id, *map(int, ids[read])], _positions(operands), _positions(here)
    )


def begun(family: Family, fact: Fact) -> str:
    """A fact up to its answer: ``6 * 9 =``."""
    end = answer_text(family, fact)
    return question_text(family, fact) + end[: end.index(str(fact.answer))].rstrip()


def mode_of(subject: Subject) -> str:
    """How the arm's tokens stand for facts (`FactTokens.mode`); empty without fact tokens."""
    rule = fact_rule(subject.codec.intervention)
    return "" if rule is None else rule.mode


def placed_facts(
    subject: Subject, family: Family, chosen: Sequence[Frame], facts: Sequence[Fact], *, token: bool
) -> list[Placed]:
    """Each fact in each frame, stated rightly; without those that the arm has no token for."""
    found = (place(subject, family, frame, fact, fact, token=token) for frame in chosen for fact in facts)
    return [one for one in found if one is not None]


def spell(subject: Subject, text: str) -> list[int]:
    """Ids of a text without fact tokens, without end-of-text before it."""
    codec = _spelling(subject.codec)
    return [int(i) for i in codec.encode(text, "probe").ids]


def answer_ids(subject: Subject, fact: Fact) -> list[int]:
    """What follows ``The answer is``, with the full stop, without which `` 5`` would be a part of `` 54``."""
    return spell(subject, f" {fact.answer}.")


@dataclass(frozen=True)
class Answers:
    """The first tokens in which the answers of some facts differ."""

    common: list[int]
    """What all of them start with; empty where an answer is a token of its own."""
    first: dict[int, int]
    """For each answer the token after that."""


def distinct_answers(subject: Subject, facts: Sequence[Fact]) -> Answers:
    """Split the answers of some facts into a common beginning and a token that tells them apart as far as one can."""
    found = {fact.answer: answer_ids(subject, fact) for fact in facts}
    rows = list(found.values())
    same = 0
    while len(rows) > 1 and all(len(row) > same + 1 and row[same] == rows[0][same] for row in rows):
        same += 1
    return Answers(rows[0][:same], {answer: row[same] for answer, row in found.items()})


def token_ids(subject: Subject) -> dict[Fact, int]:
    """Id of each fact's token."""
    return {fact: i for fact, i in zip(subject.facts, subject.ids, strict=True) if fact is not None}


def row_of(subject: Subject, which: str, ids: Sequence[int]) -> torch.Tensor:
    """Rows of a table, shape (n, D), on the subject's device."""
    embeddings = subject.model.get_input_embeddings() if which == "input" else subject.model.get_output_embeddings()
    found: torch.Tensor = embeddings.weight.detach()[torch.tensor(list(ids), device=subject.device)]
    return found


def _always(codec: Codec) -> Codec:
    """The codec that takes every site: a dose below 1, or facts that are never taught, would leave some texts without
    their token."""
    rule, facts = codec.intervention, fact_rule(codec.intervention)
    if facts is None:
        return codec
    every = replace(facts, dose=1.0, untaught=None)
    return replace(codec, intervention=replace(rule, first=every) if isinstance(rule, Hybrid) else every)


def _spelling(codec: Codec) -> Codec:
    """The codec of matched text: no fact tokens, but an arm's own digits stay, since it knows no others."""
    rule = codec.intervention
    if isinstance(rule, DigitTokens | Chunked):
        return codec
    return replace(codec, intervention=rule.second if isinstance(rule, Hybrid) else NoChange())


def _positions(mask: np.ndarray) -> list[int]:
    """Places of a mask over tokens, end-of-text counted before them."""
    return [int(i) + 1 for i in np.flatnonzero(mask)]

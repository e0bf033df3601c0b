"""Does a model know its fact tokens?  Roadmap F2: completing a token's name, and choosing a token for a question.

Modes: ``pieces`` spells the beginning of a name out in ordinary tokens, ``<MUL_6_9_``, and asks for the rest, ``54>``,
among the family's answers; ``token`` asks ``What is 6 * 9?`` in the prompt template and chooses among the tokens.
"""

from collections import Counter

import numpy as np

from vocablab.evaluate.choosing import certainty
from vocablab.evaluate.likelihood import Scored, next_token_bits, score_continuations
from vocablab.evaluate.model import Loaded
from vocablab.evaluate.rows import Row
from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.tasks.answers import EXTRACTOR_VERSION
from vocablab.tasks.task import chat_prompt
from vocablab.vocab.forms import question_text
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.meaning import family_of, is_untaught

FORCED_PREFIX = "forced_prefix"
"""What score rows call it."""
PIECES, TOKEN = "pieces", "token"
FACTS, UNTAUGHT = "facts", "untaught"
"""Splits: tokens that stood in texts, and those that did not (`FactTokens.untaught`)."""


def known_facts(loaded: Loaded) -> tuple[Family | None, dict[str, Fact]]:
    """The family of a model's fact tokens, and its facts by token name; empty without tokens that say an answer."""
    family = family_of(loaded.codec.intervention)
    if family is None:
        return None, {}
    names = {family.token_name(fact): fact for fact in family.facts(ordered=True)}
    return family, {name: fact for name, fact in names.items() if name in loaded.codec.vocabulary.added_ids}


def items_by_split(rule: Intervention) -> Counter[str]:
    """How many facts each mode asks a model with this intervention for, by split."""
    family, tokens = family_of(rule), set(rule.tokens())
    if family is None:
        return Counter()
    return Counter(_split(rule, fact) for fact in family.facts(ordered=True) if family.token_name(fact) in tokens)


def score_forced_prefix(loaded: Loaded, run_id: str, batch_size: int) -> list[Row]:
    """A row per fact token and mode; none for a model without fact tokens."""
    family, facts = known_facts(loaded)
    if family is None or not facts:
        return []
    return [*_pieces(loaded, facts, run_id, batch_size), *_tokens(loaded, family, facts, run_id, batch_size)]


def _pieces(loaded: Loaded, facts: dict[str, Fact], run_id: str, batch_size: int) -> list[Row]:
    # The text is a token's name, spelled: no rule may see a fact in it.
    plain = loaded.plain
    answers = sorted({fact.answer for fact in facts.values()})
    prompts = {name: name.removesuffix(f"{fact.answer}>") for name, fact in facts.items()}
    pairs = [(name, prompts[name], f"{answer}>") for name in facts for answer in answers]
    costs = score_continuations(plain, pairs, batch_size)
    rows = []
    for i, (name, fact) in enumerate(facts.items()):
        mine = costs[i * len(answers) : (i + 1) * len(answers)]
        rows.append(
            _row(
                run_id,
                PIECES,
                _split(loaded.codec.intervention, fact),
                fact,
                prompts[name],
                mine,
                answers.index(fact.answer),
                list(map(str, answers)),
            )
        )
    return rows


def _tokens(loaded: Loaded, family: Family, facts: dict[str, Fact], run_id: str, batch_size: int) -> list[Row]:
    names = list(facts)
    ids = [loaded.codec.vocabulary.added_ids[name] for name in names]
    # An answer starts with a space, which a token does not hold.
    prompts = [(name, chat_prompt(f"What is {question_text(family, facts[name])}?") + " ") for name in names]
    bits = next_token_bits(loaded, prompts, ids, batch_size)
    rows = []
    for i, name in enumerate(names):
        mine = [Scored(float(b), len(other), 1) for b, other in zip(bits[i], names, strict=True)]
        split = _split(loaded.codec.intervention, facts[name])
        rows.append(_row(run_id, TOKEN, split, facts[name], prompts[i][1], mine, i, names))
    return rows


def _split(rule: Intervention, fact: Fact) -> str:
    """Facts whose tokens were never taught are asked for by themselves."""
    return UNTAUGHT if is_untaught(rule, fact) else FACTS


def _row(
    run_id: str, mode: str, split: str, fact: Fact, prompt: str, costs: list[Scored], label: int, choices: list[str]
) -> Row:
    chosen = int(np.argmin([cost.bits for cost in costs]))
    return Row(
        run_id=run_id,
        task=FORCED_PREFIX,
        mode=mode,
        item_id=fact.key,
        cluster_id=fact.key,
        split=split,
        metric="acc",
        score=float(chosen == label),
        acc=float(chosen == label),
        gold_bits=costs[label].bits,
        raw_bytes=costs[label].raw_bytes,
        n_tokens=costs[label].n_tokens,
        prompt=prompt,
        output="",
        extracted=choices[chosen],
        ended_eos=False,
        extractor_version=EXTRACTOR_VERSION,
        **certainty(costs, label),
    )

"""What an added token says, taken apart: operands and answer of a fact, digit and place of a digit.

A description in text only, so that a row for the token can be made from the rows of ordinary tokens
(`vocablab.model.new_rows`), and so that a test or a probe can ask which tokens share a part.
"""

from dataclasses import dataclass
from functools import singledispatch

from vocablab.base.errors import UserError
from vocablab.facts.fact import Fact
from vocablab.facts.families import ANSWER, Family
from vocablab.vocab.controls import CounterfactualFacts
from vocablab.vocab.digits import Chunked, DigitTokens, Hybrid
from vocablab.vocab.fact_tokens import FactTokens, facts_by_token
from vocablab.vocab.forms import compiled
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.vocabulary import Vocabulary


@dataclass(frozen=True)
class TokenMeaning:
    """What one added token says."""

    name: str
    """The token: ``<MUL_6_9_54>``."""
    relation: str
    """What its parts have to do with one another: ``MUL``, ``MUL?`` without the answer, else the intervention's class.
    Tokens with the same parts and another relation say something else."""
    parts: tuple[str, ...]
    """The texts that it is made of, in order: ``("6", "9", "54")``; none for a token that says nothing (a sham)."""
    text: str
    """Its neutral text: ``6 * 9 = 54``; empty for a token that says nothing."""


def token_meanings(vocabulary: Vocabulary, intervention: Intervention) -> tuple[TokenMeaning, ...]:
    """What each added token of `vocabulary` says, in the order of the ids.

    Raises:
        UserError: if the vocabulary's added tokens are not the intervention's, one for one and in its order.
    """
    if vocabulary.added != intervention.tokens():
        raise UserError(
            f"the vocabulary's {len(vocabulary.added)} added tokens are not the {len(intervention.tokens())} of "
            f"{type(intervention).__name__} in the same order: every row would get another token's meaning."
        )
    found = _meanings(intervention)
    return tuple(found[name] for name in vocabulary.added)


@singledispatch
def _meanings(rule: Intervention) -> dict[str, TokenMeaning]:
    """By token. Any intervention, a user's own too: one part, the neutral text, if there is one."""
    texts = {name: rule.neutral(name) for name in rule.tokens()}
    kind = type(rule).__name__
    return {name: TokenMeaning(name, kind, (text,) if text else (), text) for name, text in texts.items()}


@_meanings.register
def _(rule: FactTokens) -> dict[str, TokenMeaning]:
    asks = rule.mode == "operands"
    found = {}
    for name, fact in facts_by_token(rule.family, rule.ordered, asks).items():
        numbers = fact.operands if asks else (*fact.operands, fact.answer)
        relation = f"{fact.relation}?" if asks else fact.relation
        found[name] = TokenMeaning(name, relation, tuple(map(str, numbers)), rule.neutral(name))
    return found


@_meanings.register
def _(rule: CounterfactualFacts) -> dict[str, TokenMeaning]:
    """The planted answer is a part, as the right one is in the arm whose sites these are: they differ in it alone."""
    relation = rule.facts.family.facts(ordered=rule.facts.ordered)[0].relation
    found = {}
    for name in rule.tokens():
        text = rule.neutral(name)
        site = compiled(rule.facts.family, weak=False).candidates(text)[0]
        number = {letter: text[start:end] for letter, start, end in site.numbers}
        operands = [number[letter] for letter in sorted(number) if letter != ANSWER]
        found[name] = TokenMeaning(name, relation, (*operands, number[ANSWER]), text)
    return found


@_meanings.register
def _(rule: DigitTokens) -> dict[str, TokenMeaning]:
    """Digit and place: ``[5:tens]`` and ``[5:ones]`` have the same neutral text."""
    found = {}
    for name in rule.tokens():
        digit, _, place = name[1:-1].partition(":")
        found[name] = TokenMeaning(name, type(rule).__name__, (digit, place.replace("_", " ")), rule.neutral(name))
    return found


@_meanings.register
def _(rule: Chunked) -> dict[str, TokenMeaning]:
    """Digit by digit: the mean over the pieces of ``054`` would be that of ``045``."""
    texts = {name: rule.neutral(name) for name in rule.tokens()}
    return {name: TokenMeaning(name, type(rule).__name__, tuple(text), text) for name, text in texts.items()}


@_meanings.register
def _(rule: Hybrid) -> dict[str, TokenMeaning]:
    return _meanings(rule.first) | _meanings(rule.second)


def family_of(rule: Intervention) -> Family | None:
    """The facts an intervention is about: its own, or those of the intervention inside it."""
    for name in ("family", "facts", "first"):
        inner = getattr(rule, name, None)
        if isinstance(inner, Family):
            return inner
        if isinstance(inner, Intervention):
            return family_of(inner)
    return None


def fact_rule(rule: Intervention) -> FactTokens | None:
    """The rule that gives an arm its fact tokens: the intervention itself, or the first one of a hybrid."""
    if isinstance(rule, Hybrid):
        return fact_rule(rule.first)
    return rule if isinstance(rule, FactTokens) else None


def is_untaught(rule: Intervention, fact: Fact) -> bool:
    """Whether a fact's token exists but stands in no text (`FactTokens.untaught`)."""
    facts = fact_rule(rule)
    return facts is not None and facts.untaught is not None and fact in facts.untaught

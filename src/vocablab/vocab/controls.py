"""The arms that a fact-token arm is compared with: each shares all of it but one thing."""

from dataclasses import dataclass
from functools import lru_cache

from vocablab.base.errors import UserError
from vocablab.base.random_streams import stream_seed
from vocablab.vocab.fact_tokens import FactTokens, facts_by_token
from vocablab.vocab.forms import canonical_text
from vocablab.vocab.intervention import Intervention, NearMiss, Span


@dataclass(frozen=True)
class PlainTextFacts(Intervention):
    """The control for exposure: the same sites, in the plain text that the token stands for, and no tokens."""

    facts: FactTokens = FactTokens()
    """The intervention whose sites these are."""

    def __post_init__(self) -> None:
        if self.facts.mode == "annotate":
            raise UserError("PlainTextFacts: mode annotate keeps the text, so its plain control is NoChange.")

    def tokens(self) -> tuple[str, ...]:
        return ()

    def spans(self, text: str, document: str) -> list[Span]:
        return [
            Span(s.start, s.end, self.facts.neutral(s.replacement), False, s.fact_key, s.form) if s.is_token else s
            for s in self.facts.spans(text, document)
        ]

    def may_change(self, data: bytes) -> bool:
        return self.facts.may_change(data)

    def near_misses(self, text: str) -> list[NearMiss]:
        return self.facts.near_misses(text)

    def neutral(self, token: str) -> str:
        raise KeyError(token)

    def surface(self, replacement: str, form: str) -> str:
        return self.facts.surface(_token_by_neutral(self.facts).get(replacement, replacement), form)


@dataclass(frozen=True)
class ShuffledMeaning(Intervention):
    """The sham: the same sites, as many tokens, but a random one at each site, so that it means nothing."""

    facts: FactTokens = FactTokens()
    """The intervention whose sites these are."""
    seed: int = 0
    """Seed of the draws."""

    def tokens(self) -> tuple[str, ...]:
        return tuple(f"<SHAM_{i:02d}>" for i in range(len(self.facts.tokens())))

    def spans(self, text: str, document: str) -> list[Span]:
        # Tokens whose facts are never taught stand in no text here either: the others are as often shown.
        names = self.tokens()[: self.facts.taught]
        return [
            Span(
                s.start,
                s.end,
                names[stream_seed(self.seed, "sham", document, s.start) % len(names)] if s.is_token else s.replacement,
                s.is_token,
                s.fact_key,
                text[s.start : s.end],
            )
            for s in self.facts.spans(text, document)
        ]

    def may_change(self, data: bytes) -> bool:
        return self.facts.may_change(data)

    def near_misses(self, text: str) -> list[NearMiss]:
        return self.facts.near_misses(text)

    def neutral(self, token: str) -> str:
        return ""

    def surface(self, replacement: str, form: str) -> str:
        return form


@dataclass(frozen=True)
class PauseToken(Intervention):
    """The control for compute: one token without content after each site, whose text stays (Goyal et al. 2023)."""

    facts: FactTokens = FactTokens()
    """The intervention whose sites these are."""

    def tokens(self) -> tuple[str, ...]:
        return ("<PAUSE>",)

    def spans(self, text: str, document: str) -> list[Span]:
        return [
            Span(site.end, site.end, "<PAUSE>", True, site.fact.key, "") for site in self.facts.sites(text, document)
        ]

    def may_change(self, data: bytes) -> bool:
        return self.facts.may_change(data)

    def near_misses(self, text: str) -> list[NearMiss]:
        return self.facts.near_misses(text)

    def neutral(self, token: str) -> str:
        return ""

    def surface(self, replacement: str, form: str) -> str:
        return ""


@dataclass(frozen=True)
class WidenedModel(Intervention):
    """The control for parameters: as many extra rows in the embedding, which no text ever uses."""

    facts: FactTokens = FactTokens()
    """The intervention whose number of tokens this is."""

    @property
    def changes_text(self) -> bool:
        return False

    def tokens(self) -> tuple[str, ...]:
        return tuple(f"<UNUSED_{i:02d}>" for i in range(len(self.facts.tokens())))

    def may_change(self, data: bytes) -> bool:
        return False

    def spans(self, text: str, document: str) -> list[Span]:
        return []

    def neutral(self, token: str) -> str:
        return ""

    def surface(self, replacement: str, form: str) -> str:
        raise KeyError(replacement)


@dataclass(frozen=True)
class CounterfactualFacts(Intervention):
    """Wrong on purpose: at the same sites, a token that always claims the same wrong answer (``<MUL_6_9_56>``).

    For measuring reliance: a model that trusts its tokens follows them, one that recomputes does not.
    """

    facts: FactTokens = FactTokens()
    """The intervention whose sites these are."""

    def __post_init__(self) -> None:
        if self.facts.mode == "operands":
            raise UserError("CounterfactualFacts: a token of mode operands claims no answer that could be wrong.")

    def tokens(self) -> tuple[str, ...]:
        return tuple(_claims(self.facts))

    def spans(self, text: str, document: str) -> list[Span]:
        wrong = {right: claim for claim, (right, _) in _claims(self.facts).items()}
        return [
            Span(s.start, s.end, wrong[s.replacement], True, s.fact_key, s.form)
            for s in self.facts.spans(text, document)
        ]

    def may_change(self, data: bytes) -> bool:
        return self.facts.may_change(data)

    def near_misses(self, text: str) -> list[NearMiss]:
        return self.facts.near_misses(text)

    def neutral(self, token: str) -> str:
        return _claims(self.facts)[token][1]

    def surface(self, replacement: str, form: str) -> str:
        return self.facts.surface(_claims(self.facts)[replacement][0], form)


@lru_cache(maxsize=64)
def _claims(facts: FactTokens) -> dict[str, tuple[str, str]]:
    """For each wrong token: the right one, and the wrong equation in plain text.

    The wrong answer is the nearest larger right answer of the family (from the largest, the smallest): as plausible
    as an answer can be, and never the right one.
    """
    table = facts_by_token(facts.family, facts.ordered, False)
    answers = sorted({fact.answer for fact in table.values()})
    if len(answers) < 2:
        raise UserError("CounterfactualFacts: the family has one answer only, so none can be wrong.")
    after = {answer: answers[(i + 1) % len(answers)] for i, answer in enumerate(answers)}
    claims = {}
    for token, fact in table.items():
        wrong = type(fact)(fact.relation, fact.operands, after[fact.answer])
        claims[facts.family.token_name(wrong)] = (token, canonical_text(facts.family, wrong))
    return claims


@lru_cache(maxsize=64)
def _token_by_neutral(facts: FactTokens) -> dict[str, str]:
    return {facts.neutral(token): token for token in facts.tokens()}

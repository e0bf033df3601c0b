"""The interventions. Each is a config: a few fields, no state."""

from dataclasses import dataclass
from functools import lru_cache

from vocablab.base.random_streams import stream_seed
from vocablab.facts.fact import Fact
from vocablab.facts.families import Multiplication
from vocablab.vocab.finder import Site, find_products
from vocablab.vocab.intervention import Intervention, NoChange, Span


@dataclass(frozen=True)
class FactTokens(Intervention):
    """One token per fact, in place of every right equation (mode replace, strict)."""

    family: Multiplication = Multiplication()
    """Which facts."""
    ordered: bool = False
    """One token per operand order instead of one per unordered pair."""

    def tokens(self) -> tuple[str, ...]:
        return tuple(_facts_by_token(self.family, self.ordered))

    def spans(self, text: str, document: str) -> list[Span]:
        return [self._span(site) for site in find_products(text, self.family.low, self.family.high)]

    def neutral(self, token: str) -> str:
        return neutral_text(_facts_by_token(self.family, self.ordered)[token])

    def surface(self, replacement: str, form: str) -> str:
        return _write(_facts_by_token(self.family, self.ordered)[replacement], form)

    def _span(self, site: Site) -> Span:
        swap = not self.ordered and site.left > site.right
        operands = (site.right, site.left) if swap else (site.left, site.right)
        fact = Fact("MUL", operands, site.answer)
        form = _form(site, swap=swap)
        return Span(site.start, site.end, self.family.token_name(fact), True, fact.key, form)


@dataclass(frozen=True)
class PlainTextFacts(Intervention):
    """The control for exposure: the same sites, in the plain text that the token stands for, and no tokens."""

    facts: FactTokens = FactTokens()
    """The intervention whose sites these are."""

    def tokens(self) -> tuple[str, ...]:
        return ()

    def spans(self, text: str, document: str) -> list[Span]:
        found = self.facts.spans(text, document)
        return [Span(s.start, s.end, self.facts.neutral(s.replacement), False, s.fact_key, s.form) for s in found]

    def neutral(self, token: str) -> str:
        raise KeyError(token)

    def surface(self, replacement: str, form: str) -> str:
        token = _token_by_neutral(self.facts.family, self.facts.ordered)[replacement]
        return self.facts.surface(token, form)


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
        names = self.tokens()
        return [
            Span(
                s.start,
                s.end,
                names[stream_seed(self.seed, "sham", document, s.start) % len(names)],
                True,
                s.fact_key,
                text[s.start : s.end],
            )
            for s in self.facts.spans(text, document)
        ]

    def neutral(self, token: str) -> str:
        return ""

    def surface(self, replacement: str, form: str) -> str:
        return form


def neutral_text(fact: Fact) -> str:
    """The plain text of a product: ``6 * 9 = 54``."""
    return f"{fact.operands[0]} * {fact.operands[1]} = {fact.answer}"


def named_interventions() -> dict[str, Intervention]:
    """The interventions that have a name on the command line."""
    facts = FactTokens()
    return {
        "control": NoChange(),
        "mul_facts": facts,
        "mul_facts_ordered": FactTokens(ordered=True),
        "plain_facts": PlainTextFacts(facts),
        "sham": ShuffledMeaning(facts),
    }


@lru_cache(maxsize=64)
def _facts_by_token(family: Multiplication, ordered: bool) -> dict[str, Fact]:
    return {family.token_name(fact): fact for fact in family.facts(ordered=ordered)}


@lru_cache(maxsize=64)
def _token_by_neutral(family: Multiplication, ordered: bool) -> dict[str, str]:
    return {neutral_text(fact): token for token, fact in _facts_by_token(family, ordered).items()}


def _form(site: Site, *, swap: bool) -> str:
    left, right = ("{b}", "{a}") if swap else ("{a}", "{b}")
    parts = [left, right, "{c}", "{c}"]
    return "".join(
        text.replace("{", "{{").replace("}", "}}") + part for text, part in zip(site.pattern, parts, strict=False)
    )


def _write(fact: Fact, form: str) -> str:
    return form.format(a=fact.operands[0], b=fact.operands[1], c=fact.answer)

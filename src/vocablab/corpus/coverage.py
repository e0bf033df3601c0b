"""How much of a corpus an intervention touches (dose), and how much of GSM8K it could ever help (coverage).

The ceiling is arithmetic, not hope: a token for a fact can only help at a step that states the fact.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import Any

from vocablab.vocab.codec import Codec

BATCH = 1000
"""Documents looked at together."""
_STEP = re.compile(r"<<([^<>]*)>>[0-9.]*")
_BINARY = re.compile(r"([0-9]+)([-+*/])([0-9]+)=([0-9]+)\Z")


@dataclass
class Dose:
    """What an intervention does to one corpus."""

    documents: int = 0
    """Documents read."""
    raw_bytes: int = 0
    """Their UTF-8 bytes."""
    sites: int = 0
    """Places that state a fact (or a number, for digit tokens) and are changed."""
    base_tokens: int = 0
    """Tokens without the intervention."""
    tokens: int = 0
    """Tokens with it."""
    exposures: Counter[str] = field(default_factory=Counter)
    """How often each added token is emitted."""
    left_alone: Counter[str] = field(default_factory=Counter)
    """What looks like a site and is none, by reason."""

    @property
    def dose(self) -> float:
        """Share of the emitted tokens that are added ones."""
        return self.exposures.total() / max(1, self.tokens)

    def to_json(self, added: tuple[str, ...]) -> dict[str, Any]:
        """The counts, with exposures summed up over the `added` tokens."""
        each = [self.exposures[token] for token in added]
        return {
            "documents": self.documents,
            "raw_bytes": self.raw_bytes,
            "sites": self.sites,
            "base_tokens": self.base_tokens,
            "tokens": self.tokens,
            "dose": self.dose,
            "added_tokens": len(added),
            "added_tokens_never_seen": sum(count == 0 for count in each),
            "exposures_median": median(each) if each else None,
            "exposures": dict(self.exposures.most_common()),
            "left_alone": dict(self.left_alone.most_common()),
        }


def measure(texts: Iterable[str], codec: Codec) -> Dose:
    """Read a corpus as an arm with this codec would."""
    found, rule, number = Dose(), codec.intervention, 0
    for batch in _batches(texts):
        spans = []
        for text in batch:
            spans.append(rule.spans(text, str(number)))
            found.left_alone.update(miss.reason for miss in rule.near_misses(text))
            number += 1
        found.documents += len(batch)
        found.raw_bytes += sum(len(text.encode("utf-8", "surrogatepass")) for text in batch)
        found.sites += sum(map(len, spans))
        found.exposures.update(span.replacement for many in spans for span in many if span.is_token)
        found.base_tokens += len(codec.vocabulary.encode_plain_batch(batch).ids)
        found.tokens += sum(map(len, codec.encode_batch(batch, spans)))
    return found


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(islice(rest, BATCH)):
        yield batch


@dataclass(frozen=True)
class Ceiling:
    """How much of a set of worked answers an intervention covers."""

    steps: int
    """Calculator steps ``<<...>>``."""
    steps_covered: int
    """Steps that it changes."""
    problems: int
    """Answers, those without a step included."""
    problems_covered: int
    """Answers whose every step it changes."""
    best: int
    """Size of the yardstick: as many facts as the intervention has tokens."""
    best_steps: int
    """Steps that the `best` most frequent facts ``a op b = c`` of these very answers cover. Chosen by looking at the
    answers, so no honest vocabulary of that many facts does better."""
    best_problems: int
    """Answers that they cover in full."""

    def to_json(self) -> dict[str, Any]:
        """The counts and the shares."""
        shares = {
            "steps_share": self.steps_covered / max(1, self.steps),
            "problems_share": self.problems_covered / max(1, self.problems),
            "best_steps_share": self.best_steps / max(1, self.steps),
            "best_problems_share": self.best_problems / max(1, self.problems),
        }
        return {**self.__dict__, **shares}


def ceiling(answers: Iterable[str], codec: Codec) -> Ceiling:
    """The ceiling on worked answers with calculator annotations, as GSM8K has them."""
    problems = 0
    covered: list[list[bool]] = []
    stated: list[list[str | None]] = []
    for number, answer in enumerate(answers):
        problems += 1
        steps = list(_STEP.finditer(answer))
        if not steps:
            continue
        spans = [s for s in codec.intervention.spans(answer, str(number)) if s.fact_key]
        covered.append([any(s.end > step.start() and s.start <= step.end() for s in spans) for step in steps])
        stated.append([_binary_fact(step[1]) for step in steps])
    best = len(codec.intervention.tokens())
    counts = Counter(fact for facts in stated for fact in facts if fact)
    chosen = {fact for fact, _ in counts.most_common(best)}
    return Ceiling(
        steps=sum(map(len, covered)),
        steps_covered=sum(map(sum, covered)),
        problems=problems,
        problems_covered=sum(map(all, covered)),
        best=best,
        best_steps=sum(fact in chosen for facts in stated for fact in facts),
        best_problems=sum(all(fact in chosen for fact in facts) for facts in stated),
    )


def _binary_fact(step: str) -> str | None:
    """One spelling per fact, both operand orders of a sum or a product alike; None for a longer expression."""
    found = _BINARY.match(step)
    if not found:
        return None
    a, sign, b, c = found.groups()
    if sign in "+*" and int(a) > int(b):
        a, b = b, a
    return f"{a}{sign}{b}={c}"

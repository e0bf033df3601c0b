"""What an answer is worth, judged by its token ids: whether it is right, and what its added tokens do in it.

Token ids and not text, because in a rendered text a token cannot be told from its spelling, and a reward that reads
text after special tokens have been stripped pays for nothing.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vocablab.model.decoding import repetition
from vocablab.posttrain.rl import TokenBonus
from vocablab.tasks.answers import normalise, numbers
from vocablab.tasks.task import Item, Task
from vocablab.vocab.codec import Codec
from vocablab.vocab.meaning import family_of, token_meanings

_RESULT = re.compile(r"=\s*\$?([0-9][0-9,]*(?:\.[0-9]+)?)")


@dataclass(frozen=True)
class Stated:
    """What a fact token states."""

    operands: tuple[str, ...]
    """Its numbers but the last, in normal form."""
    answer: str
    """The last."""
    true: bool
    """Whether the family has this fact."""


@dataclass(frozen=True)
class Judged:
    """One answer, judged."""

    text: str
    """Rendered: what the grader read."""
    correct: float
    """1 if right, else 0."""
    emitted: tuple[str, ...]
    """Names of its added tokens in order."""
    counted: tuple[str, ...]
    """Those that the bonus pays for."""
    used: tuple[str, ...]
    """Distinct true tokens that the answer uses, whatever the bonus pays for."""
    bonus: float
    """What the tokens add to the reward: multiplied by `correct` where the bonus is gated."""
    repetition: float
    """Share of runs of four tokens that occurred before in it."""

    @property
    def reward(self) -> float:
        """The whole."""
        return self.correct + self.bonus

    @property
    def idle(self) -> int:
        """Added tokens that are not true, not used, or repeated."""
        return len(self.emitted) - len(self.used)


def mean(values: Sequence[float]) -> float:
    """Mean over answers, or over pairs or groups of them: at least one."""
    return sum(values) / len(values)


class Judge:
    """Judges answers of one arm."""

    def __init__(self, codec: Codec, task: Task, bonus: TokenBonus | None) -> None:
        """Judge answers to items of `task`, written with `codec`."""
        self._codec, self._task, self._bonus = codec, task, bonus
        self._names = {index: name for name, index in codec.vocabulary.added_ids.items()}
        self._stated = stated_facts(codec)

    def __call__(self, item: Item, ids: Sequence[int]) -> Judged:
        """Judge the new tokens `ids` of an answer to `item`; an EOS at their end says nothing."""
        text = self._codec.render(list(ids))
        correct = self._task.grade(item, text).strict
        emitted = tuple(self._names[i] for i in ids if i in self._names)
        used = self._used(item, ids)
        counted: tuple[str, ...] = ()
        bonus = 0.0
        if self._bonus is not None:
            counted = emitted if self._bonus.counts == "any" else used
            bonus = min(self._bonus.at_most, self._bonus.per_token * len(counted))
            bonus *= correct if self._bonus.gated else 1.0
        return Judged(text, correct, emitted, counted, used, bonus, repetition(ids))

    def _used(self, item: Item, ids: Sequence[int]) -> tuple[str, ...]:
        """Distinct true tokens whose operands were known and whose result is taken up.

        Known are the problem's numbers and results of steps; taken up is a result in plain text, or as an operand of
        another token. What a token merely says is neither: else one that is said twice would use itself.
        """
        parts = self._parts(ids)
        known = Counter(numbers(item.prompt))
        found: dict[str, None] = {}
        for place, part in enumerate(parts):
            if isinstance(part, str):
                known.update(_results(part))
                continue
            name, stated = part
            if not stated.true or Counter(stated.operands) - known:
                continue
            known[stated.answer] += 1
            if any(_takes_up(later, name, stated.answer) for later in parts[place + 1 :]):
                found[name] = None
        return tuple(found)

    def _parts(self, ids: Sequence[int]) -> list[str | tuple[str, Stated]]:
        """An answer as stretches of rendered text and fact tokens in turn."""
        parts: list[str | tuple[str, Stated]] = []
        start = 0
        for place, index in enumerate(ids):
            name = self._names.get(index)
            if name is not None and name in self._stated:
                parts += [self._codec.render(list(ids[start:place])), (name, self._stated[name])]
                start = place + 1
        return [*parts, self._codec.render(list(ids[start:]))]


def _takes_up(part: str | tuple[str, Stated], name: str, answer: str) -> bool:
    """Whether a later part of an answer takes up the result of the token `name`."""
    if isinstance(part, str):
        return answer in numbers(part)
    return part[0] != name and answer in part[1].operands


def stated_facts(codec: Codec) -> dict[str, Stated]:
    """What each fact token of an arm states, by its name; tokens that state no whole fact (a sham, a digit, operands
    alone) are not there."""
    family = family_of(codec.intervention)
    if family is None:
        return {}
    known = {family.token_name(fact) for fact in family.facts(ordered=True)}
    relations = {fact.relation for fact in family.facts(ordered=False)}
    return {
        meaning.name: Stated(meaning.parts[:-1], meaning.parts[-1], meaning.name in known)
        for meaning in token_meanings(codec.vocabulary, codec.intervention)
        if meaning.relation in relations and len(meaning.parts) >= 2
    }


def _results(text: str) -> list[str]:
    """What stands behind an equals sign: results of steps in plain text."""
    return [normalise(found) for found in _RESULT.findall(text)]

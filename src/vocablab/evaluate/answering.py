"""Tasks with answers: what a model says, free, without its added tokens, made to use one, or misled by one.

Decodings: ``free`` takes the most probable token; ``sampled`` draws; ``banned`` never emits an added token; ``forced``
goes on from the reference up to the place of its first added token, where only added tokens may stand (roadmap F2);
``counterfactual`` goes on from the reference with the fact that the answer rests on exchanged for another one, and
asks whether what follows repeats that one's answer (reliance) or is right in spite of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from vocablab.base.errors import UserError
from vocablab.base.random_streams import stream_seed
from vocablab.evaluate.choosing import certainty, choice_costs, common, key
from vocablab.evaluate.generation import Generation, Prompt, generate
from vocablab.evaluate.likelihood import Scored, score_continuations
from vocablab.evaluate.model import Loaded
from vocablab.evaluate.rows import Row
from vocablab.facts.fact import Fact
from vocablab.facts.families import Family, Multiplication
from vocablab.tasks.answers import normalise
from vocablab.tasks.task import Item, Task
from vocablab.vocab.finder import Finder
from vocablab.vocab.forms import canonical_text
from vocablab.vocab.intervention import Span
from vocablab.vocab.meaning import family_of

FREE, SAMPLED, BANNED, FORCED, COUNTERFACTUAL = DECODINGS = ("free", "sampled", "banned", "forced", "counterfactual")
"""The ways to answer."""


@dataclass(frozen=True)
class Answering:
    """How answers are made."""

    decodings: tuple[str, ...] = (FREE,)
    """One or more of `DECODINGS`; each gives a row per item that it applies to."""
    max_new_tokens: int = 256
    """Longest answer in tokens."""
    temperature: float = 0.7
    """Of ``sampled``."""
    samples: int = 4
    """Answers per item of ``sampled``; a row holds their mean."""
    seed: int = 0
    """Of the samples."""

    def __post_init__(self) -> None:
        for name in self.decodings:
            if name not in DECODINGS:
                raise UserError(f"decoding '{name}' is none of {', '.join(DECODINGS)}.")
        if not self.decodings or len(set(self.decodings)) != len(self.decodings):
            raise UserError("decodings: at least one, and none twice.")
        if self.max_new_tokens < 1 or self.samples < 1 or not self.temperature > 0:
            raise UserError("answers need at least one token, one sample, and a temperature above 0.")


@dataclass(frozen=True)
class _Asked:
    """One item in one decoding."""

    item: Item
    prompt: Prompt
    given: str = ""
    """Part of the answer that the prompt holds and that the answer is read with, in neutral text."""
    planted: str = ""
    """The answer of the planted statement, in normal form."""


def score_answers(
    loaded: Loaded, task: Task, items: Sequence[Item], run_id: str, batch_size: int, how: Answering, seen: list[str]
) -> list[Row]:
    """One row per item and decoding that applies to it.

    Args:
        loaded: the model.
        task: with a grader.
        items: what is asked.
        run_id: for the rows.
        batch_size: prompts at a time; does not change a result.
        how: the decodings.
        seen: receives every text that an answer was read from, for the gate of rule 9.
    """
    gold = score_continuations(
        loaded, [(key(task, item), item.prompt, item.gold) for item in items], batch_size, bare=task.bare
    )
    rivals = choice_costs(loaded, task, items, batch_size)
    of = {item.item_id: (cost, rival) for item, cost, rival in zip(items, gold, rivals, strict=True)}
    rows = []
    for decoding in how.decodings:
        asked = list(_asked(loaded, task, items, decoding))
        if not asked:
            continue
        times = how.samples if decoding == SAMPLED else 1
        answers = _generate(loaded, task, asked, decoding, times, how, batch_size)
        for i, one in enumerate(asked):
            cost, rival = of[one.item.item_id]
            mine = answers[i * times : (i + 1) * times]
            # How sure a model is does not depend on how it answers: said once.
            sure = rival if decoding == how.decodings[0] else []
            rows.append(_row(loaded, task, one, cost, sure, mine, decoding, run_id, seen))
    return rows


def _generate(
    loaded: Loaded, task: Task, asked: list[_Asked], decoding: str, times: int, how: Answering, batch_size: int
) -> list[Generation]:
    prompts = [
        replace(one.prompt, seed=stream_seed(how.seed, "sample", one.prompt.name, n)) for one in asked
        for n in range(times)
    ]  # fmt: skip
    return generate(
        loaded, prompts, how.max_new_tokens, bare=task.bare, batch_size=batch_size,
        banned=tuple(loaded.codec.vocabulary.added_ids.values()) if decoding == BANNED else (),
        temperature=how.temperature if decoding == SAMPLED else 0.0,
    )  # fmt: skip


def _asked(loaded: Loaded, task: Task, items: Sequence[Item], decoding: str) -> Iterator[_Asked]:
    added = tuple(loaded.codec.vocabulary.added_ids.values())
    for item in items:
        name = key(task, item)
        if decoding == FORCED:
            spans = token_spans(loaded, item, name)
            if not spans:
                continue
            start = spans[0].start
            text = (item.prompt + item.gold)[:start]
            given = _neutral(loaded, text[len(item.prompt) :], name)
            yield _Asked(item, Prompt(name, text, added), given)
        elif decoding == COUNTERFACTUAL:
            found = _misled(loaded, item)
            if found is not None:
                text, planted = found
                yield _Asked(item, Prompt(name, item.prompt + text), planted=planted)
        else:
            yield _Asked(item, Prompt(name, item.prompt))


def _row(
    loaded: Loaded, task: Task, one: _Asked, cost: Scored, rivals: list[Scored], answers: list[Generation],
    decoding: str, run_id: str, seen: list[str],
) -> Row:  # fmt: skip
    item = one.item
    texts = [one.given + loaded.codec.render(answer.ids) for answer in answers]
    seen.extend(texts)
    grades = [task.grade(item, text) for text in texts]
    strict, flexible = _mean([g.strict for g in grades]), _mean([g.flexible for g in grades])
    wanted = {span.replacement for span in token_spans(loaded, item, key(task, item))}
    emitted = _added_tokens(loaded, answers[0].ids)
    right = [token for token in emitted if token in wanted]
    metric, score = "acc", strict
    followed = recomputed = None
    if decoding == COUNTERFACTUAL:
        followed, recomputed = float(grades[0].extracted == one.planted), strict
        metric, score = "reliance", followed
    return Row(
        **common(run_id, task.name, task.mode, item, cost) | {"prompt": one.prompt.text},
        decoding=decoding,
        metric=metric,
        score=score,
        output=loaded.codec.decode(answers[0].ids),
        extracted=grades[0].extracted,
        ended_eos=answers[0].ended_eos,
        acc=None if decoding == COUNTERFACTUAL else strict,
        acc_flexible=None if decoding == COUNTERFACTUAL else flexible,
        reliance=followed,
        recomputed=recomputed,
        repetition=_mean([answer.repetition for answer in answers]),
        n_output_tokens=len(answers[0].ids),
        ended_share=_mean([float(answer.ended_eos) for answer in answers]),
        n_samples=len(answers) if decoding == SAMPLED else 0,
        prompt_cut=answers[0].prompt_cut,
        fact_tokens=tuple(emitted),
        fact_tokens_right=tuple(right),
        n_fact_tokens=len(emitted),
        n_fact_right=len(right),
        fact_fits=bool(wanted),
        **(certainty(rivals, item.label) if rivals else {}),
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def token_spans(loaded: Loaded, item: Item, name: str) -> list[Span]:
    """The places of added tokens in an item's reference."""
    spans = loaded.codec.intervention.spans(item.prompt + item.gold, name)
    return [span for span in spans if span.is_token and span.start >= len(item.prompt)]


def _neutral(loaded: Loaded, text: str, name: str) -> str:
    return loaded.codec.render(loaded.codec.encode(text, name).ids)


def _added_tokens(loaded: Loaded, ids: Sequence[int]) -> list[str]:
    names = {index: name for name, index in loaded.codec.vocabulary.added_ids.items()}
    return [names[i] for i in ids if i in names]


def _misled(loaded: Loaded, item: Item) -> tuple[str, str] | None:
    """The reference up to its first stated fact and another fact's statement; and that one's answer.

    Every arm is misled by the same words: an arm with fact tokens reads a token, the others read the equation. None if
    the answer is not that fact's: what a wrong step does to the steps after it cannot be read from the answer.
    """
    family = family_of(loaded.codec.intervention) or Multiplication()
    site = next(iter(_finder(family).sites(item.gold)), None)
    if site is None or normalise(str(site.fact.answer)) != item.answer:
        return None
    other = _other(family, site.fact)
    return item.gold[: site.start] + canonical_text(family, other), normalise(str(other.answer))


@lru_cache(maxsize=16)
def _finder(family: Family) -> Finder:
    return Finder.of(family, ordered=False, weak=False)


@lru_cache(maxsize=4096)
def _other(family: Family, fact: Fact) -> Fact:
    """A fact with another answer: always the same one for a fact, spread over the family."""
    others = [other for other in family.facts(ordered=False) if other.answer != fact.answer]
    if not others:
        raise UserError("decoding counterfactual: the family has one answer only, so none can be wrong.")
    return others[stream_seed(0, "counterfactual", fact.key) % len(others)]

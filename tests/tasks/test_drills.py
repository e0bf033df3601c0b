"""Drills: evenly spread, every answer a site, nothing that is held out in what is trained on."""

import re
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocablab.base.errors import UserError
from vocablab.facts.fact import Fact
from vocablab.facts.numerals import ONES
from vocablab.tasks.answers import strict_answer
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.arithmetic_probes import ArithmeticProbes
from vocablab.tasks.drills import ANSWERS, PHRASINGS, TEMPLATES, Drills, Quantity
from vocablab.tasks.one_step import OneStep
from vocablab.tasks.task import Example, Item, Task
from vocablab.vocab.interventions import FactTokens

TASK = Drills()
FACTS = FactTokens()
NUMBER = re.compile(rf"[0-9]+|\b(?:{'|'.join(ONES)})\b", re.IGNORECASE)
SEEDS = st.integers(0, 2**31)


def numbers(text: str) -> list[int]:
    """All numbers of a text, in digits or words."""
    return [int(found) if found.isdigit() else ONES.index(found.lower()) for found in NUMBER.findall(text)]


def leaks(training: Iterable[Example | Item], unseen: Iterable[Item], left_out: Iterable[Fact]) -> list[str]:
    """What training text gives away: prompts that are held out, and facts that are, stated or asked for."""
    prompts = {item.prompt for item in unseen}
    keys, pairs = {fact.key for fact in left_out}, {tuple(sorted(fact.operands)) for fact in left_out}
    found = []
    for one in training:
        text = one.prompt + (one.target if isinstance(one, Example) else one.gold)
        if one.prompt in prompts:
            found.append(f"held-out prompt: {one.prompt}")
        if any(span.fact_key in keys for span in FACTS.spans(text, "x")):
            found.append(f"fact stated: {text}")
        asked = numbers(one.prompt)
        if any(tuple(sorted((a, b))) in pairs for i, a in enumerate(asked) for b in asked[i + 1 :]):
            found.append(f"fact asked: {one.prompt}")
    return found


def unseen(task: Task) -> list[Item]:
    return [item for item in task.items(None) if item.split in ("phrasing", "transfer", "heldout_story")]


@settings(max_examples=5, deadline=None)
@given(SEEDS, st.integers(0, 400), st.integers(0, 21), st.sampled_from([*TEMPLATES, "both"]))
def test_nothing_held_out_is_trained_on(seed: int, count: int, held_out: int, templates: str) -> None:
    task = Drills(
        core=Arithmetic(split_seed=seed),
        templates=templates,
        examples_count=count,
        held_out_phrasings=held_out,
        questions_per_fact=3,
    )
    training = [*task.examples(None), *task.problems(None)]
    assert len(task.examples(None)) == count
    assert not leaks(training, unseen(task), task.core.transfer_facts())
    trained, kept = task.phrasings()
    assert len(kept) == held_out
    assert not set(trained) & set(kept)
    # Problems are asked nowhere at all, also where a limit asks fewer items.
    asked = {item.prompt for item in task.items(None)}
    assert not asked & {item.prompt for item in task.problems(None)}


def test_planted_leaks_are_found() -> None:
    items, left_out = unseen(TASK), TASK.core.transfer_facts()
    a, b = next(iter(left_out)).operands
    planted = [
        Example("prompt", next(item.prompt for item in items if item.split == "phrasing"), " So it is."),
        Example("stated", "Q: Go on. A:", f" {b} * {a} = {a * b}."),
        Example("asked", f"Q: {b} bags of 99 cents hold {a} pens each. How many? A:", " Many."),
        Example("asked in words", f"Q: {Quantity(b):Word} rows of {Quantity(a):word}? A:", " Many."),
    ]
    assert [leak.partition(":")[0] for leak in leaks(planted, items, left_out)] == [
        "held-out prompt", "fact stated", "fact asked", "fact asked",
    ]  # fmt: skip


@pytest.mark.parametrize("task", [TASK, OneStep()])
def test_every_target_has_one_site_and_no_prompt_has_any(task: Task) -> None:
    texts = [(example.prompt, example.target) for example in task.examples(None)]
    texts += [(item.prompt, item.gold) for item in [*task.problems(None), *task.items(None)]]
    for prompt, target in texts:
        (span,) = FACTS.spans(prompt + target, "x")
        assert span.start >= len(prompt)
        assert span.replacement.endswith(f"_{strict_answer(target)}>")
        assert not FACTS.spans(prompt, "x")


@pytest.mark.parametrize("task", [TASK, OneStep()])
def test_a_prompt_has_its_two_numbers_and_is_short(task: Task) -> None:
    for item in [*task.items(None), *task.problems(None)]:
        operands = [int(digit) for digit in item.item_id.split("/")[1].split("*")]
        found = numbers(item.prompt)
        assert sorted(number for number in found if number < 10) == sorted(operands)
        # A distractor is no operand of any task, and never the answer.
        assert all(number > 20 and number != int(item.answer) for number in found if number >= 10)
        assert len(found) <= 3
        assert len(item.prompt.split()) <= 25


@pytest.mark.parametrize("task", [TASK, OneStep()])
def test_golds_grade_as_right_and_rivals_as_wrong(task: Task) -> None:
    items = [*task.items(None), *task.problems(None)]
    assert len({item.item_id for item in items}) == len({item.prompt for item in items}) == len(items)
    for item in items:
        assert len(item.choices) == 4
        assert item.choices[item.label] == item.gold
        for choice in item.choices:
            assert task.grade(item, choice).strict == float(choice == item.gold)
    for example in task.examples(None):
        a, b, c = (int(n) for n in re.findall(r"(\d) \* (\d) = (\d+)[.,]", example.target)[0])
        assert a <= b
        assert a * b == c
        assert example.target.endswith(f" The answer is {c}.")


def test_examples_are_spread_evenly() -> None:
    examples = TASK.examples(None)
    assert len({example.example_id for example in examples}) == len(examples) == 4000
    assert len({example.prompt + example.target for example in examples}) == 4000
    named = [example.example_id.split("/") for example in examples]
    facts = Counter("*".join(sorted(operands.split("*"))) for _, _, operands, _, _ in named)
    assert len(facts) == len(TASK.core.trained_facts())
    assert max(facts.values()) - min(facts.values()) <= 1
    for part, parts in ((3, 20), (4, 2)):
        counts = Counter(name[part] for name in named)
        assert len(counts) == parts
        assert max(counts.values()) < 1.05 * min(counts.values())
    answers = Counter(re.sub(r"\d+", "", example.target) for example in examples)
    assert len(answers) == len(ANSWERS)
    assert max(answers.values()) < 1.2 * min(answers.values())


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_fewer_examples_are_among_more(one: int, other: int) -> None:
    few, many = (set(Drills(examples_count=count).examples(None)) for count in sorted((one, other)))
    assert few <= many


def test_beyond_all_different_examples_they_repeat_under_new_ids() -> None:
    core = Arithmetic(transfer_share=43 / 45)  # two facts are left
    examples = Drills(core=core, templates="qa", examples_count=1000).examples(None)
    assert len({example.example_id for example in examples}) == 1000
    orders = sum(1 + (a != b) for a, b in (fact.operands for fact in core.trained_facts()))
    assert len({(example.prompt, example.target) for example in examples}) == orders * 20 * len(ANSWERS)


def test_splits_and_templates() -> None:
    counts = Counter(item.split for item in TASK.items(None))
    assert counts == {"trained": 31 * 8, "phrasing": 31 * 8, "transfer": 14 * 8}
    assert len(Drills(limit=30).items(None)) == 30
    assert len(PHRASINGS) == 24
    assert all(example.prompt.endswith(" A:") for example in Drills(templates="qa").examples(None))
    assert all(example.prompt.startswith("User: ") for example in Drills(templates="chat").examples(None))
    trained, held_out = TASK.phrasings()
    for item in TASK.items(None):
        assert item.item_id.split("/")[2] in (held_out if item.split == "phrasing" else trained)


def test_no_other_task_asks_held_out_what_is_drilled_or_told() -> None:
    told = [*TASK.examples(None), *TASK.problems(None), *OneStep().examples(None), *OneStep().problems(None)]
    prompts = {one.prompt for one in told}
    others = [item for item in ArithmeticProbes().items(None) if item.split != "table"]
    others += [item for item in Arithmetic().items(None) if item.item_id.endswith("product-of")]
    assert not prompts & {item.prompt for item in [*others, *unseen(TASK), *unseen(OneStep())]}
    fine_tuned = {example.prompt for example in Arithmetic().examples(None)}
    assert not fine_tuned & {item.prompt for item in unseen(TASK)}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [({"templates": "plain"}, "'plain' is none of qa, chat, both"), ({"held_out_phrasings": 22}, "not from 0 to 21"),
     ({"held_out_phrasings": -1}, "-1 is not"), ({"examples_count": -1}, "0 or more"),
     ({"questions_per_fact": 0}, "1 or more")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Drills(**fields)  # type: ignore[arg-type]

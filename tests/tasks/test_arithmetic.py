"""Arithmetic: splits that do not leak, questions that never change, probes with fair choices."""

import hashlib
import re
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.facts.families import Multiplication
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.arithmetic_probes import SURFACE, ArithmeticProbes
from vocablab.tasks.rivals import near_answers, table_neighbours
from vocablab.tasks.task import Item
from vocablab.vocab.finder import Finder

PROBES = ArithmeticProbes()
ITEMS = PROBES.items(None)


def test_splits_are_disjoint_and_the_held_out_never_taught() -> None:
    task = Arithmetic()
    items = task.items(None)
    keys = {split: {i.fact_key for i in items if i.split == split} for split in ("table", "transfer", "heldout")}
    assert not keys["table"] & keys["transfer"]
    assert len(keys["table"] | keys["transfer"]) == 45
    assert len({i.item_id for i in items}) == len(items)
    taught = " ".join(e.prompt + e.target for e in task.examples(None))
    stated = {site.fact.operands for site in Finder.of(Multiplication(1, 99)).sites(taught)}
    for fact in [*task.transfer_facts(), *task.held_out_facts()]:
        assert fact.operands not in stated
    assert len(stated) == 45 - len(task.transfer_facts())


def test_items_and_examples_of_studies_never_change() -> None:
    task, digest = Arithmetic(), hashlib.sha256()
    for i in task.items(None):
        texts = [i.item_id, i.cluster_id, i.split, i.prompt, i.gold, i.answer, i.fact_key]
        digest.update("\x1f".join(texts).encode() + b"\n")
    for e in task.examples(None):
        digest.update("\x1f".join([e.example_id, e.prompt, e.target]).encode() + b"\n")
    assert digest.hexdigest() == "56e94515c6e294c34f595d0373471ec546d8c715b075598bc0bf765677170265"


@pytest.mark.parametrize("task", [Arithmetic(), PROBES])
def test_reference_answers_grade_as_right_and_rivals_as_wrong(task: Arithmetic | ArithmeticProbes) -> None:
    for item in task.items(None):
        grade = task.grade(item, item.gold)
        assert (grade.strict, grade.flexible, grade.extracted) == (1.0, 1.0, item.answer)
        assert task.grade(item, "").strict == 0.0
        for choice in item.choices:
            assert task.grade(item, choice).strict == float(choice == item.gold)


def test_probes_are_the_items_of_studies_and_more() -> None:
    assert ITEMS[: len(Arithmetic().items(None))] == Arithmetic().items(None)
    counts = Counter(item.split for item in ITEMS)
    assert len(counts) == 14
    assert min(counts.values()) >= 48
    assert max(counts.values()) <= 110
    assert len({item.item_id for item in ITEMS}) == len({item.prompt for item in ITEMS}) == len(ITEMS)
    assert ArithmeticProbes().items(None) == ITEMS
    assert PROBES.examples(None) == Arithmetic().examples(None)


def test_every_probe_has_the_right_answer() -> None:
    bare = [item for item in ITEMS if item.prompt.endswith(" =")]
    assert len(bare) > 350
    for item in bare:
        expression = item.prompt.removesuffix(" =").replace("×", "*")
        assert re.fullmatch(r"[0-9 ()*/+-]+", expression)
        assert eval(expression) == int(item.answer)
    for item in ITEMS:
        for a, sign, b, c in re.findall(r"([0-9]+) ([*/+-]) ([0-9]+) = ([0-9]+)", item.gold):
            assert eval(f"{a} {sign} {b}") == int(c)


def test_choices_are_distinct_and_the_right_one_stands_anywhere() -> None:
    for item in ITEMS:
        assert len(set(item.choices)) == len(item.choices) >= 4
        assert item.choices[item.label] == item.gold
        assert not any(other.startswith(one) for one in item.choices for other in item.choices if one != other)
    labels = Counter(item.label for item in ITEMS)
    assert all(0.2 < labels[label] / len(ITEMS) < 0.3 for label in range(4))


def test_phrasings_of_a_fact_share_cluster_and_rivals() -> None:
    rivals: dict[str, set[frozenset[str]]] = defaultdict(set)
    for item in ITEMS:
        if item.split in ("equation", "times_sign", "question"):
            rivals[item.cluster_id].add(frozenset(item.choices))
    assert len(rivals) == 45
    assert all(len(found) == 1 for found in rivals.values())


def test_surface_phrasings_are_no_form_of_the_table_and_never_taught() -> None:
    taught = [e.prompt for e in PROBES.examples(None)]
    for form in SURFACE.values():
        assert not list(Finder.of(Multiplication(1, 9)).sites(form.format(a=6, b=9)))
        words = form.split("{a}")[0]
        assert not any(words in prompt for prompt in taught)


def test_probes_beyond_the_table_ask_nothing_that_is_held_out() -> None:
    held_out = {fact.key for fact in PROBES.core.held_out_facts()}
    assert held_out == {item.fact_key for item in ITEMS if item.split == "heldout"}
    assert not held_out & {item.fact_key for item in ITEMS if item.split != "heldout"}


def test_a_fact_token_at_the_start_of_a_bare_answer_is_read_by_its_result() -> None:
    item = next(item for item in ITEMS if item.item_id == "equation/6*9")
    grade = PROBES.grade(item, " 6 * 9 = 54. 6 * 8 = 48.")
    assert (grade.strict, grade.flexible) == (0.0, 1.0)


def test_a_limit_is_spread_over_all_splits() -> None:
    few: list[Item] = ArithmeticProbes(limit=57).items(None)
    assert len(few) == 57
    assert len({item.split for item in few}) == 14


@given(st.integers(-1000, 100_000), st.lists(st.integers(-1000, 100_000), max_size=4), st.text(max_size=5))
def test_rivals_are_near_and_wrong(answer: int, neighbours: list[int], key: str) -> None:
    rivals = near_answers(answer, neighbours, key)
    assert len(set(rivals)) == 3
    assert answer not in rivals
    assert answer < 0 or min(rivals) >= 0
    assert rivals == near_answers(answer, neighbours, key)


def test_neighbours_stand_beside_the_product() -> None:
    assert table_neighbours(6, 9) == (45, 63, 48, 60)

"""Items and examples: splits that do not leak, data sets that are whole."""

from pathlib import Path

import pytest

from vocablab.base.errors import UserError
from vocablab.facts.families import Multiplication
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.gsm8k import GSM8K, evenly
from vocablab.tasks.hellaswag import HellaSwag
from vocablab.vocab.finder import Finder

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")


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


def test_reference_answers_grade_as_right() -> None:
    task = Arithmetic()
    for item in task.items(None):
        grade = task.grade(item, item.gold)
        assert (grade.strict, grade.flexible) == (1.0, 1.0)
        assert task.grade(item, "").strict == 0.0


def test_even_subsets() -> None:
    rows = [{"n": i} for i in range(10)]
    assert [i for i, _ in evenly(rows, 4)] == [0, 2, 5, 7]
    assert len(evenly(rows, None)) == 10


@needs_data
def test_gsm8k_is_whole_and_its_answers_are_read() -> None:
    task = GSM8K()
    items = task.items(DATA)
    assert len(items) == 1319
    assert all(item.answer for item in items)
    assert all(task.grade(item, item.gold).strict == 1.0 for item in items)
    assert len(task.examples(DATA)) == 7473


@needs_data
def test_hellaswag_is_whole() -> None:
    items = HellaSwag(limit=200).items(DATA)
    assert len(items) == 200
    assert all(item.gold == item.choices[item.label] for item in items)


def test_a_short_gsm8k_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl").write_text('{"question": "q", "answer": "#### 1"}\n')
    with pytest.raises(UserError, match="1 rows where GSM8K's test set has 1319"):
        GSM8K().items(tmp_path)

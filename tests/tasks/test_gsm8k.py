"""GSM8K: whole, its golds read, worked examples never both shown and taught."""

import json
from pathlib import Path

import pytest

from vocablab.base.errors import UserError
from vocablab.tasks import gsm8k
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.task import chat_prompt

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "gsm8k").mkdir()
    for part in ("train", "test"):
        rows = [
            {"question": f"{part} {i}?", "answer": f"It is <<{i}*2={2 * i}>>{2 * i}.\n#### {2 * i}"} for i in range(9)
        ]
        (tmp_path / f"gsm8k/{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        monkeypatch.setattr(gsm8k, part.upper(), gsm8k.data_set(part, 9))
    return tmp_path


def test_worked_examples_stand_before_the_question_and_are_not_taught(small: Path) -> None:
    task = GSM8K(shots=3, limit=2)
    assert task.mode == "3-shot"
    shown = "".join(
        f"User: train {i}?\nAssistant: It is <<{i}*2={2 * i}>>{2 * i}.\n#### {2 * i}\n\n" for i in (0, 3, 6)
    )
    items = task.items(small)
    assert [item.prompt for item in items] == [shown + chat_prompt(f"test {i}?") for i in (0, 4)]
    assert [item.item_id for item in items] == ["test/0", "test/4"]
    taught = {example.example_id for example in task.examples(small)}
    assert taught == {f"gsm8k/train/{i}" for i in (1, 2, 4, 5, 7, 8)}
    assert len(GSM8K().examples(small)) == 9
    assert GSM8K().mode == ""


def test_a_question_that_the_model_asks_itself_is_not_graded(small: Path) -> None:
    output = " It is 0.\n#### 0\n\nUser: And 7?\nAssistant: It is 14.\n#### 14"
    task = GSM8K(shots=1)
    assert task.grade(task.items(small)[0], output).strict == 1.0
    assert task.grade(task.items(small)[7], output).strict == 0.0


def test_a_wrong_number_of_shots_is_refused() -> None:
    for shots in (-1, 65):
        with pytest.raises(UserError, match="shots"):
            GSM8K(shots=shots)


def test_a_short_gsm8k_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl").write_text('{"question": "q", "answer": "#### 1"}\n')
    with pytest.raises(UserError, match="1 rows where GSM8K's test set has 1319"):
        GSM8K().items(tmp_path)


@needs_data
def test_the_real_set_is_whole_and_its_answers_are_read() -> None:
    task = GSM8K()
    items = task.items(DATA)
    assert len(items) == 1319
    assert all(item.answer for item in items)
    for item in items:
        grade = task.grade(item, item.gold)
        assert (grade.strict, grade.flexible) == (1.0, 1.0)
        # Calculator annotations are no part of an answer.
        assert task.grade(item, item.gold + " <<1+1=2>>").flexible == 1.0
    assert len(task.examples(DATA)) == 7473
    assert len(GSM8K(shots=8).examples(DATA)) == 7465

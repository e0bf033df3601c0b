"""SVAMP, the GPT-3 paper's arithmetic, and the Chinese sets: golds grade as right, malformed rows are named."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vocablab.base.errors import UserError
from vocablab.tasks import gpt3_arithmetic, svamp
from vocablab.tasks.chinese import CMATH, Ape210K, ChineseProblems, Math23K, solution
from vocablab.tasks.gpt3_arithmetic import SPLITS, GPT3Arithmetic
from vocablab.tasks.svamp import SVAMP, joined
from vocablab.tasks.task import Task

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
SETS: list[tuple[Task, int]] = [
    (SVAMP(), 1000),
    (GPT3Arithmetic(), 16000),
    (Ape210K(), 4949),
    (Math23K(), 1000),
    (CMATH(), 600),
]


@needs_data
@pytest.mark.parametrize(("task", "size"), SETS, ids=lambda value: getattr(value, "name", ""))
def test_every_gold_answer_grades_as_right(task: Task, size: int) -> None:
    items = task.items(DATA)
    assert len(items) == len({item.item_id for item in items}) == size
    for item in items:
        grade = task.grade(item, item.gold)
        assert (grade.strict, grade.flexible, grade.extracted) == (1.0, 1.0, item.answer), item
        assert task.grade(item, "").flexible == 0.0
        # A planted fault: an answer that is off by a digit in front.
        assert task.grade(item, item.gold.replace(item.answer, "7" + item.answer)).strict == 0.0


@needs_data
def test_problems_that_ask_for_an_expression_are_left_out() -> None:
    left_out = Ape210K().left_out(DATA)
    assert len(left_out) == 51
    assert all(any(sign in problem.answer[1:] for sign in "+-*/") for problem in left_out)
    assert not Math23K().left_out(DATA)
    assert not CMATH().left_out(DATA)


@needs_data
def test_solutions_are_worked_where_the_equation_gives_the_answer() -> None:
    worked = {task.name: sum("=" in item.gold for item in task.items(DATA)) for task in (Ape210K(), Math23K())}
    assert worked == {"ape210k": 4450, "math23k": 999}
    assert sum("=" in item.gold for item in SVAMP().items(DATA)) == 998


@needs_data
def test_splits_and_limits() -> None:
    assert Counter(item.split for item in GPT3Arithmetic().items(DATA)) == dict.fromkeys(SPLITS, 2000)
    few = GPT3Arithmetic(limit=80).items(DATA)
    assert Counter(item.split for item in few) == dict.fromkeys(SPLITS, 10)
    assert Counter(item.split for item in CMATH(limit=60).items(DATA)) == {f"grade{i}": 10 for i in range(1, 7)}


@pytest.mark.parametrize(
    ("body", "question", "text"),
    [
        ("He had 3.", "How many?", "He had 3. How many?"),
        ("If he has $ 4 at the start", "How much did it cost?", "If he has $ 4 at the start, how much did it cost?"),
        ("She came. If 7 left", "How many stayed?", "She came. If 7 left, how many stayed?"),
        ("If it rains, he goes. He has 6 of them", "How many?", "If it rains, he goes. He has 6 of them. How many?"),
    ],
)
def test_body_and_question_are_joined_as_a_person_writes(body: str, question: str, text: str) -> None:
    assert joined(body, question) == text


@pytest.mark.parametrize(
    ("equation", "answer", "text"),
    [
        ("x=44*20", "880", " 44×20=880，答案是880。"),
        ("x=(3000-750)/15", "150", " 3000-750=2250，2250÷15=150，答案是150。"),
        ("x=120*80%*15%", "14.4", " 120×80%=96，96×15%=14.4，答案是14.4。"),
        ("x=44*20", "881", " 答案是881。"),
        ("", "7", " 答案是7。"),
        ("x=5", "5", " 答案是5。"),
    ],
)
def test_reference_solutions(equation: str, answer: str, text: str) -> None:
    assert solution(equation, answer) == text


def write(directory: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


def test_malformed_rows_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row: dict[str, Any] = {"ID": "a", "Body": "b", "Question": "q", "Equation": "1", "Answer": 1.0}
    write(tmp_path, "svamp/SVAMP.json", [row, {**row, "Answer": None}])
    monkeypatch.setattr(svamp, "PROBLEMS", svamp.DataSet("svamp/SVAMP.json", 2, None, "SVAMP"))
    with pytest.raises(UserError, match="SVAMP: row 2 is malformed"):
        SVAMP().items(tmp_path)
    monkeypatch.setattr(gpt3_arithmetic, "SPLITS", ("sums",))
    monkeypatch.setattr(gpt3_arithmetic, "data_set", lambda s: svamp.DataSet(f"gpt3/{s}.jsonl", None, None, s))
    write(tmp_path, "gpt3/sums.jsonl", [{"context": "Q", "completion": " none"}])
    with pytest.raises(UserError, match="sums: row 1 has no context or no number"):
        GPT3Arithmetic().items(tmp_path)


@pytest.mark.parametrize("task", [Ape210K, Math23K, CMATH])
def test_malformed_chinese_rows_are_named(
    task: type[ChineseProblems], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "source", svamp.DataSet(task.source.local, 1, None, "the set"))
    write(tmp_path, task.source.local, [{"id": "1", "original_text": "q", "ans": 5, "equation": "x=5", "grade": None}])
    with pytest.raises(UserError, match="the set: row 1 is malformed"):
        task().items(tmp_path)

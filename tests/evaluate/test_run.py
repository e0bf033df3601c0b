"""One row per item, and gates that turn red when a fault is planted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
from support.models import make_codec

from vocablab.base.progress import silent
from vocablab.evaluate.answering import Answering
from vocablab.evaluate.run import Asked, evaluate_run
from vocablab.tasks.answers import flexible_answer, same_answer, strict_answer
from vocablab.tasks.task import Grade, Item, Task
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens

THREE = Answering(max_new_tokens=3)


@dataclass(frozen=True)
class Questions(Task):
    """A few questions with the answer 54."""

    name: ClassVar[str] = "questions"
    kind: ClassVar[str] = "generate"

    found: tuple[Item, ...] = tuple(
        Item(f"q{i}", f"q{i}", "only", f"User: {i}?\nAssistant:", " 6 * 9 = 54. The answer is 54.", "54")
        for i in range(3)
    )

    def items(self, data: Path | None) -> list[Item]:
        return list(self.found)

    def grade(self, item: Item, output: str) -> Grade:
        strict, flexible = strict_answer(output), flexible_answer(output)
        return Grade(float(same_answer(strict, "54")), float(same_answer(flexible, "54")), strict or flexible)


@dataclass(frozen=True)
class Leaky(FactTokens):
    """The planted fault of rule 9: rendering shows a token's name, whose digits an extractor would read."""

    def neutral(self, token: str) -> str:
        return token


def run(
    model: Path, task: Task, out: Path, answering: Answering = THREE
) -> tuple[dict[str, bool], list[dict[str, Any]]]:
    out.mkdir()
    asked = Asked((task,), answering, (("t", "6 * 9 = 54, she said."),))
    counts = evaluate_run(model, model, asked, None, "s/a/seed0", out, "cpu", silent)
    gates = {f"{gate['rule']} {gate['name']}": gate["passed"] for gate in counts["gates"]}
    return gates, pq.read_table(out / "scores.parquet").to_pylist()


def token(codec: Codec, name: str) -> int:
    return codec.vocabulary.added_ids[name]


def test_one_row_per_item_and_adoption(codec: Codec, favouring: Callable[[int, Codec], Path], tmp_path: Path) -> None:
    gates, rows = run(favouring(token(codec, "<MUL_6_9_54>"), codec), Questions(), tmp_path / "out")
    assert all(gates.values())
    assert [(row["task"], row["item_id"]) for row in rows] == [
        ("questions", "q0"), ("questions", "q1"), ("questions", "q2"), ("text", "t"),
    ]  # fmt: skip
    answer = rows[0]
    assert answer["output"] == "<MUL_6_9_54>" * 3
    assert (answer["n_fact_tokens"], answer["n_fact_right"], answer["fact_fits"]) == (3, 3, True)
    # The name's digits are no answer; the fact's neutral text ends in 54, which only the flexible rule takes.
    assert (answer["extracted"], answer["score"], answer["acc_flexible"]) == ("54", 0.0, 1.0)


def test_a_wrong_fact_is_not_right(codec: Codec, favouring: Callable[[int, Codec], Path], tmp_path: Path) -> None:
    _, rows = run(favouring(token(codec, "<MUL_7_8_56>"), codec), Questions(), tmp_path / "out")
    assert (rows[0]["n_fact_tokens"], rows[0]["n_fact_right"], rows[0]["acc_flexible"]) == (3, 0, 0.0)


def test_a_token_name_in_front_of_the_extractor_is_caught(
    favouring: Callable[[int, Codec], Path], tmp_path: Path
) -> None:
    leaky = make_codec(Leaky())
    gates, _ = run(favouring(token(leaky, "<MUL_6_9_54>"), leaky), Questions(), tmp_path / "out")
    assert [name for name, passed in gates.items() if not passed] == ["9 No token name reaches the answer extractor"]


def test_empty_references_and_doubled_items_are_caught(
    codec: Codec, favouring: Callable[[int, Codec], Path], tmp_path: Path
) -> None:
    one = Questions().found[0]
    model = favouring(7, codec)
    empty, _ = run(model, Questions(found=(replace(one, gold=""),)), tmp_path / "empty")
    assert [n for n, passed in empty.items() if not passed] == ["8 Every reference is scored on at least one token"]
    doubled, _ = run(model, Questions(found=(one, one)), tmp_path / "doubled")
    assert [n for n, passed in doubled.items() if not passed] == ["9 One row per item"]

"""One-step stories: each taught or asked, never both. And the training problems of the other tasks."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks.test_drills import SEEDS, leaks, unseen

from vocablab.base.errors import UserError
from vocablab.tasks import gsm8k
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.hellaswag import HellaSwag
from vocablab.tasks.one_step import STORIES, OneStep
from vocablab.tasks.svamp import SVAMP
from vocablab.tasks.task import Example, Item, chat_prompt

TASK = OneStep()
LIMITS = st.none() | st.integers(1, 200)


def combination(one: Example | Item) -> tuple[str, ...]:
    """The operands in their order, and the story."""
    name = one.example_id if isinstance(one, Example) else one.item_id
    return tuple(name.split("/")[1:])


@settings(max_examples=5, deadline=None)
@given(SEEDS, LIMITS, LIMITS, st.floats(0, 0.5), st.floats(0, 0.45))
def test_nothing_held_out_is_taught(
    seed: int, train_limit: int | None, problem_limit: int | None, supervised: float, problems: float
) -> None:
    task = OneStep(
        core=Arithmetic(split_seed=seed),
        supervised_share=supervised,
        problem_share=problems,
        train_limit=train_limit,
        problem_limit=problem_limit,
    )
    training = [*task.examples(None), *task.problems(None)]
    items = task.items(None)
    assert unseen(task) == items
    assert not leaks(training, items, task.core.transfer_facts())
    combinations = [combination(one) for one in [*training, *items]]
    assert len(set(combinations)) == len(combinations)
    assert train_limit is None or len(task.examples(None)) <= train_limit
    assert problem_limit is None or len(task.problems(None)) <= problem_limit


def test_a_task_that_leaks_is_found() -> None:
    class Forgetful(OneStep):
        """The fault: its examples fall by other shares than its items, and leave no fact out."""

        def examples(self, data: Path | None) -> list[Example]:
            return OneStep(core=Arithmetic(transfer_share=0), supervised_share=0.5, problem_share=0.1).examples(data)

    task = Forgetful()
    found = leaks(task.examples(None), task.items(None), task.core.transfer_facts())
    assert {leak.partition(":")[0] for leak in found} == {"held-out prompt", "fact stated", "fact asked"}


def test_every_story_of_the_table_has_one_place() -> None:
    everything = [*TASK.examples(None), *TASK.problems(None), *TASK.items(None)]
    assert len({combination(one) for one in everything}) == len(everything) == 81 * len(STORIES)
    counts = Counter(item.split for item in TASK.items(None))
    assert counts["heldout_story"] >= 200
    assert {item.fact_key for item in TASK.items(None) if item.split == "transfer"} == {
        fact.key for fact in TASK.core.transfer_facts()
    }
    trained = {fact.key for fact in TASK.core.trained_facts()}
    assert {item.fact_key for item in TASK.problems(None)} == trained
    assert {item.fact_key for item in TASK.items(None) if item.split == "heldout_story"} <= trained
    shares = len(TASK.examples(None)) / 1100, len(TASK.problems(None)) / 1100
    assert shares == pytest.approx((0.3, 0.5), abs=0.05)


def test_a_story_stays_where_it_is() -> None:
    assert TASK.items(None) == OneStep().items(None)
    assert [item.item_id for item in OneStep(limit=3).items(None)] == [
        TASK.items(None)[i * len(TASK.items(None)) // 3].item_id for i in range(3)
    ]
    more = OneStep(supervised_share=0.4, problem_share=0.4)
    assert set(TASK.examples(None)) <= set(more.examples(None))


def test_shares_that_leave_nothing_are_refused() -> None:
    for supervised, problems in ((0.5, 0.5), (-0.1, 0.5), (0.5, -0.1)):
        with pytest.raises(UserError, match="leave some stories"):
            OneStep(supervised_share=supervised, problem_share=problems)


def test_problems_of_arithmetic_ask_what_its_examples_teach() -> None:
    task = Arithmetic()
    problems = task.problems(None)
    assert [(item.prompt, item.gold) for item in problems] == [(e.prompt, e.target) for e in task.examples(None)]
    assert len({item.item_id for item in problems}) == len(problems)
    kept = [item for item in task.items(None) if item.split != "table"]
    assert not leaks(problems, kept, task.transfer_facts())


def test_problems_of_gsm8k_are_training_problems_that_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gsm8k").mkdir()
    for part in ("train", "test"):
        rows = [
            {"question": f"{part} {i}?", "answer": f"It is <<{i}*2={2 * i}>>{2 * i}.\n#### {2 * i}"} for i in range(9)
        ]
        (tmp_path / f"gsm8k/{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        monkeypatch.setattr(gsm8k, part.upper(), gsm8k.data_set(part, 9))
    problems = GSM8K(shots=3).problems(tmp_path)
    assert [item.item_id for item in problems] == [f"train/{i}" for i in (1, 2, 4, 5, 7, 8)]
    assert problems[0].prompt == chat_prompt("train 1?")
    assert (problems[0].gold, problems[0].answer) == (" It is <<1*2=2>>2.\n#### 2", "2")
    assert [item.item_id for item in GSM8K(train_limit=2).problems(tmp_path)] == ["train/0", "train/4"]
    assert not {item.prompt for item in GSM8K().problems(tmp_path)} & {item.prompt for item in GSM8K().items(tmp_path)}


def test_other_tasks_have_no_problems() -> None:
    assert SVAMP().problems(None) == HellaSwag().problems(None) == []

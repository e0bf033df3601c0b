"""Tasks by name."""

import pytest

from vocablab.base.errors import UserError
from vocablab.tasks.arithmetic_probes import ArithmeticProbes
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.named import TASKS, named_tasks


def test_hellaswag_is_asked_both_ways_the_harness_first() -> None:
    tasks = named_tasks(["hellaswag", "gsm8k"], None, 0)
    assert [(task.name, task.mode, task.bare) for task in tasks] == [
        ("hellaswag", "harness", True),
        ("hellaswag", "karpathy", True),
        ("gsm8k", "", False),
    ]
    assert [task.mode for task in named_tasks(["hellaswag:karpathy", "hellaswag:harness"], None, 0)] == [
        "karpathy",
        "harness",
    ]


def test_names_are_those_of_the_tasks() -> None:
    assert all(task.name == name.partition(":")[0] for name, tasks in TASKS.items() for task in tasks)


def test_limit_and_shots_reach_the_tasks() -> None:
    assert named_tasks(["gsm8k", "arithmetic"], 10, 5) == [GSM8K(limit=10, shots=5), ArithmeticProbes(limit=10)]
    assert len(named_tasks(["arithmetic"], 10, 0)[0].items(None)) == 10


@pytest.mark.parametrize(
    ("names", "limit", "shots", "sentence"),
    [
        (["gsm8k", "mmlu"], None, 0, "no task 'mmlu'; there is arithmetic, gsm8k, .*hellaswag:karpathy"),
        (["gsm8k", "gsm8k"], None, 0, "'gsm8k' is named twice"),
        (["hellaswag", "hellaswag:karpathy"], None, 0, "'hellaswag:karpathy' is named twice"),
        (["gsm8k"], 0, 0, "limit of 0"),
        (["svamp"], None, 4, "only gsm8k"),
        (["gsm8k"], None, 100, "shots 100"),
    ],
)
def test_what_makes_no_sense_is_refused(names: list[str], limit: int | None, shots: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        named_tasks(names, limit, shots)

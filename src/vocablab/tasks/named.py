"""Tasks by name, for the command line."""

from collections.abc import Sequence
from dataclasses import replace

from vocablab.base.errors import UserError
from vocablab.tasks.arithmetic_probes import ArithmeticProbes
from vocablab.tasks.chinese import CMATH, Ape210K, Math23K
from vocablab.tasks.drills import Drills
from vocablab.tasks.gpt3_arithmetic import GPT3Arithmetic
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.hellaswag import MODES, HellaSwag
from vocablab.tasks.one_step import OneStep
from vocablab.tasks.svamp import SVAMP
from vocablab.tasks.task import Task

TASKS: dict[str, tuple[Task, ...]] = {
    "arithmetic": (ArithmeticProbes(),),
    "gsm8k": (GSM8K(),),
    "svamp": (SVAMP(),),
    "gpt3_arithmetic": (GPT3Arithmetic(),),
    "hellaswag": tuple(HellaSwag(mode=mode) for mode in MODES),
    **{f"hellaswag:{mode}": (HellaSwag(mode=mode),) for mode in MODES},
    "drills": (Drills(),),
    "one_step": (OneStep(),),
    "ape210k": (Ape210K(),),
    "math23k": (Math23K(),),
    "cmath": (CMATH(),),
}
"""What each name asks; ``hellaswag`` asks both ways."""


def named_tasks(names: Sequence[str], limit: int | None, shots: int) -> list[Task]:
    """The tasks of some names, in their order.

    Args:
        names: keys of `TASKS`.
        limit: number of items of each task, evenly spaced; all of them if None.
        shots: worked examples before each question, for the tasks that have some (gsm8k).

    Raises:
        UserError: for a name that is unknown or asks a task twice, a limit below 1, or shots that no task takes.
    """
    if limit is not None and limit < 1:
        raise UserError(f"the limit of {limit} items leaves nothing to ask.")
    found: list[Task] = []
    for name in names:
        if name not in TASKS:
            raise UserError(f"there is no task '{name}'; there is {', '.join(TASKS)}.")
        for task in TASKS[name]:
            if any(type(other) is type(task) and other.mode == task.mode for other in found):
                raise UserError(f"the task '{name}' is named twice.")
            found.append(replace(task, limit=limit))
    if shots and not any(isinstance(task, GSM8K) for task in found):
        raise UserError(f"{shots} worked examples are asked for, but of the tasks only gsm8k has some.")
    return [replace(task, shots=shots) if isinstance(task, GSM8K) else task for task in found]

"""The stages of a run that train a finished model further: fine-tuning, and training by reward."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocablab.base.errors import RunError
from vocablab.corpus.accounting import gate
from vocablab.corpus.fact_scan import fact_keys
from vocablab.lab.run_context import RunContext
from vocablab.lab.study import Arm
from vocablab.tasks.task import Task

UNSEEN = ("transfer", "heldout")
"""Splits whose facts no training example may state: such examples are left out, in every arm, and counted."""


def fine_tune_run(run: RunContext, directory: Path) -> dict[str, Any]:
    """The stage `sft`."""
    from vocablab.posttrain.supervised import fine_tune

    recipe, data = run.arm.recipe, run.place.data
    unseen = Unseen.of(recipe.evaluate.tasks, data)
    every = [e for task in recipe.sft.tasks or recipe.evaluate.tasks for e in task.examples(data)]
    problems = [e for e in every if not unseen.told(e.prompt, e.target)]
    require_most_kept(len(problems), len(every), "examples")
    drills = [] if recipe.sft.drills is None else recipe.sft.drills.examples(data)
    counts = fine_tune(
        recipe.sft,
        run.path("export"),
        problems,
        run.arm.drawn_seed(run.seed),
        run.place.device,
        directory,
        lambda done, total, note: run.progress("sft", done, total, note),
        data,
    )
    counts["gates"] += [
        changes_gate(run.arm, counts["spans"]),
        *unseen.gates([(e.prompt, e.target) for e in (*problems, *drills)]),
    ]
    return counts | {"left_out": len(every) - len(problems)}


def reinforce_run(run: RunContext, directory: Path) -> dict[str, Any]:
    """The stage `rl`."""
    from vocablab.posttrain.reinforced import reinforce

    recipe, data = run.arm.recipe, run.place.data
    assert recipe.rl is not None
    unseen = Unseen.of(recipe.evaluate.tasks, data)
    every = recipe.rl.task.problems(data)
    problems = [item for item in every if not unseen.told(item.prompt, item.gold)]
    require_most_kept(len(problems), len(every), "problems")
    counts = reinforce(
        recipe.rl,
        run.path("sft"),
        data,
        run.arm.drawn_seed(run.seed),
        run.place.device,
        directory,
        lambda done, total, note: run.progress("rl", done, total, note),
        problems,
    )
    counts["gates"] += unseen.gates([(item.prompt, item.gold) for item in problems])
    return counts | {"left_out": len(every) - len(problems)}


def changes_gate(arm: Arm, spans: int) -> dict[str, Any]:
    """Rule 3 on fine-tuning: a control's texts are unchanged, and an arm whose tokens come with it has some."""
    needs = arm.intervention.changes_text and arm.tokens_from == "sft"
    right = spans > 0 if needs else spans == 0 or arm.intervention.changes_text
    return gate(3, "Fine-tuning texts are changed as the arm says", right, f"{spans} spans")


@dataclass(frozen=True)
class Unseen:
    """What the model is asked in the end and must not be told before."""

    prompts: frozenset[str]
    """Questions of the splits `UNSEEN`."""
    facts: frozenset[str]
    """The facts that they rest on."""

    @staticmethod
    def of(tasks: Iterable[Task], data: Path | None) -> "Unseen":
        """Of the tasks of an evaluation."""
        items = [item for task in tasks if task.kind == "generate" for item in task.items(data)]
        unseen = [item for item in items if item.split in UNSEEN]
        facts = frozenset(item.fact_key for item in unseen if item.fact_key)
        return Unseen(frozenset(item.prompt for item in unseen), facts)

    def told(self, prompt: str, target: str) -> bool:
        """Whether an example or a problem tells any of it."""
        return prompt in self.prompts or bool(self.facts and fact_keys(prompt + target) & self.facts)

    def gates(self, learned: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Rule 10 on the prompts and targets that were learned."""
        asked = sorted({prompt for prompt, _ in learned} & self.prompts)
        stated: set[str] = set()
        for prompt, target in learned:
            stated |= fact_keys(prompt + target)
        both = sorted(self.facts & stated)
        questions, facts = f"{len(self.prompts)} questions; {asked[:3]}", f"{len(self.facts)} facts; {both[:3]}"
        return [
            gate(10, "Post-training asks no question of an unseen split", not asked, questions),
            gate(10, "Post-training states no fact of an unseen split", not both, facts),
        ]


def require_most_kept(kept: int, count: int, what: str) -> None:
    """Refuse a post-training of which little is left.

    Raises:
        RunError: if more than half tells what the evaluation asks.
    """
    if count and kept < count / 2:
        raise RunError(
            f"{count - kept} of {count} {what} state facts of an unseen split of the evaluation (transfer, heldout): "
            "evaluate on other tasks, or train on others."
        )

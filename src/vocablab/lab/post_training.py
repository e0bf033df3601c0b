"""The stages of a run that train a finished model further: fine-tuning, and training by reward."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vocablab.corpus.accounting import gate
from vocablab.corpus.fact_scan import fact_keys
from vocablab.lab.run_context import RunContext
from vocablab.lab.study import Arm
from vocablab.tasks.task import Task

UNSEEN = ("transfer", "heldout")
"""Splits whose facts no training example may state."""


def fine_tune_run(run: RunContext, directory: Path) -> dict[str, Any]:
    """The stage `sft`."""
    from vocablab.posttrain.supervised import fine_tune

    recipe, data = run.arm.recipe, run.place.data
    problems = [e for task in recipe.sft.tasks or recipe.evaluate.tasks for e in task.examples(data)]
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
        *unseen_gates(recipe.evaluate.tasks, [(e.prompt, e.target) for e in (*problems, *drills)], data),
    ]
    return counts


def reinforce_run(run: RunContext, directory: Path) -> dict[str, Any]:
    """The stage `rl`."""
    from vocablab.posttrain.reinforced import reinforce

    recipe, data = run.arm.recipe, run.place.data
    assert recipe.rl is not None
    counts = reinforce(
        recipe.rl,
        run.path("sft"),
        data,
        run.arm.drawn_seed(run.seed),
        run.place.device,
        directory,
        lambda done, total, note: run.progress("rl", done, total, note),
    )
    problems = recipe.rl.task.problems(data)
    counts["gates"] += unseen_gates(recipe.evaluate.tasks, [(i.prompt, i.gold) for i in problems], data)
    return counts


def changes_gate(arm: Arm, spans: int) -> dict[str, Any]:
    """Rule 3 on fine-tuning: a control's texts are unchanged, and an arm whose tokens come with it has some."""
    needs = arm.intervention.changes_text and arm.tokens_from == "sft"
    right = spans > 0 if needs else spans == 0 or arm.intervention.changes_text
    return gate(3, "Fine-tuning texts are changed as the arm says", right, f"{spans} spans")


def unseen_gates(tasks: Iterable[Task], learned: Sequence[tuple[str, str]], data: Path | None) -> list[dict[str, Any]]:
    """Rule 10 on what post-training learns: no unseen item's question, and no fact of a split of unseen facts.

    Args:
        tasks: what the model is asked in the end.
        learned: prompt and target of every example or problem.
        data: the data directory.
    """
    items = [item for task in tasks if task.kind == "generate" for item in task.items(data)]
    unseen = [item for item in items if item.split in UNSEEN]
    prompts = {prompt for prompt, _ in learned}
    asked = [item.item_id for item in unseen if item.prompt in prompts]
    stated: set[str] = set()
    for prompt, target in learned:
        stated |= fact_keys(prompt + target)
    facts = {item.fact_key for item in unseen if item.fact_key}
    both = sorted(facts & stated)
    return [
        gate(10, "Post-training asks no question of an unseen split", not asked, f"{len(unseen)} items; {asked[:3]}"),
        gate(10, "Post-training states no fact of an unseen split", not both, f"{len(facts)} facts; {both[:3]}"),
    ]

"""The laboratory on itself: nothing is found where nothing is, what is there is found, shuffled labels give chance."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vocablab.analysis.comparison import compare
from vocablab.analysis.score_sets import ScoreSet
from vocablab.analysis.scores import item_values
from vocablab.base.config import fingerprint, from_json, to_json
from vocablab.base.files import read_json
from vocablab.evaluate.rows import SCHEMA, Row
from vocablab.lab.catalog import choose
from vocablab.lab.run_context import Place
from vocablab.lab.run_study import run_study, selected_jobs
from vocablab.lab.stages import identities
from vocablab.lab.study import Study
from vocablab.tasks.arithmetic import Arithmetic


def test_the_arms_of_aa_null_differ_by_chance_alone() -> None:
    study = choose("aa-null").study
    control, same = study.arms
    assert replace(same, name=control.name, description=control.description, seed_offset=0) == control
    assert len(study.seeds) == 5
    drawn = {arm.drawn_seed(seed) for arm in study.arms for seed in study.seeds}
    assert len(drawn) == 10


def test_an_offset_changes_what_is_drawn_and_not_what_is_read() -> None:
    study = choose("aa-null").study
    control, same = (identities(study, arm, 3) for arm in study.arms)
    assert control["prepare"] == same["prepare"]
    assert (control["pretrain"]["seed"], same["pretrain"]["seed"]) == (3, 1003)
    assert (control["sft"]["seed"], same["sft"]["seed"]) == (3, 1003)
    assert fingerprint(control["export"]) != fingerprint(same["export"])
    assert control["evaluate"]["seed"] == same["evaluate"]["seed"] == 3


def test_no_offset_leaves_fingerprints_as_they_were() -> None:
    for name in ("quickstart", "gsm8k-mul-facts"):
        study = choose(name).study
        for stage in identities(study, study.arms[0], 1).values():
            assert stage["seed"] == 1
            assert "seed_offset" not in str(stage)


def test_the_planted_effect_is_twice_the_text() -> None:
    study = choose("planted-effect").study
    control, twice = study.arms
    budgets = [arm.recipe.pretrain.budget.amount for arm in (control, twice)]
    assert budgets[1] == 2 * budgets[0]
    pretrain = replace(twice.recipe.pretrain, budget=control.recipe.pretrain.budget)
    assert replace(twice.recipe, pretrain=pretrain) == control.recipe
    assert len(study.seeds) == 5
    assert from_json(Study, to_json(study)) == study


def _found(name: str, runs: Path) -> list[str]:
    chosen = choose(name)
    outcome = run_study(chosen, Place(runs, None), selected_jobs(chosen.study, None, None, None), 2, quiet=True)
    assert outcome.report is not None
    report = read_json(outcome.report.with_suffix(".json"), "the report")
    assert all(gate["passed"] for gate in report["gates"])
    return [verdict["word"] for verdict in report["verdicts"]]


@pytest.mark.slow
def test_nothing_is_found_between_equal_arms(tmp_path: Path) -> None:
    benefit, no_harm = _found("aa-null", tmp_path)
    assert benefit == "UNDERPOWERED"
    assert no_harm in ("NO HARM", "UNDERPOWERED")


@pytest.mark.slow
def test_a_planted_effect_is_found(tmp_path: Path) -> None:
    assert _found("planted-effect", tmp_path) == ["SUPPORTED"]


def _scored(answers: list[str], gold: list[str], seed: int) -> pa.Table:
    """The score table of a model that gives `answers` where `gold` is held to be right."""
    task, rows = Arithmetic(), []
    for item, output, right in zip(task.items(None), answers, gold, strict=True):
        grade = task.grade(replace(item, answer=right), f" The answer is {output}.")
        row = Row(
            f"model/seed{seed}", task.name, item.item_id, item.cluster_id, item.split, "acc",
            float(grade.strict), 10.0, 20, 5, item.prompt, output, output, True, "1", decoding="free",
            acc=float(grade.strict),
        )  # fmt: skip
        rows.append(row)
    return pa.table({name: [getattr(row, name) for row in rows] for name in SCHEMA.names}, schema=SCHEMA)


def test_shuffled_gold_labels_give_chance() -> None:
    gold = [item.answer for item in Arithmetic().items(None)]
    chance = sum(count**2 for count in Counter(gold).values()) / len(gold) ** 2
    rng = np.random.default_rng(0)
    assert _scored(gold, gold, 0).column("acc").to_pylist() == [1.0] * len(gold)
    shuffled, guessed = ScoreSet("shuffled", {}), ScoreSet("guessed", {})
    for seed in range(8):
        permuted = [str(x) for x in rng.permutation(gold)]
        guesses = [str(x) for x in rng.permutation(gold)]
        for scores, table in ((shuffled, _scored(gold, permuted, seed)), (guessed, _scored(guesses, gold, seed))):
            scores.seeds[f"seed{seed}"] = {("arithmetic", "acc"): item_values(table, "arithmetic", "acc")}
    (found,), _ = compare(guessed, shuffled)
    mean, error = found.estimate.treatment_mean, (chance / (8 * len(gold))) ** 0.5
    assert chance < 0.05
    assert abs(mean - chance) < 4 * error
    # A model that knows everything is no better than one that knows nothing where the labels are noise.
    assert found.word == "NOT DECIDED"

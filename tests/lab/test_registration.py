"""A study's promise is locked by its first finished stage; every later edit is said in words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.base.config import to_json
from vocablab.base.errors import UserError
from vocablab.base.files import read_json, write_json_atomically
from vocablab.base.modules import load_file
from vocablab.lab.catalog import Chosen
from vocablab.lab.registration import changes, promised, registration_hash
from vocablab.lab.run_study import STUDY_FILE, write_study_file
from vocablab.lab.study import Study


def tiny() -> Study:
    study: Study = load_file(str(Path(__file__).with_name("tiny_study.py")), "study").study()
    return study


def chosen(study: Study, *overrides: str) -> Chosen:
    return Chosen(study, "tiny_study.py", "default", "A question?", overrides)


def written(study: Study, directory: Path, *overrides: str) -> dict[str, Any]:
    write_study_file(chosen(study, *overrides), directory)
    found: dict[str, Any] = read_json(directory / STUDY_FILE, "the study's file")
    return found


def finish_a_stage(study: Study, directory: Path, *, sha: str | None = None) -> None:
    stage = directory / "control" / "seed0" / "prepare"
    stage.mkdir(parents=True, exist_ok=True)
    write_json_atomically(stage / "record.json", {"counts": {"registration": sha or registration_hash(study)}})


def delta(study: Study, value: float) -> Study:
    return replace(study, primary=(replace(study.primary[0], delta=value), *study.primary[1:]))  # type: ignore[call-arg]


def test_the_first_start_registers_claims_with_a_date(tmp_path: Path) -> None:
    study = tiny()
    found = written(study, tmp_path)
    assert found["registration"]["sha256"] == registration_hash(study)
    assert found["registration"]["date"].startswith("20")
    assert found["registered_claims"] == found["claims"] == [to_json(claim) for claim in study.primary]
    assert found["exploratory"] is None


def test_before_anything_ran_a_study_may_change(tmp_path: Path) -> None:
    written(tiny(), tmp_path)
    found = written(delta(tiny(), 0.02), tmp_path)
    assert found["exploratory"] is None
    assert found["registered_claims"][0]["delta"] == 0.02


def test_an_edit_after_the_first_run_is_said_and_stays_said(tmp_path: Path) -> None:
    study = tiny()
    first = written(study, tmp_path)
    finish_a_stage(study, tmp_path)
    edited = replace(delta(study, 0.02), seeds=(0, 1, 3))
    for _ in range(2):
        found = written(edited, tmp_path)
        assert found["exploratory"] == (
            "the study was edited after its first run: delta of arithmetic.transfer was 0.05, is 0.02, seed 3 was added"
        )
        assert found["registration"] == first["registration"]
        assert found["registered_claims"][0]["delta"] == 0.05
        assert found["claims"][0]["delta"] == 0.02
    assert written(study, tmp_path)["exploratory"] is None  # nothing ran under the edit, and it was taken back


def test_records_remember_what_study_json_does_not(tmp_path: Path) -> None:
    study = tiny()
    written(study, tmp_path)
    finish_a_stage(study, tmp_path)
    (tmp_path / STUDY_FILE).unlink()
    found = written(delta(study, 0.02), tmp_path)
    assert "1 stages ran under other claims" in found["exploratory"]


def test_an_edit_that_was_taken_back_is_found_in_the_records(tmp_path: Path) -> None:
    study = tiny()
    written(study, tmp_path)
    finish_a_stage(study, tmp_path, sha="0" * 64)
    assert "1 stages ran under other claims" in written(study, tmp_path)["exploratory"]


def test_overrides_alone_are_exploratory(tmp_path: Path) -> None:
    assert (
        written(tiny(), tmp_path, "recipe.sft.epochs=2")["exploratory"] == "overrides were used (recipe.sft.epochs=2)"
    )


def test_a_study_without_a_registration_is_refused(tmp_path: Path) -> None:
    study = tiny()
    old = written(study, tmp_path)
    del old["registration"]
    write_json_atomically(tmp_path / STUDY_FILE, old)
    finish_a_stage(study, tmp_path)
    for declared in (study, delta(study, 0.02)):
        with pytest.raises(UserError, match="has no registration of its claims"):
            written(declared, tmp_path)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda s: delta(s, 0.02), "delta of arithmetic.transfer was 0.05, is 0.02"),
        (lambda s: replace(s, seeds=(0, 1, 2)), "seed 2 was added"),
        (lambda s: replace(s, seeds=(1,)), "seed 0 was dropped"),
        (lambda s: replace(s, treatment="control"), "the treatment was mul_facts, is control"),
        (
            lambda s: replace(s, primary=(Benefit("arithmetic.transfer", "acc_flexible", delta=0.05), s.primary[1])),
            "metric of arithmetic.transfer was acc, is acc_flexible",
        ),
        (lambda s: replace(s, primary=s.primary[:1]), "the claim NoHarm of bits_per_byte on text was dropped"),
        (
            lambda s: replace(s, primary=(*s.primary, NoHarm("arithmetic", "acc", margin=0.1))),
            "the claim NoHarm of acc on arithmetic was added",
        ),
    ],
)
def test_every_edit_has_its_words(edit: Any, words: str) -> None:
    study = tiny()
    assert changes(promised(to_json(study)), promised(to_json(edit(study)))) == [words]


def test_other_questions_are_an_edit() -> None:
    study = tiny()
    arms = tuple(
        replace(
            arm, recipe=replace(arm.recipe, evaluate=replace(arm.recipe.evaluate, text_documents=9))
        ) for arm in study.arms
    )  # fmt: skip
    said = changes(promised(to_json(study)), promised(to_json(replace(study, arms=arms))))
    assert said == ["the questions were edited (control.text_documents was 5, is 9)"]


def test_how_a_study_runs_is_no_part_of_its_promise() -> None:
    study = tiny()
    arm = study.arms[0]
    quicker = replace(arm.recipe.pretrain, micro_batch=2)
    other = replace(study, arms=(replace(arm, recipe=replace(arm.recipe, pretrain=quicker)), *study.arms[1:]))
    assert registration_hash(other) == registration_hash(study)

"""Configs survive JSON, their fingerprints see what matters, and mistakes are named."""

from dataclasses import replace

import pytest

from vocablab.base.config import fingerprint, from_json, override, to_json
from vocablab.base.errors import UserError
from vocablab.lab.catalog import built_in_names, choose
from vocablab.lab.study import Study


@pytest.mark.parametrize("name", built_in_names())
def test_every_built_in_study_survives_json(name: str) -> None:
    study = choose(name).study
    again = from_json(Study, to_json(study))
    assert again == study
    assert fingerprint(again) == fingerprint(study)


def test_fingerprint_ignores_execution_and_sees_identity() -> None:
    pretrain = choose("quickstart").study.arms[0].recipe.pretrain
    assert fingerprint(replace(pretrain, micro_batch=1)) == fingerprint(pretrain)
    slower = replace(pretrain.optimizer, learning_rate=1e-4)
    assert fingerprint(replace(pretrain, optimizer=slower)) != fingerprint(pretrain)


def test_override_reaches_a_nested_field() -> None:
    study = choose("quickstart", overrides=("recipe.pretrain.batch_size=8",)).study
    assert {arm.recipe.pretrain.batch_size for arm in study.arms} == {8}


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("recipe.nosuch", "1", "nosuch"),
        ("arms.9.name", "x", "9"),
        ("arms.0.recipe.pretrain.batch_size", "many", "batch_size"),
    ],
)
def test_override_names_what_is_wrong(path: str, value: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        override(choose("quickstart").study, path, value)


def test_unknown_and_missing_fields_are_named() -> None:
    data = to_json(choose("quickstart").study)
    with pytest.raises(UserError, match="colour"):
        from_json(Study, {**data, "colour": 1})
    del data["seeds"]
    with pytest.raises(UserError, match="seeds"):
        from_json(Study, data)


def test_values_json_cannot_hold_are_refused() -> None:
    with pytest.raises(TypeError):
        to_json({"a": object()})

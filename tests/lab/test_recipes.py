"""The recipes are what their names say, and survive the way to a worker process."""

import pytest

from vocablab.base.config import fingerprint, from_json, override, to_json
from vocablab.lab.recipes import PRETRAINING, PretrainRecipe, gpt2_124m, gpt2_350m, modern_124m
from vocablab.lab.study import Recipe
from vocablab.training.budget import SourceBytes, Tokens
from vocablab.training.optimizer import AdamW, MuonAdamW
from vocablab.training.schedule import Cosine

ROWS = 50304


@pytest.mark.parametrize("name", PRETRAINING)
def test_a_recipe_round_trips(name: str) -> None:
    made = PRETRAINING[name](Tokens(1e6))
    assert fingerprint(from_json(PretrainRecipe, to_json(made))) == fingerprint(made)
    changed = override(made, "pretrain.optimizer.learning_rate", "0.5")
    assert changed.pretrain.optimizer.learning_rate == 0.5
    assert fingerprint(changed) != fingerprint(made)


@pytest.mark.parametrize("recipe", [gpt2_124m, gpt2_350m, modern_124m])
def test_a_study_recipe_round_trips(recipe: object) -> None:
    made = recipe(budget=SourceBytes(40e9))  # type: ignore[operator]
    assert fingerprint(from_json(Recipe, to_json(made))) == fingerprint(made)


def test_the_classic_is_the_classic() -> None:
    made = PRETRAINING["gpt2_124m"](Tokens(10e9))
    assert 124e6 < made.model.parameters(ROWS) < 125e6
    assert made.pretrain.optimizer == AdamW(6e-4)
    assert made.pretrain.schedule == Cosine(715)
    assert made.pretrain.batch_size * made.model.n_positions == 524_288
    assert 354e6 < PRETRAINING["gpt2_350m"](Tokens(10e9)).model.parameters(ROWS) < 356e6


def test_the_modern_arm_is_of_the_same_size() -> None:
    made = PRETRAINING["modern_124m"](Tokens(10e9))
    assert 120e6 < made.model.parameters(ROWS) < 128e6
    assert isinstance(made.pretrain.optimizer, MuonAdamW)

"""Scores during pretraining are those of the exported model: the same weights, the same numbers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from support.training import MODEL, MODERN, Parts, base_vocabulary, shards

from vocablab.base.errors import UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.choosing import score_choices
from vocablab.evaluate.model import load
from vocablab.export.hugging_face import export
from vocablab.lab.evaluation_hook import BATCH, evaluation_hook
from vocablab.model.network import ModelConfig, Network
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.task import Item, Task
from vocablab.vocab.interventions import FactTokens


@dataclass(frozen=True)
class Choosing(Task):
    """Products, so that fact tokens are among what is scored, and one of four words."""

    name: ClassVar[str] = "choosing"
    kind: ClassVar[str] = "choose"
    long: int = 0

    def items(self, data: Path | None) -> list[Item]:
        found = []
        for i in range(40):
            a, b = 2 + i % 8, 2 + i // 8
            words = ["".join(chr(97 + (7 * i + 11 * j + 3 * k) % 26) for k in range(4 + (i + j) % 3)) for j in range(4)]
            choices = tuple(f" {a} * {b} = {a * b} {word}" + "!" * self.long for word in words)
            prompt, label = f"Count {'well ' * (i % 5)}", i % 4
            found.append(Item(str(i), str(i), "test", prompt, choices[label], str(label), choices, label))
        return found


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parts, Path]:
    directory = tmp_path_factory.mktemp("facts")
    return shards(base_vocabulary(), FactTokens(), directory), directory / "arm"


def spread(model: ModelConfig, rows: int, seed: int) -> Network:
    network, generator = model.build(rows, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network.eval()


@pytest.mark.parametrize("model", [MODEL, MODERN])
def test_the_numbers_are_those_of_the_exported_model(
    facts: tuple[Parts, Path], tmp_path: Path, model: ModelConfig
) -> None:
    parts, corpus = facts
    networks = [spread(model, parts[1].vocabulary.padded_size, seed) for seed in range(5)]
    hook = evaluation_hook((Choosing(),), parts[1], corpus, None)
    assert hook is not None
    found = hook(networks[0])
    export(networks[0], parts[1], tmp_path, FormCode.load(corpus), {})
    task = Choosing()
    rows = score_choices(load(tmp_path, "cpu"), task, task.items(None), "", BATCH)
    assert found == {
        "choosing.acc_norm": sum(row.score or 0 for row in rows) / 40,
        "choosing.acc": sum(row.acc or 0 for row in rows) / 40,
        "choosing.items": 40,
    }
    json.dumps(found, allow_nan=False)
    # Other weights give other numbers, so the comparison above says something.
    assert len({tuple(hook(network).values()) for network in networks}) > 2


def test_nothing_to_ask_is_no_hook(facts: tuple[Parts, Path]) -> None:
    assert evaluation_hook((), facts[0][1], facts[1], None) is None


def test_what_cannot_be_scored_is_refused_before_the_training(facts: tuple[Parts, Path]) -> None:
    parts, corpus = facts
    with pytest.raises(UserError, match="arithmetic cannot be scored during pretraining"):
        evaluation_hook((Arithmetic(),), parts[1], corpus, None)

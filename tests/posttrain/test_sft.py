"""Rules 7 and 11, on TRL's real collator and optimiser."""

from pathlib import Path

import pytest
import torch

from vocablab.base.errors import RunError, UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.model import load
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.posttrain.sft import IGNORE, SupervisedFineTuning, check_labels, fine_tune, label
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.task import Example
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.vocabulary import Vocabulary, padded

EXAMPLES = Arithmetic().examples(None)[:40]


@pytest.fixture(scope="module")
def codec() -> Codec:
    facts = FactTokens()
    base = TrainedBPE(300).build([e.prompt + e.target for e in EXAMPLES] * 2)
    return Codec(Vocabulary(base, facts.tokens(), padded(300 + 45)), facts)


@pytest.fixture(scope="module")
def checkpoint(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint")
    export(GPT2Config(1, 2, 16, 96).build(codec.vocabulary.padded_size, 0), codec, directory, FormCode.empty(), {})
    return directory


def test_target_and_one_eos_are_learned(codec: Codec) -> None:
    row = label(codec, EXAMPLES[0], 96)
    assert row is not None
    learned = [i for i in row["labels"] if i != IGNORE]
    assert codec.decode(learned[:-1]) == " <MUL_1_1_1>. The answer is 1."
    assert learned[-1] == codec.vocabulary.eos_id
    assert learned.count(codec.vocabulary.eos_id) == 1
    assert label(codec, EXAMPLES[0], 5) is None


def test_literal_eos_in_a_text_is_no_eos(codec: Codec) -> None:
    row = label(codec, Example("x", "User: <|endoftext|>\nAssistant:", " <|endoftext|>"), 96)
    assert row is not None
    assert row["labels"].count(codec.vocabulary.eos_id) == 1


def batch(codec: Codec) -> tuple[dict[str, torch.Tensor], list[dict[str, list[int]]]]:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = [row for e in EXAMPLES[:4] if (row := label(codec, e, 96)) is not None]
    rows[0] = {key: value[:3] + value[-2:] for key, value in rows[0].items()}
    return DataCollatorForLanguageModeling(pad_token_id=codec.vocabulary.eos_id)(rows), rows


def test_the_collator_keeps_eos_although_it_is_the_padding(codec: Codec) -> None:
    collated, rows = batch(codec)
    check_labels(collated, codec.vocabulary.eos_id, rows)


@pytest.mark.parametrize("fault", ["eos masked", "padding labelled", "shifted"])
def test_planted_label_faults_are_caught(codec: Codec, fault: str) -> None:
    collated, rows = batch(codec)
    labels, eos = collated["labels"], codec.vocabulary.eos_id
    if fault == "eos masked":
        labels[labels == eos] = IGNORE
    elif fault == "padding labelled":
        labels[0, -1] = 7
    else:
        labels[1, 5:-3] = (labels[1, 5:-3] + 1).clamp(min=0)
    with pytest.raises(RunError, match="rule 7"):
        check_labels(collated, eos, rows)


@pytest.mark.parametrize("size", [GPT2Config(1, 2, 16, 96), ModernConfig(1, 2, 16, 96)])
def test_a_small_step_moves_almost_every_parameter(codec: Codec, size: ModelConfig, tmp_path: Path) -> None:
    export(size.build(codec.vocabulary.padded_size, 0), codec, tmp_path / "checkpoint", FormCode.empty(), {})
    config = SupervisedFineTuning(epochs=0.4, batch_size=16, learning_rate=2e-5, warmup_share=0.0)
    counts = fine_tune(config, tmp_path / "checkpoint", EXAMPLES, 0, "cpu", tmp_path, lambda *a: None)
    assert counts["steps"] == 1
    assert counts["parameters_changed"] > 0.99
    assert all(gate["passed"] for gate in counts["gates"])
    assert load(tmp_path, "cpu").codec.intervention == codec.intervention


def test_the_same_seed_gives_the_same_model(checkpoint: Path, tmp_path: Path) -> None:
    config = SupervisedFineTuning(epochs=1, batch_size=16, learning_rate=1e-3)
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fine_tune(config, checkpoint, EXAMPLES, 3, "cpu", tmp_path / name, lambda *a: None)
        found.append((tmp_path / name / "model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_mistakes_are_named_before_a_model_loads(checkpoint: Path, tmp_path: Path) -> None:
    config = SupervisedFineTuning(epochs=1, batch_size=10, learning_rate=1e-3, micro_batch=4)
    with pytest.raises(UserError, match=r"batch_size 10 is no multiple of micro_batch 4"):
        fine_tune(config, tmp_path / "nosuch", EXAMPLES, 0, "cpu", tmp_path, lambda *a: None)
    long = [Example("long", "User: " + "word " * 200, " x")]
    config = SupervisedFineTuning(epochs=1, batch_size=1, learning_rate=1e-3)
    with pytest.raises(UserError, match="do not fit"):
        fine_tune(config, checkpoint, long, 0, "cpu", tmp_path, lambda *a: None)

"""A tiny exported model that knows nothing yet, and one that was fine-tuned to answer a little."""

from pathlib import Path

import pytest

from vocablab.corpus.lost_form import FormCode
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2Config
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.posttrain.supervised import fine_tune
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.one_step import OneStep
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.vocabulary import Vocabulary, padded


@pytest.fixture(scope="session")
def codec() -> Codec:
    """Fact tokens over a vocabulary trained on the examples."""
    facts = FactTokens()
    texts = [e.prompt + e.target for e in (*Arithmetic().examples(None)[:40], *OneStep().examples(None))]
    return Codec(Vocabulary(TrainedBPE(300).build(texts * 2), facts.tokens(), padded(300 + 45)), facts)


@pytest.fixture(scope="session")
def checkpoint(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights."""
    directory = tmp_path_factory.mktemp("checkpoint")
    export(GPT2Config(1, 2, 32, 128).build(codec.vocabulary.padded_size, 0), codec, directory, FormCode.empty(), {})
    return directory


@pytest.fixture(scope="session")
def answering(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fine-tuned on word problems until it writes answers of the right form."""
    directory = tmp_path_factory.mktemp("answering")
    config = SupervisedFineTuning(epochs=8, batch_size=32, learning_rate=3e-3, precision="float32")
    fine_tune(config, checkpoint, OneStep().examples(None), 0, "cpu", directory, lambda *a: None)
    return directory

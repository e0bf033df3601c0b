"""A random exported model, and one whose favourite token is planted."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import make_codec
from transformers import AutoModelForCausalLM

from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.model import Loaded, load
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2Config
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens


@pytest.fixture(scope="session")
def codec() -> Codec:
    return make_codec(FactTokens())


@pytest.fixture(scope="session")
def exported(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, large enough that no two tokens are alike."""
    directory = tmp_path_factory.mktemp("random")
    model = GPT2Config(2, 2, 32, 48).build(codec.vocabulary.padded_size, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.2)
    export(model, codec, directory, FormCode(Counter({"{a} * {b} = {c}": 6, "{a}*{b}={c}": 2})), {})
    return directory


@pytest.fixture(scope="session")
def loaded(exported: Path) -> Loaded:
    """The model as it is scored."""
    return load(exported, "cpu")


@pytest.fixture(scope="session")
def theirs(exported: Path) -> Any:
    """The same model as transformers has it: what numbers are compared with."""
    return AutoModelForCausalLM.from_pretrained(exported).eval()


@pytest.fixture(scope="session")
def favouring(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, Codec], Path]:
    """Makes an exported model that always finds one token id the most probable, whatever it reads."""

    def make(token_id: int, codec: Codec) -> Path:
        directory = tmp_path_factory.mktemp("favouring")
        model = GPT2Config(1, 2, 16, 48).build(codec.vocabulary.padded_size, 0)
        weights = dict(model.named_parameters())
        with torch.no_grad():
            (head,) = [p for n, p in weights.items() if n.endswith("wte.weight")]
            (scale,) = [p for n, p in weights.items() if n.endswith("ln_f.weight")]
            (shift,) = [p for n, p in weights.items() if n.endswith("ln_f.bias")]
            scale.zero_()
            shift.fill_(1.0)
            head[token_id] = 1.0
        export(model, codec, directory, FormCode.empty(), {})
        return directory

    return make

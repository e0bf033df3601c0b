"""Rule 6: an export is proved; every planted mutant is caught."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from vocablab.base.errors import RunError
from vocablab.export.hugging_face import export, verify
from vocablab.model.gpt2 import GPT2, GPT2Config
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.vocabulary import Vocabulary, padded

CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=96)
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def codec() -> Codec:
    facts = FactTokens()
    base = TrainedBPE(300).build(e.prompt + e.target for e in Arithmetic().examples(None))
    return Codec(Vocabulary(base, facts.tokens(), padded(300 + 45)), facts)


def random_model(codec: Codec) -> GPT2:
    """Every parameter random, so that no error hides behind a zero or a symmetric matrix."""
    model = GPT2(CONFIG, codec.vocabulary.padded_size)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def test_an_honest_export_passes_and_loads(codec: Codec, tmp_path: Path) -> None:
    model = random_model(codec)
    counts = export(model, codec, tmp_path)
    assert counts["largest_logit_difference"] < 1e-9
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[1, 2, 3, 340]])
    assert torch.allclose(theirs(ids).logits, model(ids), atol=1e-4)
    assert theirs.generation_config.suppress_tokens == list(range(345, codec.vocabulary.padded_size))
    assert AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids("<MUL_9_9_81>") == 344


def _transpose(name: str) -> Callable[[Tensors], None]:
    def mutate(tensors: Tensors) -> None:
        tensors[name] = tensors[name].t().contiguous()

    return mutate


def _swap_rows(first: int, second: int, name: str = "transformer.wte.weight") -> Callable[[Tensors], None]:
    def mutate(tensors: Tensors) -> None:
        rows = tensors[name].clone()
        rows[[first, second]] = rows[[second, first]]
        tensors[name] = rows

    return mutate


def _roll_added(tensors: Tensors) -> None:
    rows = tensors["transformer.wte.weight"].clone()
    rows[300:345] = rows[300:345].roll(1, 0)
    tensors["transformer.wte.weight"] = rows


def _untie(tensors: Tensors) -> None:
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].roll(1, 1).contiguous()


def _zero(name: str) -> Callable[[Tensors], None]:
    def mutate(tensors: Tensors) -> None:
        tensors[name] = torch.zeros_like(tensors[name])

    return mutate


def _drop(name: str) -> Callable[[Tensors], None]:
    def mutate(tensors: Tensors) -> None:
        del tensors[name]

    return mutate


def _bfloat(tensors: Tensors) -> None:
    for name in tensors:
        tensors[name] = tensors[name].bfloat16().float()


def _split_heads_wrong(tensors: Tensors) -> None:
    name = "transformer.h.0.attn.c_attn.weight"
    q, k, v = tensors[name].chunk(3, dim=1)
    tensors[name] = torch.cat([k, q, v], dim=1).contiguous()


MUTANTS: dict[str, Callable[[Tensors], None]] = {
    "square attention projection untransposed": _transpose("transformer.h.0.attn.c_proj.weight"),
    "the same in the last block": _transpose("transformer.h.1.attn.c_proj.weight"),
    "two fact rows swapped": _swap_rows(300, 344),
    "fact row and base row swapped": _swap_rows(299, 300),
    "added ids off by one": _roll_added,
    "head untied": _untie,
    "attention bias lost": _zero("transformer.h.0.attn.c_attn.bias"),
    "final norm lost": _zero("transformer.ln_f.bias"),
    "positions lost": _zero("transformer.wpe.weight"),
    "two late positions swapped": _swap_rows(90, 91, "transformer.wpe.weight"),
    "a tensor missing": _drop("transformer.h.1.mlp.c_fc.weight"),
    "rounded to bfloat16": _bfloat,
    "query and key swapped": _split_heads_wrong,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_of_the_weights_is_caught(codec: Codec, tmp_path: Path, name: str) -> None:
    model = random_model(codec)
    export(model, codec, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    MUTANTS[name](tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    if name == "head untied":
        _edit_config(tmp_path, '"tie_word_embeddings": true', '"tie_word_embeddings": false')
    with pytest.raises(RunError, match="rule 6"):
        verify(model, codec, tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"layer_norm_epsilon": 1e-05', '"layer_norm_epsilon": 0.1'),
        ('"layer_norm_epsilon": 1e-05', '"layer_norm_epsilon": 1.2e-05'),
        ('"activation_function": "gelu_new"', '"activation_function": "relu"'),
        ('"n_head": 2', '"n_head": 4'),
    ],
)
def test_every_mutant_of_the_config_is_caught(codec: Codec, tmp_path: Path, before: str, after: str) -> None:
    model = random_model(codec)
    export(model, codec, tmp_path)
    _edit_config(tmp_path, before, after)
    with pytest.raises(RunError, match="rule 6"):
        verify(model, codec, tmp_path)


def _edit_config(directory: Path, before: str, after: str) -> None:
    path = directory / "config.json"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_a_tensor_without_a_place_is_refused(codec: Codec, tmp_path: Path) -> None:
    model = random_model(codec)
    model.extra = torch.nn.Linear(2, 2)  # type: ignore[assignment]
    with pytest.raises(RunError, match="no counterpart"):
        export(model, codec, tmp_path)

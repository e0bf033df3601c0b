"""Rule 6: an export is proved; every planted mutant is caught."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from vocablab.base.errors import RunError
from vocablab.corpus.lost_form import FormCode
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
    counts = export(model, codec, tmp_path, FormCode.empty(), {})
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


def _reshaped(tensors: Tensors) -> None:
    """The matrix as nanoGPT has it, (3 D, D), poured into the shape of `Conv1D`."""
    name = "transformer.h.0.attn.c_attn.weight"
    tensors[name] = tensors[name].t().contiguous().reshape(tensors[name].shape)


def _permute_heads(tensors: Tensors) -> None:
    """Values come out of the other head than the projection expects."""
    for kind in ("weight", "bias"):
        name = f"transformer.h.1.attn.c_attn.{kind}"
        *queries, values = tensors[name].chunk(3, dim=-1)
        tensors[name] = torch.cat([*queries, values.roll(8, -1)], dim=-1).contiguous()


def _swap_layers(tensors: Tensors) -> None:
    for name in [name for name in tensors if ".h.0." in name]:
        other = name.replace(".h.0.", ".h.1.")
        tensors[name], tensors[other] = tensors[other], tensors[name]


def _shift_positions(tensors: Tensors) -> None:
    """As if the first row were missing: every position has the row of the one after it."""
    tensors["transformer.wpe.weight"] = tensors["transformer.wpe.weight"].roll(-1, 0).contiguous()


def _swap_norms(tensors: Tensors) -> None:
    for kind in ("weight", "bias"):
        first, second = (f"transformer.h.0.ln_{i}.{kind}" for i in (1, 2))
        tensors[first], tensors[second] = tensors[second], tensors[first]


MUTANTS: dict[str, Callable[[Tensors], None]] = {
    "fused projection untransposed and reshaped": _reshaped,
    "heads permuted": _permute_heads,
    "two layers swapped": _swap_layers,
    "position rows shifted by one": _shift_positions,
    "norms of a block swapped": _swap_norms,
    "a bias missing": _drop("transformer.h.1.mlp.c_proj.bias"),
    "a bias of the MLP lost": _zero("transformer.h.1.mlp.c_fc.bias"),
    "last position row missing": lambda t: t.update({"transformer.wpe.weight": t["transformer.wpe.weight"][:95]}),
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
    export(model, codec, tmp_path, FormCode.empty(), {})
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
        ('"activation_function": "gelu_new"', '"activation_function": "gelu"'),
        ('"vocab_size": 384', '"vocab_size": 345'),
        ('"n_positions": 96', '"n_positions": 95'),
        ('"n_layer": 2', '"n_layer": 1'),
        ('"n_inner": null', '"n_inner": 32'),
        ('"scale_attn_weights": true', '"scale_attn_weights": false'),
        ('"scale_attn_by_inverse_layer_idx": false', '"scale_attn_by_inverse_layer_idx": true'),
        ('"n_head": 2', '"n_head": 4'),
    ],
)
def test_every_mutant_of_the_config_is_caught(codec: Codec, tmp_path: Path, before: str, after: str) -> None:
    model = random_model(codec)
    export(model, codec, tmp_path, FormCode.empty(), {})
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
        export(model, codec, tmp_path, FormCode.empty(), {})


@pytest.mark.parametrize("rows", [340, 345])
def test_a_vocabulary_truncated_everywhere_is_caught(codec: Codec, tmp_path: Path, rows: int) -> None:
    model = random_model(codec)
    export(model, codec, tmp_path, FormCode.empty(), {})
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"][:rows].contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    _edit_config(tmp_path, '"vocab_size": 384', f'"vocab_size": {rows}')
    with pytest.raises(RunError, match="vocabulary"):
        verify(model, codec, tmp_path)


def test_a_tokenizer_that_lacks_or_moves_an_added_token_is_caught(codec: Codec, tmp_path: Path) -> None:
    model = random_model(codec)
    export(model, codec, tmp_path, FormCode.empty(), {})
    path = tmp_path / "tokenizer.json"
    text = path.read_text()
    for before, after in (("<MUL_9_9_81>", "<MUL_9_9_18>"), ("<MUL_1_1_1>", "<MUL_2_2_4>")):
        swapped = text.replace(before, "\0").replace(after, before).replace("\0", after)
        path.write_text(swapped)
        with pytest.raises(RunError, match="another id"):
            verify(model, codec, tmp_path)


def favouring(codec: Codec, first: int, second: int) -> GPT2:
    """A network that always gives its largest logit to one token and the next one to another."""
    model = random_model(codec)
    with torch.no_grad():
        model.transformer["ln_f"].weight.zero_()  # type: ignore[union-attr, operator]
        model.transformer["ln_f"].bias.fill_(1.0)  # type: ignore[union-attr, operator]
        model.input_rows[first], model.input_rows[second] = 20.0, 10.0
    return model


def test_generation_suppresses_every_nameless_id_and_ends_at_eos(codec: Codec, tmp_path: Path) -> None:
    vocabulary = codec.vocabulary
    nameless = range(vocabulary.size, vocabulary.padded_size)
    prompt = torch.tensor([[1, 2, 3]])
    for index in (nameless[0], nameless[-1]):
        directory = tmp_path / str(index)
        directory.mkdir()
        model = favouring(codec, index, vocabulary.eos_id)
        assert int(model(prompt)[0, -1].argmax()) == index
        export(model, codec, directory, FormCode.empty(), {})
        theirs = AutoModelForCausalLM.from_pretrained(directory)
        for sampled in (False, True):
            said = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=sampled)
            assert said[0, 3:].tolist() == [vocabulary.eos_id]
        assert theirs.generation_config.suppress_tokens == list(nameless)
        # Without the generation config the planted id comes out, so the test can see it.
        theirs.generation_config.suppress_tokens = None
        said = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=1, do_sample=False)
        assert said[0, -1] == index


def test_without_padding_nothing_is_suppressed(codec: Codec, tmp_path: Path) -> None:
    tight = Codec(Vocabulary(codec.vocabulary.base, codec.vocabulary.added, codec.vocabulary.size), codec.intervention)
    export(random_model(tight), tight, tmp_path, FormCode.empty(), {})
    assert AutoModelForCausalLM.from_pretrained(tmp_path).generation_config.suppress_tokens is None


def test_the_least_count_of_mutants() -> None:
    """Rule 6 asks for ten; dropping one from the table must be noticed."""
    assert len(MUTANTS) >= 21

"""Names, layouts and configs of transformers: there and back without a bit lost, and nothing passes silently."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import make_codec
from support.networks import SMALL, randomised

from vocablab.base.errors import RunError, UserError
from vocablab.export.architectures import counterpart, exact
from vocablab.model.gpt2 import GPT2_124M, GPT2Config
from vocablab.model.hugging_face import exported_state, from_hugging_face, to_hugging_face
from vocablab.model.hugging_face_config import config_from_hugging_face
from vocablab.model.modern import MODERN_124M, ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.vocab.interventions import FactTokens

State = dict[str, torch.Tensor]
everywhere = pytest.mark.parametrize("config", [pytest.param(c, id=name) for name, c in SMALL.items()])


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    layers, kv, groups, width = (draw(st.integers(1, 3)) for _ in range(4))
    heads = kv * groups
    if draw(st.booleans()):
        return GPT2Config(layers, heads, heads * 4 * width, draw(st.integers(1, 9)))
    return ModernConfig(
        layers, heads, heads * 4 * width, draw(st.integers(1, 9)), n_kv_head=None if groups == 1 else kv,
        head_width=draw(st.sampled_from([None, 6, 10])), mlp_width=draw(st.sampled_from([None, 24])),
        rope_theta=draw(st.sampled_from([10_000.0, 1e6])), tied=draw(st.booleans()),
    )  # fmt: skip


@given(configs(), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_there_and_back_loses_no_bit(config: ModelConfig, vocabulary: int) -> None:
    state = randomised(config, vocabulary).state_dict()
    back = from_hugging_face(config, to_hugging_face(config, state))
    assert list(back) == list(dict.fromkeys(back))
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name


@given(configs())
@settings(max_examples=30, deadline=None)
def test_a_config_comes_back_from_transformers(config: ModelConfig) -> None:
    theirs = counterpart(config, make_codec(FactTokens()).vocabulary).config
    assert config_from_hugging_face(json.loads(theirs.to_json_string())) == config
    assert config_from_hugging_face(json.loads(theirs.to_json_string(use_diff=False))) == config


@everywhere
def test_a_model_of_transformers_computes_the_same_here(config: ModelConfig) -> None:
    """The importer's direction: their weights, our network."""
    theirs = counterpart(config, make_codec(FactTokens()).vocabulary).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    ours = config.network(theirs.config.vocab_size)
    ours.load_state_dict(from_hugging_face(config, theirs.state_dict()))
    ids = torch.randint(0, 300, (2, 48), generator=generator)
    with torch.no_grad():
        assert (ours.double()(ids) - exact(theirs)(ids).logits).abs().max() < 1e-10


@everywhere
def test_no_tensor_shares_memory(config: ModelConfig) -> None:
    """Else safetensors would refuse to write them."""
    network = randomised(config, 32)
    out = to_hugging_face(config, network.state_dict())
    for side in (out, from_hugging_face(config, out)):
        assert len({t.untyped_storage().data_ptr() for t in side.values()}) == len(side)
        assert all(t.is_contiguous() and not t.requires_grad for t in side.values())


def test_square_matrices_are_transposed_for_gpt2_alone() -> None:
    name = "transformer.h.0.attn.c_proj.weight"
    state = randomised(SMALL["gpt2"], 32).state_dict()
    assert torch.equal(to_hugging_face(SMALL["gpt2"], state)[name], state[name].t())
    state = randomised(SMALL["modern"], 32).state_dict()
    theirs = to_hugging_face(SMALL["modern"], state)["model.layers.0.self_attn.o_proj.weight"]
    assert torch.equal(theirs, state["layers.0.attn_out.weight"])


def test_openais_own_names_are_read() -> None:
    """No prefix, the causal mask among the weights, the head absent."""
    config, state = SMALL["gpt2"], randomised(SMALL["gpt2"], 32).state_dict()
    theirs = {k.removeprefix("transformer."): t for k, t in to_hugging_face(config, state).items()}
    for i in range(config.n_layer):
        theirs |= {f"h.{i}.attn.bias": torch.ones(1, 1, 48, 48), f"h.{i}.attn.masked_bias": torch.tensor(-1e4)}
    back = from_hugging_face(config, theirs)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


@everywhere
@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers_are_taken_off(config: ModelConfig, prefix: str) -> None:
    state = randomised(config, 32).state_dict()
    wrapped = {prefix + name.replace("0.", "0._orig_mod."): tensor for name, tensor in state.items()}
    out = to_hugging_face(config, wrapped)
    assert all(torch.equal(out[name], tensor) for name, tensor in to_hugging_face(config, state).items())
    back = from_hugging_face(config, {prefix + name: tensor for name, tensor in out.items()})
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def _rows(name: str, rows: int) -> Callable[[State], None]:
    def change(state: State) -> None:
        state[name] = state[name][:rows].contiguous()

    return change


def _swap(first: str, second: str) -> Callable[[State], None]:
    def change(state: State) -> None:
        state[first], state[second] = state[second], state[first]

    return change


def _add(name: str, tensor: torch.Tensor) -> Callable[[State], None]:
    return lambda state: state.update({name: tensor})


BLOCK = "model.layers.1."
FAULTS: dict[str, tuple[str, Callable[[State], None], str]] = {
    "missing": ("modern", lambda s: s.pop(f"{BLOCK}mlp.up_proj.weight"), "up_proj.weight is missing"),
    "head missing": ("modern", lambda s: s.pop("lm_head.weight"), "lm_head.weight is missing"),
    "left over": ("modern", _add(f"{BLOCK}self_attn.q_proj.bias", torch.zeros(32)), "q_proj.bias has no place"),
    "a layer too many": ("gpt2", _add("transformer.h.2.ln_1.bias", torch.zeros(32)), r"h.2.ln_1.bias has no place"),
    "another head": ("gpt2", _add("lm_head.weight", torch.zeros(32, 32)), "lm_head.weight differs"),
    "another head, grouped": ("modern, tied and grouped", _add("lm_head.weight", torch.zeros(32, 32)), "differs"),
    "swapped, same sum": (
        "modern, tied and grouped",
        _swap(f"{BLOCK}self_attn.q_proj.weight", f"{BLOCK}self_attn.v_proj.weight"),
        "q_proj.weight has 32 rows; the config says 64",
    ),
    "too few rows": ("modern", _rows(f"{BLOCK}mlp.gate_proj.weight", 60), "gate_proj.weight has 60 rows"),
    "short positions": ("gpt2", _rows("transformer.wpe.weight", 40), r"wpe.weight has shape \(40, 32\)"),
    "short head": ("modern", _rows("lm_head.weight", 31), r"head.weight has shape \(31, 32\)"),
    "twice": ("gpt2", _add("wte.weight", torch.zeros(32, 32)), "two tensors are called transformer.wte.weight"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_that_does_not_fit_is_refused(fault: str) -> None:
    name, change, message = FAULTS[fault]
    theirs = to_hugging_face(SMALL[name], randomised(SMALL[name], 32).state_dict())
    change(theirs)
    with pytest.raises(UserError, match=message):
        from_hugging_face(SMALL[name], theirs)


@everywhere
def test_a_tied_head_may_be_there_twice(config: ModelConfig) -> None:
    network = randomised(config, 32)
    theirs = to_hugging_face(config, network.state_dict())
    if network.input_rows is network.output_rows:
        table = next(t for name, t in theirs.items() if name.endswith(("wte.weight", "embed_tokens.weight")))
        assert set(from_hugging_face(config, theirs | {"lm_head.weight": table})) == set(network.state_dict())
    else:
        assert not torch.equal(theirs["lm_head.weight"], theirs["model.embed_tokens.weight"])


@everywhere
def test_weights_that_do_not_fit_are_not_exported(config: ModelConfig) -> None:
    state = randomised(config, 32).state_dict()
    with pytest.raises(RunError, match=r"extra.weight has no counterpart"):
        to_hugging_face(config, state | {"extra.weight": torch.zeros(1)})
    name = next(iter(state))
    with pytest.raises(RunError, match=f"{name} is missing"):
        to_hugging_face(config, {n: t for n, t in state.items() if n != name})


class Doubled(torch.nn.Module):
    """Stands for a composition: it has a parameter, and computes row 3 of each table."""

    def __init__(self, factor_out: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))
        self.factor_out = factor_out

    def forward(self, rows_in: torch.Tensor, rows_out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.tensor([3])
        return (
            rows_in.index_copy(0, index, rows_in[:1] * self.factor),
            rows_out.index_copy(0, index, rows_out[:1] * self.factor * self.factor_out),
        )


@everywhere
def test_computed_rows_are_written_and_their_parameters_dropped(config: ModelConfig) -> None:
    network = randomised(config, 32)
    network.composition = Doubled(1.0)
    assert "composition.factor" in network.state_dict()
    plain = config.network(32)
    plain.load_state_dict(from_hugging_face(config, exported_state(network)))
    assert torch.equal(plain.input_rows[3], 2 * network.input_rows[0])
    assert torch.equal(plain.output_rows[3], 2 * network.output_rows[0])
    ids = torch.arange(16)[None]
    assert torch.equal(plain(ids), network(ids))


def test_a_tied_head_cannot_have_rows_of_its_own() -> None:
    network = randomised(SMALL["gpt2"], 32)
    network.composition = Doubled(3.0)
    with pytest.raises(RunError, match="tied"):
        exported_state(network)


OPENAI = {
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
    "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
    "resid_pdrop": 0.1, "vocab_size": 50257,
}  # fmt: skip
QWEN = {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960,
    "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 1000000,
    "sliding_window": None, "tie_word_embeddings": True, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip


def test_configs_as_published_are_read() -> None:
    """GPT-2 small as OpenAI published it and Qwen3-0.6B as written by transformers 4."""
    assert config_from_hugging_face(OPENAI) == GPT2_124M
    qwen = config_from_hugging_face(QWEN)
    assert qwen == ModernConfig(
        28, 16, 1024, 40960, n_kv_head=8, head_width=128, mlp_width=3072, rope_theta=1e6, tied=True
    )
    assert qwen.parameters(151936) == 596_049_920


def test_transformers_and_we_assume_the_same_where_a_config_is_silent() -> None:
    for model_type, config in (("gpt2", OPENAI), ("qwen3", QWEN)):
        sizes = {k: v for k, v in config.items() if isinstance(v, int) and not isinstance(v, bool)}
        sizes = {k: v for k, v in sizes.items() if k not in ("rope_theta", "head_dim")} | {"model_type": model_type}
        full = transformers.AutoConfig.for_model(**sizes).to_dict()
        assert config_from_hugging_face(sizes) == config_from_hugging_face(full)


@pytest.mark.parametrize(
    ("base", "key", "value"),
    [
        (OPENAI, "model_type", "llama"),
        (OPENAI, "activation_function", "relu"),
        (OPENAI, "layer_norm_epsilon", 1e-6),
        (OPENAI, "scale_attn_by_inverse_layer_idx", True),
        (OPENAI, "scale_attn_weights", False),
        (OPENAI, "n_inner", 2048),
        (OPENAI, "n_layer", None),
        (OPENAI, "tie_word_embeddings", False),
        (OPENAI, "quantization_config", {"bits": 4}),
        (QWEN, "hidden_act", "gelu"),
        (QWEN, "rms_norm_eps", 1e-5),
        (QWEN, "attention_bias", True),
        (QWEN, "use_sliding_window", True),
        (QWEN, "layer_types", ["full_attention", "sliding_attention"]),
        (QWEN, "rope_scaling", {"rope_type": "yarn", "factor": 4.0}),
        (QWEN, "rope_parameters", {"rope_type": "default", "rope_theta": 1e6, "factor": 4.0}),
        (QWEN, "hidden_size", "1024"),
    ],
)  # fmt: skip
def test_what_our_networks_do_not_compute_is_refused(base: dict[str, Any], key: str, value: Any) -> None:
    name = {"rope_scaling": "rotary", "rope_parameters": "rotary"}.get(key, key)
    with pytest.raises(UserError, match=name):
        config_from_hugging_face(base | {key: value})


def test_presets_come_back() -> None:
    theirs = transformers.Qwen3Config(
        vocab_size=64, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=6,
        num_key_value_heads=6, head_dim=128, max_position_embeddings=1024, tie_word_embeddings=True,
    )  # fmt: skip
    assert config_from_hugging_face(theirs.to_dict()) == MODERN_124M

"""The size of a network from a `config.json` of transformers; refuses what our networks do not compute.

Dropout and initialisation are ignored: they say nothing about what the weights compute.
"""

from typing import Any

from vocablab.base.errors import UserError
from vocablab.model.gpt2 import LAYER_NORM_EPSILON, GPT2Config
from vocablab.model.modern import RMS_NORM_EPSILON, ROPE_THETA, ModernConfig
from vocablab.model.network import ModelConfig

GPT2_SETTINGS: dict[str, Any] = {
    "activation_function": "gelu_new",
    "layer_norm_epsilon": LAYER_NORM_EPSILON,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "quantization_config": None,
}
"""What our GPT-2 is; each value is also what transformers assumes if the key is absent."""
QWEN3_SETTINGS: dict[str, Any] = {
    "hidden_act": "silu",
    "rms_norm_eps": RMS_NORM_EPSILON,
    "attention_bias": False,
    "use_sliding_window": False,
    "quantization_config": None,
}
"""The same for `Modern`."""
QWEN3_HEAD_DIM = 128
"""What transformers assumes if the key is absent, whatever the width."""


def config_from_hugging_face(config: dict[str, Any]) -> ModelConfig:
    """The network that computes what transformers would with this config.

    Raises:
        UserError: for another architecture, a missing size, or a setting that none of our networks has.
    """
    match config.get("model_type"):
        case "gpt2":
            return _gpt2(config)
        case "qwen3":
            return _qwen3(config)
        case other:
            raise UserError(f"config.json: model_type is {other!r}; vocablab has the networks of gpt2 and qwen3.")


def _gpt2(config: dict[str, Any]) -> GPT2Config:
    _require(config, GPT2_SETTINGS)
    width = _size(config, "n_embd")
    if config.get("n_inner") not in (None, 4 * width):
        raise UserError(f"config.json: n_inner is {config['n_inner']!r}; our GPT-2 has 4 * n_embd = {4 * width}.")
    return GPT2Config(
        n_layer=_size(config, "n_layer"),
        n_head=_size(config, "n_head"),
        n_embd=width,
        n_positions=_size(config, "n_positions"),
    )


def _qwen3(config: dict[str, Any]) -> ModernConfig:
    _require(config, QWEN3_SETTINGS)
    for kind in config.get("layer_types") or []:
        if kind != "full_attention":
            raise UserError(f"config.json: layer_types has {kind!r}; our network has full attention in every layer.")
    sizes = {
        "n_layer": _size(config, "num_hidden_layers"),
        "n_head": _size(config, "num_attention_heads"),
        "n_embd": _size(config, "hidden_size"),
        "n_positions": _size(config, "max_position_embeddings"),
    }
    theta, tied = _rope_theta(config), bool(config.get("tie_word_embeddings", False))
    heads = None if config.get("num_key_value_heads") is None else _size(config, "num_key_value_heads")
    head_width = int(config.get("head_dim", QWEN3_HEAD_DIM))
    mlp_width = _size(config, "intermediate_size")
    # None wherever that says the same, so that a config comes back as it was declared.
    return ModernConfig(
        **sizes,
        n_kv_head=None if heads == sizes["n_head"] else heads,
        head_width=None if head_width * sizes["n_head"] == sizes["n_embd"] else head_width,
        mlp_width=None if mlp_width == ModernConfig(1, 1, sizes["n_embd"], 1).mlp_hidden else mlp_width,
        rope_theta=theta,
        tied=tied,
    )


def _rope_theta(config: dict[str, Any]) -> float:
    """Base of the wavelengths: transformers 5 keeps it in `rope_parameters`, 4 beside `rope_scaling`."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default" or set(rope) - {"rope_type", "type", "rope_theta"}:
        raise UserError(f"config.json: the rotary positions are {rope!r}; our network does not scale them.")
    return float(rope.get("rope_theta", config.get("rope_theta", ROPE_THETA)))


def _require(config: dict[str, Any], settings: dict[str, Any]) -> None:
    for key, value in settings.items():
        if config.get(key, value) != value:
            raise UserError(f"config.json: {key} is {config[key]!r}; our {config['model_type']} has {value!r}.")


def _size(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"config.json: {key} is {value!r}; a positive integer is wanted.")
    return value

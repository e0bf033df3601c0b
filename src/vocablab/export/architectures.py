"""Transformers' model for each of our networks, and what it takes to compare the two in float64."""

import functools

import torch
import transformers
from torch import Tensor, nn
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from vocablab.base.errors import RunError
from vocablab.model.gpt2 import LAYER_NORM_EPSILON, GPT2Config
from vocablab.model.modern import RMS_NORM_EPSILON, ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.vocab.vocabulary import Vocabulary


def counterpart(config: ModelConfig, vocabulary: Vocabulary) -> transformers.PreTrainedModel:
    """Their model of the same architecture and size; the weights are not yet ours.

    Raises:
        RunError: if transformers has none.
    """
    match config:
        case GPT2Config():
            return transformers.GPT2LMHeadModel(_gpt2(config, vocabulary))
        case ModernConfig():
            return transformers.Qwen3ForCausalLM(_qwen3(config, vocabulary))
    raise RunError(f"rule 6: {type(config).__name__} has no counterpart in transformers.")


def _gpt2(config: GPT2Config, vocabulary: Vocabulary) -> transformers.GPT2Config:
    return transformers.GPT2Config(
        vocab_size=vocabulary.padded_size,
        n_positions=config.n_positions,
        n_embd=config.n_embd,
        n_layer=config.n_layer,
        n_head=config.n_head,
        activation_function="gelu_new",
        layer_norm_epsilon=LAYER_NORM_EPSILON,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=vocabulary.eos_id,
        eos_token_id=vocabulary.eos_id,
        pad_token_id=vocabulary.eos_id,
    )


def _qwen3(config: ModernConfig, vocabulary: Vocabulary) -> transformers.Qwen3Config:
    theirs = transformers.Qwen3Config(
        vocab_size=vocabulary.padded_size,
        hidden_size=config.n_embd,
        intermediate_size=config.mlp_hidden,
        num_hidden_layers=config.n_layer,
        num_attention_heads=config.n_head,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        hidden_act="silu",
        max_position_embeddings=config.n_positions,
        rms_norm_eps=RMS_NORM_EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        attention_bias=False,
        tie_word_embeddings=config.tied,
        bos_token_id=vocabulary.eos_id,
        eos_token_id=vocabulary.eos_id,
        # No pad_token_id: their embedding takes it as `padding_idx` and never trains that row, which is EOS's here. The
        # tokenizer and the generation config have it.
    )
    # Transformers 4, and vLLM's releases for it, look for it here and else assume a value of their own.
    theirs.rope_theta = config.rope_theta
    return theirs


def exact(theirs: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """Make a loaded model compute in float64 throughout.

    Transformers norms Qwen3's activations in float32 whatever the model's type, and its rounding would hide a small
    mistake. The same formula without the cast takes its place, after it has been seen to agree in float32.

    Raises:
        RunError: if a norm of theirs is another formula.
    """
    for module in theirs.modules():
        if isinstance(module, Qwen3RMSNorm):
            probe = torch.linspace(-2, 3, len(module.weight), dtype=module.weight.dtype)
            if not torch.allclose(module(probe), _norm(module, probe), rtol=1e-4, atol=1e-5):
                raise RunError("rule 6: this version of transformers norms Qwen3 by another formula.")
            module.forward = functools.partial(_norm, module)
    return theirs.double()


def _norm(module: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = nn.functional.rms_norm(x, x.shape[-1:], module.weight, module.variance_epsilon)  # type: ignore[arg-type]
    return out

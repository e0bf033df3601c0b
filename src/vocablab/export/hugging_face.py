"""A trained GPT-2 as a directory that `AutoModelForCausalLM` and `AutoTokenizer` load with no remote code.

Hugging Face's GPT-2 stores its projections as `Conv1D`, (in, out), the transpose of `nn.Linear`. For the
square ``attn.c_proj`` a missing transpose changes no shape, so nothing but a comparison of outputs can see
it: `verify` loads the written directory back and compares logits before anything is published.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationConfig, GPT2LMHeadModel, PreTrainedTokenizerFast

from vocablab.base.errors import RunError
from vocablab.base.random_streams import numpy_stream
from vocablab.model.gpt2 import GPT2
from vocablab.vocab.codec import Codec, save_codec
from vocablab.vocab.standard_tokenizers import hugging_face_tokenizer
from vocablab.vocab.vocabulary import EOS

TOLERANCE = 1e-6
"""Largest allowed difference between logits of the same float32 weights, computed in float64.

In float32 an honest export of sound weights was once 1.3e-4 off (`docs/log.md`, 2026-11-24): rounding and a mutant
cannot be told apart there. In float64 an honest export is within 1e-10, so the bound can be tighter than 1e-4.
"""
PROOF_TOKENS = 2048
"""Tokens compared at a time: the proof of 10,000 added ids must not hold all its logits at once."""
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
"""Endings of the matrices that are `Conv1D` in Hugging Face's GPT-2."""


def converted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters under Hugging Face's names and layouts; the tied head is written by Hugging Face itself."""
    return {k: (v.t() if k.endswith(TRANSPOSED) else v).detach().cpu().contiguous() for k, v in state.items()}


def export(model: GPT2, codec: Codec, directory: Path) -> dict[str, Any]:
    """Write model, tokenizer, generation config and codec into `directory`, and prove them.

    Returns:
        Counts for the record with the gate of rule 6.

    Raises:
        RunError: if any tensor has no place or the logits differ; the caller then publishes nothing.
    """
    model = model.cpu().eval()
    write_model(model, codec, directory)
    write_tokenizer(codec, directory, model.config.n_positions)
    save_codec(codec, directory)
    difference, compared = verify(model, codec, directory)
    return {
        "largest_logit_difference": difference,
        "gates": [
            {
                "rule": 6,
                "name": "Exported logits equal the trained ones",
                "passed": True,
                "detail": f"largest difference {difference:.1e} over {compared} tokens, every added id among them",
            }
        ],
    }


def write_model(model: GPT2, codec: Codec, directory: Path) -> None:
    """Write `model.safetensors` and `config.json`.

    Raises:
        RunError: for a tensor that is left over on either side.
    """
    size, vocabulary = model.config, codec.vocabulary
    config = transformers.GPT2Config(
        vocab_size=vocabulary.padded_size,
        n_positions=size.n_positions,
        n_embd=size.n_embd,
        n_layer=size.n_layer,
        n_head=size.n_head,
        activation_function="gelu_new",
        layer_norm_epsilon=1e-5,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=vocabulary.eos_id,
        eos_token_id=vocabulary.eos_id,
        pad_token_id=vocabulary.eos_id,
    )
    theirs = GPT2LMHeadModel(config).to(torch.float32)
    missing, unexpected = theirs.load_state_dict(converted(model.state_dict()), strict=False)
    left = [*unexpected, *(name for name in missing if name != "lm_head.weight")]
    if left:
        raise RunError(f"rule 6: the tensor {left[0]} has no counterpart in the exported model.")
    theirs.tie_weights()
    nameless = list(range(vocabulary.size, vocabulary.padded_size))
    theirs.generation_config = GenerationConfig(
        bos_token_id=vocabulary.eos_id,
        eos_token_id=vocabulary.eos_id,
        pad_token_id=vocabulary.eos_id,
        suppress_tokens=nameless or None,
    )
    theirs.save_pretrained(directory)


def write_tokenizer(codec: Codec, directory: Path, context: int) -> None:
    """Write a standard tokenizer that pads with EOS and leaves spaces alone."""
    PreTrainedTokenizerFast(
        tokenizer_object=hugging_face_tokenizer(codec.vocabulary),
        eos_token=EOS,
        bos_token=EOS,
        pad_token=EOS,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(directory)


def proof_prompts(codec: Codec, context: int) -> Tensor:
    """Token ids, shape (n, T), that hold every added id and as many random base ids among them."""
    vocabulary = codec.vocabulary
    rng = numpy_stream(0, "export proof")
    added = np.arange(vocabulary.base_size, vocabulary.size)
    ids = rng.permutation(np.concatenate([added, rng.integers(0, vocabulary.base_size, size=len(added) + context)]))
    width = min(context, 64)
    rows = -(-len(ids) // width)
    return torch.from_numpy(np.resize(ids, rows * width).reshape(rows, width).astype(np.int64))


@torch.no_grad()
def verify(model: nn.Module, codec: Codec, directory: Path) -> tuple[float, int]:
    """Load the directory as a user would and compare logits with `model`'s: float32 weights, float64 arithmetic.

    Returns:
        The largest difference and the number of tokens compared.

    Raises:
        RunError: if it does not load, has another vocabulary, or differs by more than `TOLERANCE`.
    """
    theirs = AutoModelForCausalLM.from_pretrained(directory, local_files_only=True, dtype=torch.float32).eval()
    ids = proof_prompts(codec, theirs.config.n_positions)
    ours, theirs = copy.deepcopy(model).double(), theirs.double()
    difference = 0.0
    for rows in ids.split(max(1, PROOF_TOKENS // ids.shape[1])):
        ours_logits, their_logits = ours(rows), theirs(rows).logits
        if ours_logits.shape != their_logits.shape:
            raise RunError(
                f"rule 6: exported logits have shape {tuple(their_logits.shape)}, not {tuple(ours_logits.shape)}."
            )
        here = float((ours_logits - their_logits).abs().max())
        if not here <= TOLERANCE:
            raise RunError(f"rule 6: exported logits differ by {here:.2e} (at most {TOLERANCE:g}): nothing published.")
        difference = max(difference, here)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    for name, index in codec.vocabulary.added_ids.items():
        if tokenizer.convert_tokens_to_ids(name) != index:
            raise RunError(f"rule 6: the exported tokenizer gives {name} another id than {index}.")
    return difference, int(ids.numel())

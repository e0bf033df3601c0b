"""A trained network as a directory that `AutoModelForCausalLM` and `AutoTokenizer` load with no remote code.

A wrong layout may change no shape (GPT-2's square ``attn.c_proj``, Qwen3's query and key), so nothing but a
comparison of outputs can see it: `verify` loads the written directory back and compares logits before anything is
published.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from vocablab.base.errors import RunError
from vocablab.base.random_streams import numpy_stream
from vocablab.corpus.lost_form import FormCode
from vocablab.export.architectures import counterpart, exact
from vocablab.export.model_card import CARD_FILE, model_card
from vocablab.model.hugging_face import HEAD, exported_state
from vocablab.model.network import Network
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


def export(model: Network, codec: Codec, directory: Path, forms: FormCode, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write model, tokenizer, generation config, codec and model card into `directory`, and prove them.

    Args:
        model: the trained network.
        codec: of its arm.
        directory: where to; exists.
        forms: what a replacement's lost form costs.
        card: what is known of the training, for the model card (`vocablab.export.model_card`).

    Returns:
        Counts for the record with the gate of rule 6.

    Raises:
        RunError: if any tensor has no place or the logits differ; the caller then publishes nothing.
    """
    # Transformers' bars for a second of work would stand among ours.
    disable_progress_bar()
    model = model.cpu().eval()
    write_model(model, codec, directory)
    write_tokenizer(codec, directory, model.config.n_positions)
    save_codec(codec, directory)
    forms.save(directory)
    difference, compared = verify(model, codec, directory)
    text = model_card(model.config, codec, card, difference, compared)
    (directory / CARD_FILE).write_text(text, encoding="utf-8")
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


def write_model(model: Network, codec: Codec, directory: Path) -> None:
    """Write `model.safetensors` and `config.json`.

    Raises:
        RunError: for a tensor that is left over on either side.
    """
    vocabulary, state = codec.vocabulary, exported_state(model)
    theirs = counterpart(model.config, vocabulary).to(torch.float32)
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    tied = model.input_rows is model.output_rows
    left = [*unexpected, *(name for name in missing if not (tied and name == HEAD))]
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


def proof_prompts(codec: Codec, context: int) -> list[Tensor]:
    """Batches of token ids, each of shape (n, T), that hold every added id and as many random base ids among them.

    Short rows, since attention over a long one averages differences away; and one as long as the context, so that
    every position is proved.
    """
    vocabulary = codec.vocabulary
    rng = numpy_stream(0, "export proof")
    added = np.arange(vocabulary.base_size, vocabulary.size)
    ids = rng.permutation(np.concatenate([added, rng.integers(0, vocabulary.base_size, size=len(added) + context)]))
    width = min(context, 64)
    rows = -(-len(ids) // width)
    short = torch.from_numpy(np.resize(ids, rows * width).reshape(rows, width).astype(np.int64))
    long = torch.from_numpy(rng.integers(0, vocabulary.size, size=(1, context)))
    return [*short.split(max(1, PROOF_TOKENS // width)), long]


@torch.no_grad()
def verify(model: Network, codec: Codec, directory: Path) -> tuple[float, int]:
    """Load the directory as a user would and compare logits with `model`'s: float32 weights, float64 arithmetic.

    Returns:
        The largest difference and the number of tokens compared.

    Raises:
        RunError: if it does not load, has another vocabulary, or differs by more than `TOLERANCE`.
    """
    theirs = _loaded(directory)
    sizes = (theirs.config.vocab_size, theirs.config.max_position_embeddings)
    expected = (codec.vocabulary.padded_size, model.config.n_positions)
    if sizes != expected:
        raise RunError(f"rule 6: the exported model has vocabulary and context {sizes}, not {expected}.")
    # Transformers keeps two tables that it finds in the file whatever the config says; vLLM believes the config.
    if theirs.config.tie_word_embeddings != (model.input_rows is model.output_rows):
        raise RunError("rule 6: the exported config says otherwise than the network whether the head is tied.")
    batches = proof_prompts(codec, model.config.n_positions)
    # Rows are composed in float32, as they were written.
    rows_in, rows_out = (table.double() for table in model.tables())
    ours, theirs = copy.deepcopy(model).double(), exact(theirs)
    difference = 0.0
    for rows in batches:
        ours_logits, their_logits = F.linear(ours.hidden(rows, rows_in), rows_out), theirs(rows).logits
        here = float((ours_logits - their_logits).abs().max())
        if not here <= TOLERANCE:
            raise RunError(f"rule 6: exported logits differ by {here:.2e} (at most {TOLERANCE:g}): nothing published.")
        difference = max(difference, here)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    for name, index in codec.vocabulary.added_ids.items():
        if tokenizer.convert_tokens_to_ids(name) != index:
            raise RunError(f"rule 6: the exported tokenizer gives {name} another id than {index}.")
    return difference, sum(rows.numel() for rows in batches)


def _loaded(directory: Path) -> PreTrainedModel:
    """The model, if every tensor of file and model is in the other: transformers starts a missing one anew."""
    try:
        theirs, info = AutoModelForCausalLM.from_pretrained(
            directory, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    # Transformers and what it reads with raise a dozen classes, none of them in common.
    except Exception as error:
        raise RunError(f"rule 6: the exported model does not load: {str(error).strip().splitlines()[0]}") from error
    left = sorted([*info["missing_keys"], *info["unexpected_keys"]])
    if left:
        raise RunError(f"rule 6: the tensor {left[0]} has no counterpart in the exported model.")
    return theirs.eval()

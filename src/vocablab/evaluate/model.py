"""A model with all that scoring it takes."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from vocablab.base.errors import RunError, UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.packing import Branch, Tree, packs
from vocablab.model.own_network import own_network
from vocablab.model.pretrained import does_not_load, load_causal_model
from vocablab.model.reader import NetworkReader, Reader, TransformersReader
from vocablab.vocab.codec import INTERVENTION_FILE, Codec, load_codec
from vocablab.vocab.foreign import foreign_codec
from vocablab.vocab.intervention import NoChange

PROBE = 48
"""Tokens on which two ways to compute a model are compared when it is loaded."""
AGREEMENT = 1e-3
"""Largest difference of logits there, relative to the largest logit (float32 rounding is below 1e-4)."""

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Files of which a tokenizer has at least one."""


@dataclass(frozen=True)
class Loaded:
    """A model, the codec of its arm, and the price of lost forms."""

    reader: Reader
    """The model."""
    codec: Codec
    """How its arm encodes raw text."""
    forms: FormCode
    """What a replacement's lost form costs, from the texts the model learned last."""

    @property
    def context(self) -> int:
        """Longest input in tokens."""
        return self.reader.context

    @cached_property
    def nameless(self) -> list[int]:
        """Ids that have a row and no token: never emitted."""
        return self.codec.nameless(self.reader.vocabulary)

    @property
    def plain(self) -> "Loaded":
        """The same model reading text without its intervention."""
        return replace(self, codec=replace(self.codec, intervention=NoChange()), forms=FormCode.empty())


def load(directory: Path, device: str) -> Loaded:
    """Load a model from its Hugging Face directory; never asks the network.

    GPT-2 and Qwen3 are computed by our own networks from these weights, others by transformers. Either way the logits
    are compared with those of transformers' plain forward pass before anything is scored.

    Args:
        directory: exported by vocablab, or any with config, weights and tokenizer. Only an exported one has an
            intervention; without its files the model is read as plain text.
        device: where to put it.

    Raises:
        UserError: if something is missing or of a kind that cannot be scored.
        RunError: if the two computations disagree.
    """
    theirs = load_causal_model(directory)
    codec, forms = _codec(directory, theirs)
    network = own_network(theirs)
    context = _context(theirs.config, directory)
    reader: Reader = TransformersReader(theirs, context) if network is None else NetworkReader(network)
    _require_agreement(theirs, reader, directory)
    if network is None:
        return Loaded(TransformersReader(theirs.to(device), context), codec, forms)
    return Loaded(NetworkReader(network.to(device)), codec, forms)


def _context(config: Any, directory: Path) -> int:
    """Positions on which attention is the full one that masks are made for.

    Raises:
        UserError: for attention of another kind, or a config that does not say.
    """
    kinds = set(getattr(config, "layer_types", None) or [])
    other = kinds - {"full_attention", "sliding_attention"}
    if other:
        raise UserError(f"{directory} has layers of {min(other)}, whose texts cannot share a beginning by a mask.")
    positions, window = getattr(config, "max_position_embeddings", None), getattr(config, "sliding_window", None)
    if not isinstance(positions, int):
        raise UserError(f"{directory / 'config.json'} does not say how many positions the model has.")
    # Within its window, sliding attention sees everything.
    slides = "sliding_attention" in kinds or not kinds
    return min(positions, window) if slides and window else positions


def _codec(directory: Path, theirs: Any) -> tuple[Codec, FormCode]:
    if (directory / INTERVENTION_FILE).exists():
        codec = load_codec(directory)
        rows = theirs.get_output_embeddings().weight.shape[0]
        if rows != codec.vocabulary.padded_size:
            raise UserError(
                f"{directory} has {rows} rows in its head and a vocabulary of {codec.vocabulary.padded_size}."
            )
        return codec, FormCode.load(directory)
    # Where all are missing, transformers makes an empty tokenizer for some architectures.
    if not any((directory / name).exists() for name in TOKENIZERS):
        raise UserError(f"the tokenizer of {directory} is missing: there is none of {', '.join(TOKENIZERS)}.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except Exception as error:
        raise does_not_load(f"the tokenizer of {directory}", error) from None
    end = tokenizer.eos_token_id
    if end is None or not tokenizer.is_fast:
        raise UserError(f"the tokenizer of {directory} has no end-of-text token, or no fast version (tokenizer.json).")
    rows = theirs.get_output_embeddings().weight.shape[0]
    return foreign_codec(tokenizer.backend_tokenizer, int(end), rows), FormCode.empty()


@torch.inference_mode()
def _require_agreement(theirs: Any, reader: Reader, directory: Path) -> None:
    """Two texts with a common beginning, read as one tree by the reader and one by one by transformers."""
    length = min(PROBE, reader.context)
    rng = np.random.default_rng(0)
    texts = rng.integers(0, reader.vocabulary, (2, length))
    half = length // 2
    texts[1, :half] = texts[0, :half]
    everything = np.ones(length - half, dtype=bool)
    tree = Tree(texts[0, :half], tuple(Branch(i, text[half:], everything) for i, text in enumerate(texts)))
    (packed,) = packs([tree], 1, PROBE, 0)
    mask = torch.zeros(packed.sees_RTT.shape).masked_fill_(~packed.sees_RTT, reader.lowest).unsqueeze(1)
    states = reader.states(packed.ids_RT, packed.positions_RT, mask)
    ours = reader.scores(states[packed.places_N2[:, 0], packed.places_N2[:, 1]])
    plain = theirs(torch.from_numpy(texts)).logits[:, half - 1 : -1].flatten(0, 1)
    difference = float((ours - plain).abs().max() / plain.abs().max().clamp(min=1))
    if not difference <= AGREEMENT:
        raise RunError(
            f"{directory}: logits differ by {difference:.1e} from those of transformers' forward pass; a model whose "
            "attention or head works otherwise cannot be scored."
        )

"""Models whose rows hold what a test planted, so that a probe's answer is known."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from support.models import make_codec

from vocablab.base.random_streams import numpy_stream
from vocablab.probe.subject import Subject, facts_of
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.meaning import token_meanings

WIDTH = 64
NOISE = 0.3
"""Noise of a planted row, per dimension, where the signal is about 1."""


@functools.lru_cache(maxsize=1)
def codec() -> Codec:
    """The 45 products of 1 to 9 on a base of 300 tokens."""
    return make_codec(FactTokens())


def subject(
    rows: np.ndarray | None = None,
    exposures: np.ndarray | None = None,
    initial: dict[str, np.ndarray] | None = None,
    layers: int = 2,
    tied: bool = True,
) -> Subject:
    """A random GPT-2 whose added tokens have the given rows (N, D)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    arm = codec()
    torch.manual_seed(0)
    size = arm.vocabulary.padded_size
    config = GPT2Config(
        vocab_size=size, n_embd=WIDTH, n_layer=layers, n_head=2, n_positions=64, tie_word_embeddings=tied
    )
    config._attn_implementation = "eager"
    model = GPT2LMHeadModel(config).eval()
    ids = tuple(arm.vocabulary.added_ids[name] for name in arm.vocabulary.added)
    if rows is not None:
        with torch.no_grad():
            for table in (model.get_input_embeddings(), model.get_output_embeddings()):
                table.weight[list(ids)] = torch.tensor(rows, dtype=torch.float32)
    meanings = token_meanings(arm.vocabulary, arm.intervention)
    return Subject("planted", model, arm, ids, meanings, facts_of(arm), initial, exposures)


@dataclass(frozen=True)
class Numbers:
    """What the 45 facts are about."""

    first: np.ndarray
    second: np.ndarray
    answer: np.ndarray


@functools.lru_cache(maxsize=1)
def numbers() -> Numbers:
    """Operands and answers of the 45 facts, in the order of the ids."""
    facts = [fact for fact in facts_of(codec()) if fact is not None]
    return Numbers(
        np.array([f.operands[0] for f in facts]),
        np.array([f.operands[1] for f in facts]),
        np.array([f.answer for f in facts]),
    )


def random_exposures(seed: int = 0) -> np.ndarray:
    """Counts over three orders of magnitude that have nothing to do with the facts."""
    return np.exp(numpy_stream(seed, "planted exposures").uniform(np.log(10), np.log(10_000), 45)).astype(int)


def noise(seed: int, *name: str) -> np.ndarray:
    """Standard normal rows (45, D)."""
    return numpy_stream(seed, "planted", *name).normal(size=(45, WIDTH))


def operand_rows(seed: int = 0) -> np.ndarray:
    """A random linear map of both operands, one-hot, and noise."""
    maps = numpy_stream(seed, "planted map").normal(size=(2, 10, WIDTH))
    return maps[0][numbers().first] + maps[1][numbers().second] + NOISE * noise(seed)


def along(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """One direction times standardised `values`, and noise."""
    direction = numpy_stream(seed, "planted direction").normal(size=WIDTH)
    return np.outer((values - values.mean()) / values.std(), direction) + NOISE * noise(seed)


def frequency_rows(seed: int = 0) -> np.ndarray:
    """Nothing but how often a token was seen."""
    return along(np.log(random_exposures(seed)), seed)


def magnitude_rows(seed: int = 0) -> np.ndarray:
    """Nothing but the size of the product."""
    return along(np.log(numbers().answer), seed)


def circle_rows(period: int, seed: int = 0) -> np.ndarray:
    """A cosine and a sine of the product, and noise."""
    angle = 2 * np.pi * numbers().answer / period
    directions = numpy_stream(seed, "planted circle").normal(size=(2, WIDTH))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) @ directions + NOISE * noise(seed)

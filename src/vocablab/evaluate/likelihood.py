"""How many bits a model needs for a text.

A continuation is scored by its span of the raw text (rule 8): prompt and continuation are encoded together,
and every token that ends inside the continuation counts, whole. So a merge across the boundary can neither
empty nor shift it. What replacements in it lose is charged on top (rule 5), so that the sum is a code length
of the raw bytes in every arm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from vocablab.base.errors import RunError
from vocablab.evaluate.model import Loaded


@dataclass(frozen=True)
class Scored:
    """What a text cost."""

    bits: float
    """Minus log2 of its probability, and the bits that say the lost form of every replacement in it."""
    raw_bytes: int
    """Its UTF-8 bytes."""
    n_tokens: int
    """Tokens that were scored."""


@dataclass(frozen=True)
class _Window:
    owner: int
    ids: np.ndarray
    scored: np.ndarray  # bool, for each of ids[1:]


def score_continuations(loaded: Loaded, pairs: Sequence[tuple[str, str, str]], batch_size: int) -> list[Scored]:
    """Bits of each continuation given its prompt.

    Args:
        loaded: the model.
        pairs: (document name, prompt, continuation); a prompt may be empty.
        batch_size: sequences per forward pass; does not change a result.

    Raises:
        RunError: if a continuation alone is longer than the context.
    """
    windows, lost = [], []
    for owner, (name, prompt, continuation) in enumerate(pairs):
        spans = loaded.codec.intervention.spans(prompt + continuation, name)
        lost.append(loaded.forms.bits([span for span in spans if span.end > len(prompt)]))
        encoded = loaded.codec.encode_spans(prompt + continuation, spans)
        ids = np.append(loaded.codec.vocabulary.eos_id, encoded.ids)
        scored = encoded.ends > len(prompt)
        # A model with n positions reads n tokens: all but the last, which is only predicted.
        cut = max(0, len(ids) - 1 - loaded.context)
        if scored[:cut].any():
            raise RunError(f"the continuation of {name} is longer than the model's context of {loaded.context} tokens.")
        windows.append(_Window(owner, ids[cut:], scored[cut:]))
    sizes = [len(continuation.encode("utf-8", "surrogatepass")) for _, _, continuation in pairs]
    return _collect(loaded, windows, sizes, lost, batch_size)


def score_documents(loaded: Loaded, documents: Sequence[tuple[str, str]], batch_size: int) -> list[Scored]:
    """Bits of whole documents in the arm's own form, the closing EOS and what replacements lost included.

    So the result is a code length of the raw document in every arm (rule 5). Every token is scored exactly
    once: windows of the model's context that overlap by one token.

    Args:
        loaded: the model.
        documents: (name, raw text).
        batch_size: windows per forward pass; does not change a result.
    """
    windows, lost = [], []
    eos = loaded.codec.vocabulary.eos_id
    for owner, (name, text) in enumerate(documents):
        spans = loaded.codec.intervention.spans(text, name)
        lost.append(loaded.forms.bits(spans))
        ids = np.concatenate([[eos], loaded.codec.encode_spans(text, spans).ids, [eos]])
        for start in range(0, len(ids) - 1, loaded.context):
            part = ids[start : start + loaded.context + 1]
            windows.append(_Window(owner, part, np.ones(len(part) - 1, dtype=bool)))
    sizes = [len(text.encode("utf-8", "surrogatepass")) for _, text in documents]
    return _collect(loaded, windows, sizes, lost, batch_size)


def _collect(
    loaded: Loaded, windows: list[_Window], sizes: list[int], lost: list[float], batch_size: int
) -> list[Scored]:
    bits, tokens = list(lost), [0] * len(sizes)
    by_length = sorted(windows, key=lambda w: len(w.ids))
    for start in range(0, len(by_length), batch_size):
        batch = by_length[start : start + batch_size]
        for window, value in zip(batch, _batch_bits(loaded, batch), strict=True):
            bits[window.owner] += value
            tokens[window.owner] += int(window.scored.sum())
    return [Scored(b, size, n) for b, size, n in zip(bits, sizes, tokens, strict=True)]


@torch.no_grad()
def _batch_bits(loaded: Loaded, batch: list[_Window]) -> list[float]:
    longest = max(len(w.ids) for w in batch) - 1
    inputs = torch.full((len(batch), longest), loaded.codec.vocabulary.eos_id)
    targets = torch.full((len(batch), longest), -100)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, window in enumerate(batch):
        n = len(window.ids) - 1
        inputs[row, :n] = torch.from_numpy(window.ids[:-1].astype(np.int64))
        wanted = torch.from_numpy(window.ids[1:].astype(np.int64))
        targets[row, :n] = torch.where(torch.from_numpy(window.scored), wanted, torch.tensor(-100))
        mask[row, :n] = 1
    logits = loaded.model(inputs.to(loaded.device), attention_mask=mask.to(loaded.device)).logits.float()
    nats = F.cross_entropy(logits.transpose(1, 2), targets.to(loaded.device), reduction="none", ignore_index=-100)
    found: list[float] = (nats.double().sum(1) / math.log(2)).cpu().tolist()
    return found

"""How many bits a model needs for a text.

A continuation is scored by its span of the raw text (rule 8): prompt and continuation are encoded together,
and every token that ends inside the continuation counts, whole. So a merge across the boundary can neither
empty nor shift it. What replacements in it lose is charged on top (rule 5), so that the sum is a code length
of the raw bytes in every arm.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from vocablab.evaluate.model import Loaded
from vocablab.evaluate.packing import PASS_TOKENS, PASS_TOKENS_GPU, Branch, Packed, Tree, packs
from vocablab.training.allocator import keep_freed_memory
from vocablab.vocab.intervention import Span

CHUNK_LOGITS = 1 << 24
"""Logits that exist at a time: 64 MiB in float32."""
CACHED_LOGITS = 1 << 22
"""Logits that a CPU normalises at a time: in 16 MiB pieces it is fastest (docs/log.md)."""


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
class _Chain:
    """One text as tokens, with what is scored of it."""

    owner: int
    ids: np.ndarray
    scored: np.ndarray  # for each id; never the first


def score_continuations(
    loaded: Loaded, pairs: Sequence[tuple[str, str, str]], batch_size: int, *, bare: bool = False
) -> list[Scored]:
    """Bits of each continuation given its prompt.

    A prompt is cut from the left to what the context holds, as lm-evaluation-harness does; a continuation longer than
    the context is read in windows, each with at least half a context before what it scores.

    Args:
        loaded: the model.
        pairs: (document name, prompt, continuation); a prompt may be empty. Neighbours with one name and prompt share
            its reading.
        batch_size: prompts per forward pass; does not change a result.
        bare: read the prompt without the end-of-text token before it (it still begins an empty one).
    """
    chains, lost = [], []
    texts = [prompt + continuation for _, prompt, continuation in pairs]
    replaced = [loaded.codec.intervention.spans(text, pair[0]) for text, pair in zip(texts, pairs, strict=True)]
    together = loaded.codec.encode_spans_many(texts, replaced)
    for owner, ((_, prompt, _), spans, encoded) in enumerate(zip(pairs, replaced, together, strict=True)):
        lost.append(loaded.forms.bits([span for span in spans if span.end > len(prompt)]))
        scored = encoded.ends > len(prompt)
        ids = encoded.ids.astype(np.int64)
        if not bare or not len(scored) or scored[0]:
            ids = np.append(loaded.codec.vocabulary.eos_id, ids)
            scored = np.append(False, scored)
        if scored.any():
            chains.append(_Chain(owner, ids, scored))
    groups = groupby(chains, key=lambda chain: pairs[chain.owner][:2])
    trees = [tree for _, group in groups for tree in _trees(list(group), loaded.context)]
    sizes = [_bytes(continuation) for _, _, continuation in pairs]
    return _collect(loaded, trees, sizes, lost, batch_size)


def score_documents(
    loaded: Loaded, documents: Sequence[tuple[str, str]], batch_size: int, *, outside: bool = False
) -> list[Scored]:
    """Bits of whole documents in the arm's own form, the closing EOS and what replacements lost included.

    So the result is a code length of the raw document in every arm (rule 5). Every token is scored exactly
    once: windows of the model's context that overlap by one token.

    Args:
        loaded: the model.
        documents: (name, raw text).
        batch_size: windows per forward pass; does not change a result.
        outside: count only what no replacement touches: its tokens, its bytes, no lost forms.
    """
    trees, lost, sizes = [], [], []
    eos = loaded.codec.vocabulary.eos_id
    for owner, (name, text) in enumerate(documents):
        spans = loaded.codec.intervention.spans(text, name)
        encoded = loaded.codec.encode_spans(text, spans)
        inside = _inside(loaded, spans, encoded.ids, encoded.ends) if outside else np.zeros(len(encoded.ids), bool)
        lost.append(0.0 if outside else loaded.forms.bits(spans))
        sizes.append(_bytes(text) - sum(_bytes(text[s.start : s.end]) for s in spans if outside))
        ids = np.concatenate([[eos], encoded.ids, [eos]]).astype(np.int64)
        scored = np.concatenate([[False], ~inside, [True]])
        for first in range(0, len(ids) - 1, loaded.context):
            part = slice(first + 1, first + loaded.context + 1)
            trees.append(Tree(ids[first : first + 1], (Branch(owner, ids[part], scored[part]),)))
    return _collect(loaded, trees, sizes, lost, batch_size)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _inside(loaded: Loaded, spans: list[Span], ids: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Which tokens stand for a replaced stretch, or for what was put in."""
    found = np.isin(ids, list(loaded.codec.vocabulary.added_ids.values()))
    for span in spans:
        found |= (ends > span.start) & (ends <= span.end)
    return found


def _trees(chains: list[_Chain], context: int) -> Iterator[Tree]:
    """Continuations of one prompt as one tree; what does not fit the context stands alone."""
    # A model with n positions reads n tokens: all but the last, which is only predicted.
    long = [chain for chain in chains if len(chain.ids) > context + 1]
    fitting = [chain for chain in chains if len(chain.ids) <= context + 1]
    for chain in long:
        yield from _windows(chain, context)
    if fitting:
        start = _shared(fitting)
        yield Tree(
            fitting[0].ids[:start],
            tuple(Branch(chain.owner, chain.ids[start:], chain.scored[start:]) for chain in fitting),
        )


def _shared(chains: list[_Chain]) -> int:
    """How many first tokens all chains have in common, none of them scored and none a chain's last."""
    most = min(int(np.argmax(chain.scored)) for chain in chains)
    first = chains[0].ids[:most]
    for chain in chains[1:]:
        differs = np.flatnonzero(chain.ids[: len(first)] != first)
        first = first[: differs[0]] if len(differs) else first
    return max(1, len(first))


def _windows(chain: _Chain, context: int) -> Iterator[Tree]:
    """The last tokens that fit; and, if more are scored, windows before them, each scoring what the next does not."""
    stop = len(chain.ids)
    first = int(np.argmax(chain.scored))
    while True:
        begin = max(0, stop - context - 1)
        # All of the window if that reaches the first one scored, else its second half.
        reach = first if begin < first else max(begin + 1, stop - max(1, context // 2))
        scored = chain.scored[begin + 1 : stop].copy()
        scored[: reach - begin - 1] = False
        yield Tree(chain.ids[begin : begin + 1], (Branch(chain.owner, chain.ids[begin + 1 : stop], scored),))
        if reach <= first:
            return
        stop = reach


def _collect(loaded: Loaded, trees: list[Tree], sizes: list[int], lost: list[float], batch_size: int) -> list[Scored]:
    bits = np.array(lost, dtype=np.float64)
    tokens = np.zeros(len(sizes), dtype=np.int64)
    most = PASS_TOKENS if loaded.reader.device.type == "cpu" else PASS_TOKENS_GPU
    if loaded.reader.device.type == "cpu":
        keep_freed_memory()
    for packed in packs(trees, batch_size, most, loaded.codec.vocabulary.eos_id):
        nats = _nats(loaded, packed)
        np.add.at(bits, packed.owners_N, nats / math.log(2))
        np.add.at(tokens, packed.owners_N, 1)
    return [Scored(float(b), size, int(n)) for b, size, n in zip(bits, sizes, tokens, strict=True)]


@torch.inference_mode()
def _nats(loaded: Loaded, packed: Packed) -> np.ndarray:
    """Minus the log-probability of every scored token, float64, shape (N,)."""
    reader, device = loaded.reader, loaded.reader.device
    mask = torch.zeros(packed.sees_RTT.shape, dtype=reader.dtype, device=device)
    mask.masked_fill_(~packed.sees_RTT.to(device), reader.lowest)
    states_RTD = reader.states(packed.ids_RT.to(device), packed.positions_RT.to(device), mask.unsqueeze(1))
    places, targets = packed.places_N2.to(device), packed.targets_N.to(device)
    states_ND = states_RTD[places[:, 0], places[:, 1]]
    rows = max(1, CHUNK_LOGITS // reader.vocabulary)
    found = [
        surprisal(reader.scores(states_ND[i : i + rows]), targets[i : i + rows]) for i in range(0, len(targets), rows)
    ]
    out: np.ndarray = torch.cat(found).double().cpu().numpy()
    return out


def surprisal(scores_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Minus log-softmax at the targets, in float32: shape (N,)."""
    rows = len(scores_NV) if scores_NV.is_cuda else max(1, CACHED_LOGITS // scores_NV.shape[1])
    buffer = torch.empty((min(rows, len(scores_NV)), scores_NV.shape[1]), device=scores_NV.device)
    out = torch.empty(len(scores_NV), device=scores_NV.device)
    for i in range(0, len(scores_NV), rows):
        part = scores_NV[i : i + rows].float()
        logs = torch.log_softmax(part, -1, out=buffer[: len(part)])  # type: ignore[call-overload]
        out[i : i + rows] = -logs.gather(1, targets_N[i : i + rows].unsqueeze(1))[:, 0]
    return out


def next_token_bits(
    loaded: Loaded, prompts: Sequence[tuple[str, str]], ids: Sequence[int], batch_size: int
) -> np.ndarray:
    """Bits of each of `ids` as the token after each prompt: float64, shape (prompts, ids).

    Args:
        loaded: the model.
        prompts: (document name, raw text).
        ids: the tokens in question.
        batch_size: prompts per forward pass; does not change a result.
    """
    trees = []
    for p, (name, text) in enumerate(prompts):
        start = np.append(loaded.codec.vocabulary.eos_id, loaded.codec.encode(text, name).ids)[-loaded.context :]
        branches = (Branch(p * len(ids) + i, np.array([index]), np.array([True])) for i, index in enumerate(ids))
        trees.append(Tree(start.astype(np.int64), tuple(branches)))
    size = len(prompts) * len(ids)
    scored = _collect(loaded, trees, [0] * size, [0.0] * size, batch_size)
    return np.array([one.bits for one in scored]).reshape(len(prompts), len(ids))

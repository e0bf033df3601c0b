"""Forward passes of transformers' own model over many short texts, with what probes take from them.

Shapes: B texts of a pass, T tokens, D width, L layers, H heads, V tokens that have a name.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vocablab.base.errors import UserError
from vocablab.probe.subject import Subject

PASS_TOKENS = 2048
"""Tokens of a pass, about."""
LOGIT_ROWS = 128
"""Positions that are normalised over the vocabulary at a time."""


@dataclass(frozen=True)
class Pass:
    """Some texts of about one length, padded at the right: a causal model does not see what stands there."""

    rows: list[int]
    """Which texts these are."""
    ids_BT: Tensor
    mask_BT: Tensor
    embedded_BTD: Tensor
    """Their input rows; a probe may write into them."""


def passes(subject: Subject, texts: Sequence[Sequence[int]]) -> Iterator[Pass]:
    """Cut texts into passes, the short ones first, so that little is padded."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    eos, embed = subject.codec.vocabulary.eos_id, subject.model.get_input_embeddings()
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(texts[order[stop]]) <= PASS_TOKENS:
            stop += 1
        rows = order[start:stop]
        width = len(texts[rows[-1]])
        ids = torch.tensor([[*texts[i], *[eos] * (width - len(texts[i]))] for i in rows], device=subject.device)
        lengths = torch.tensor([[len(texts[i])] for i in rows], device=subject.device)
        mask = (torch.arange(width, device=subject.device) < lengths).long()
        with torch.inference_mode():
            embedded = embed(ids)
        yield Pass(rows, ids, mask, embedded)
        start = stop


def forward(subject: Subject, batch: Pass, **wanted: bool) -> Any:
    """The body's output: ``last_hidden_state`` and what is wanted (``output_attentions``, ``output_hidden_states``)."""
    return subject.model.base_model(
        inputs_embeds=batch.embedded_BTD, attention_mask=batch.mask_BT, use_cache=False, **wanted
    )


def states_at(
    subject: Subject,
    texts: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]],
    replaced: Sequence[Mapping[int, Tensor]] | None = None,
) -> list[Tensor]:
    """What the head reads at some positions of each text.

    Args:
        subject: the model.
        texts: token ids of each.
        places: positions of each.
        replaced: for each text, input rows (D,) to put at positions instead of its tokens'.

    Returns:
        For each text (positions, D).
    """
    found: dict[int, Tensor] = {}
    with torch.inference_mode():
        for batch in passes(subject, texts):
            if replaced is not None:
                put(batch, replaced)
            hidden_BTD = forward(subject, batch).last_hidden_state
            for b, i in enumerate(batch.rows):
                found[i] = hidden_BTD[b, list(places[i])].clone()
    return [found[i] for i in range(len(texts))]


def put(batch: Pass, replaced: Sequence[Mapping[int, Tensor]]) -> None:
    """Write input rows over those of a pass (see `states_at`)."""
    for b, i in enumerate(batch.rows):
        for position, row in replaced[i].items():
            batch.embedded_BTD[b, position] = row


def log_probabilities(subject: Subject, states_ND: Tensor) -> Tensor:
    """Log2 of the probability of each token that has a name, (N, V)."""
    named, head = subject.codec.vocabulary.size, subject.model.get_output_embeddings()
    with torch.inference_mode():
        parts = [head(part)[:, :named].float().log_softmax(-1) / math.log(2) for part in states_ND.split(LOGIT_ROWS)]
    return torch.cat(parts)


def bits_after(
    subject: Subject,
    texts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    replaced: Sequence[Mapping[int, Tensor]] | None = None,
) -> Tensor:
    """Minus log2 of the probability of each continuation after its text, (N,) on the CPU."""
    whole = [[*text, *more] for text, more in zip(texts, continuations, strict=True)]
    places = [range(len(t) - 1, len(t) + len(c) - 1) for t, c in zip(texts, continuations, strict=True)]
    states = states_at(subject, whole, places, replaced)
    owners = torch.cat([torch.full((len(c),), i) for i, c in enumerate(continuations)])
    wanted = torch.tensor([token for c in continuations for token in c], device=subject.device)
    stacked, total = torch.cat(states), torch.zeros(len(texts), dtype=torch.float64)
    for start in range(0, len(wanted), LOGIT_ROWS):
        stretch = slice(start, start + LOGIT_ROWS)
        log2 = log_probabilities(subject, stacked[stretch]).gather(1, wanted[stretch, None])[:, 0]
        total.index_add_(0, owners[stretch], -log2.double().cpu())
    return total


def layers(model: Any) -> nn.ModuleList:
    """The decoder layers of any causal model of transformers.

    Raises:
        UserError: if the body has no list of as many modules as its config says.
    """
    for child in model.base_model.children():
        if isinstance(child, nn.ModuleList) and len(child) == model.config.num_hidden_layers:
            return child
    raise UserError(f"{type(model).__name__} has no list of {model.config.num_hidden_layers} layers in its body.")


def final_norm(model: Any) -> nn.Module:
    """The norm between the last layer and the head: the body's one child of its own with a weight of width D.

    Raises:
        UserError: if there is none, or more than one.
    """
    shape = (model.config.hidden_size,)
    found = [c for c in model.base_model.children() if getattr(getattr(c, "weight", None), "shape", None) == shape]
    if len(found) != 1:
        raise UserError(f"{type(model).__name__} has {len(found)} norms after its layers; the lens needs one.")
    norm: nn.Module = found[0]
    return norm


@contextmanager
def changed_output(layer: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it, what `layer` hands on, (B, T, D), goes through `change`."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        # Some models hand on a tuple whose first is the state.
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()

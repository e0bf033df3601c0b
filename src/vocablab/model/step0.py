"""What added rows do to a network's predictions before it has seen a single one of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vocablab.model.network import Network
from vocablab.vocab.vocabulary import Vocabulary


@dataclass(frozen=True)
class StepZero:
    """Means over all positions."""

    positions: int
    """Number of predictions."""
    kl_bits: float
    """KL(before || after) in bits, over the base tokens. `after` is normalised over all tokens, so mass that goes to
    new tokens counts as lost: where the base rows and the rest are the same, this is -log2(1 - new mass), position by
    position."""
    new_mass: float
    """Probability of all added tokens together, ids without a token left out (they are masked in generation)."""
    padding_mass: float
    """Share of a softmax over all V rows, as a training loss may take it, that falls on ids without a token."""


@torch.no_grad()
def step_zero(before: Network, after: Network, ids_BT: Tensor, vocabulary: Vocabulary) -> StepZero:
    """Compare predictions before and after the new rows.

    Args:
        before: the network without added tokens: only its base tokens are looked at, so from scratch it may be the
            control's network of the same seed, from a checkpoint the checkpoint itself.
        after: the network with the new rows.
        ids_BT: base tokens, shape (B, T): ordinary text, as `before` can read it.
        vocabulary: that of `after`.

    Raises:
        ValueError: if `ids_BT` has a token that is not in the base vocabulary.
    """
    base, size = vocabulary.base_size, vocabulary.size
    if ids_BT.numel() == 0 or int(ids_BT.min()) < 0 or int(ids_BT.max()) >= base:
        raise ValueError(f"step_zero reads base tokens, ids 0 to {base - 1}.")
    kl_bits = new_mass = padding_mass = 0.0
    # A row at a time, in float64: B x T x V logits need not exist at once, and masses of 1e-10 count.
    for ids_1T in ids_BT.split(1):
        old_TV = before(ids_1T)[0, :, :base].double().log_softmax(-1)
        logits_TV = after(ids_1T)[0].double()
        new_TV = logits_TV[:, :size].log_softmax(-1)
        kl_bits += float((old_TV.exp() * (old_TV - new_TV[:, :base])).sum()) / math.log(2)
        new_mass += float(new_TV[:, base:].exp().sum())
        padding_mass += float(logits_TV.softmax(-1)[:, size:].sum())
    n = ids_BT.numel()
    return StepZero(n, kl_bits / n, new_mass / n, padding_mass / n)

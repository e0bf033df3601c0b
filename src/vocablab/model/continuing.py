"""Weights of a trained network, into one with added tokens and a padded vocabulary.

Shapes: V padded vocabulary, D width, O rows of the old table.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from vocablab.base.errors import UserError
from vocablab.model.network import Network
from vocablab.model.new_rows import NewRows, mean_row, set_new_rows
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.vocabulary import Vocabulary

POSITIONS = "wpe.weight"
"""Ending of the name of a table of learned positions."""


def resize(old_OD: Tensor, vocabulary_size: int, padded_size: int) -> Tensor:
    """A table of `padded_size` rows, shape (V, D), whose first `vocabulary_size` are the old ones, bit for bit.

    All others, padding for good and added tokens until `set_new_rows`, are the mean of the old ones. Not 0: a training
    loss may normalise over all rows, and a row of zeros has a logit of 0 where a trained network's are all far below,
    so that padding would take nearly all probability (Hewitt 2021, nlp.stanford.edu/~johnhew/vocab-expansion.html).

    Args:
        old_OD: the old table; its rows from `vocabulary_size` up are padding and are dropped.
        vocabulary_size: how many of its rows have a token.
        padded_size: rows of the new table.

    Raises:
        UserError: if the tokens do not fit.
    """
    if not 0 < vocabulary_size <= min(len(old_OD), padded_size):
        raise UserError(
            f"a table of {len(old_OD)} rows for {vocabulary_size} tokens cannot become one of {padded_size} rows."
        )
    kept = old_OD[:vocabulary_size]
    return torch.cat([kept, mean_row(kept).expand(padded_size - vocabulary_size, -1)])


def load_into(
    network: Network,
    old_state: Mapping[str, Tensor],
    old_vocabulary_size: int,
    method: NewRows,
    vocabulary: Vocabulary,
    intervention: Intervention,
    seed: int,
) -> None:
    """Set every parameter from a checkpoint, and the rows of added tokens by `method`.

    The checkpoint is checked as a whole before anything is written.

    Args:
        network: of the checkpoint's size, with tables of the vocabulary's padded size.
        old_state: the checkpoint's tensors under `network`'s names; of any float type.
        old_vocabulary_size: tokens of the checkpoint: the base vocabulary, padding rows not counted.
        method: how new rows start; drawn ones take their scale from the checkpoint's table.
        vocabulary: the arm's tokens.
        intervention: what they mean.
        seed: for what is drawn.

    Raises:
        UserError: if the checkpoint is of another size, vocabulary or architecture.
    """
    if old_vocabulary_size != vocabulary.base_size:
        raise UserError(
            f"the checkpoint has {old_vocabulary_size} tokens, the base vocabulary {vocabulary.base_size}: "
            "its rows belong to other tokens."
        )
    # A composition of an earlier call is no part of the checkpoint.
    network.composition = None
    own = network.state_dict()
    for kind, names in (("lacks", own.keys() - old_state.keys()), ("has an unknown", old_state.keys() - own.keys())):
        if names:
            raise UserError(f"the checkpoint {kind} tensor {min(names)}: it is of another architecture or depth.")
    rows = (network.input_rows, network.output_rows)
    # A tied head may stand in the state under a name of its own.
    tables = {n for n, p in network.named_parameters(remove_duplicate=False) if any(p is table for table in rows)}
    new = {}
    for name, tensor in own.items():
        old = old_state[name]
        if name in tables:
            old = resize(old, old_vocabulary_size, vocabulary.padded_size)
        if name.endswith(POSITIONS) and old.shape[:1] != tensor.shape[:1]:
            raise UserError(
                f"the checkpoint has {old.shape[0]} positions, n_positions is {tensor.shape[0]}: they must be equal, "
                "since positions that were not trained, or are cut off, make another model."
            )
        if old.shape != tensor.shape:
            raise UserError(
                f"the checkpoint's {name} has shape {tuple(old.shape)}, the network's has {tuple(tensor.shape)}."
            )
        new[name] = old
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(new[name])
    set_new_rows(network, method, vocabulary, intervention, seed, trained=True)

"""Rows of added tokens that are computed from the rows of ordinary ones: an MLP over operands and answer.

A fact that no text ever states still gets a row, made of the same parts as the others (zero-shot composition).

Shapes: V padded vocabulary, D width, N composed tokens, P most parts of a token, L most pieces (base tokens) of a part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocablab.base.errors import RunError, UserError
from vocablab.base.random_streams import stream_seed
from vocablab.model.network import Network
from vocablab.vocab.meaning import TokenMeaning
from vocablab.vocab.vocabulary import Vocabulary

PREFIX = "composition."
"""Of the names of a composition's parameters in a network."""
NORM_EPSILON = 1e-5
"""Keeps the norm of a part from blowing up the gradient of a row that starts at 0, as heads of some networks do."""


@dataclass(frozen=True)
class PartTables:
    """What the composed tokens are made of, as indices."""

    ids_N: Tensor
    """Ids of the composed tokens: those that have parts."""
    pieces_NPL: Tensor
    """Base tokens of each part, in order, aligned at the last, so that the ones of a number have one place whatever its
    length; 0 where there is none, which a weight of 0 takes out."""
    weights_NPL: Tensor
    """One over the number of pieces of the part, or 0: a sum over L is the mean of a part's pieces."""
    relations_N: Tensor
    """Number of each token's relation, from 0."""
    relations: int
    """How many relations there are."""


def part_tables(vocabulary: Vocabulary, meanings: Sequence[TokenMeaning]) -> PartTables | None:
    """Look up the parts of each added token; None if no token has any.

    A part is encoded by itself, without a space before it, so that a number has the same pieces as first operand,
    second operand and answer.

    Raises:
        UserError: if two tokens have the same relation and parts: they would share one row for ever.
    """
    composed = [meaning for meaning in meanings if meaning.parts]
    if not composed:
        return None
    encode = {part: vocabulary.encode_plain(part).ids for meaning in composed for part in meaning.parts}
    number = {relation: i for i, relation in enumerate(dict.fromkeys(meaning.relation for meaning in composed))}
    most_parts = max(len(meaning.parts) for meaning in composed)
    most_pieces = max(len(ids) for ids in encode.values())
    pieces = torch.zeros(len(composed), most_parts, most_pieces, dtype=torch.int64)
    weights = torch.zeros(pieces.shape)
    seen: dict[tuple[str, tuple[str, ...]], str] = {}
    for n, meaning in enumerate(composed):
        for p, part in enumerate(meaning.parts):
            ids = encode[part]
            pieces[n, p, most_pieces - len(ids) :] = torch.from_numpy(ids).long()
            weights[n, p, most_pieces - len(ids) :] = 1 / len(ids)
        other = seen.setdefault((meaning.relation, meaning.parts), meaning.name)
        if other != meaning.name:
            raise UserError(
                f"ComposedRows: {other} and {meaning.name} both say {' '.join(meaning.parts)!r}, so they would share "
                "one row for ever; choose another initialisation."
            )
    return PartTables(
        torch.tensor([vocabulary.added_ids[meaning.name] for meaning in composed]),
        pieces,
        weights,
        torch.tensor([number[meaning.relation] for meaning in composed]),
        len(number),
    )


class PartsMLP(nn.Module):
    """One row from the pieces of a token: the mean of its parts, plus an MLP that knows which piece stands where.

    The MLP sees pieces, not means of pieces: in a vocabulary of single digits 12 and 21, 1 and 11 have the same mean.
    """

    def __init__(self, tables: PartTables, d: int, width: int) -> None:
        super().__init__()
        pieces = tables.pieces_NPL[0].numel()
        self.relation = nn.Embedding(tables.relations, d)
        self.hidden = nn.Linear((pieces + 1) * d, width)
        self.out = nn.Linear(width, d)
        # Rows are small (0.02 when drawn), hidden units are near 1: unscaled, an Adam step of the last layer, which
        # moves all units' weights by the learning rate at once, would throw a row away in a few steps.
        self.scale = width**-0.5

    def forward(self, pieces_NPLD: Tensor, weights_NPL: Tensor, relations_N: Tensor) -> Tensor:
        """Rows, shape (N, D), from the rows of all pieces and the buffers of `PartTables`."""
        there_NPL = weights_NPL > 0
        # Normed, so that the MLP sees the same scale in a fresh table and in a trained one.
        normed = F.rms_norm(pieces_NPLD, pieces_NPLD.shape[-1:], eps=NORM_EPSILON) * there_NPL[..., None]
        inputs = torch.cat([normed.flatten(1), self.relation(relations_N)], dim=1)
        correction: Tensor = self.out(F.gelu(self.hidden(inputs)))
        parts_NPD = (pieces_NPLD * weights_NPL[..., None]).sum(2)
        mean: Tensor = parts_NPD.sum(1) / there_NPL.any(2).sum(1, keepdim=True)
        return mean + self.scale * correction

    def initial_std(self, name: str) -> float:
        """Standard deviation of a parameter's normal initialisation. The last layer starts at 0, so that every row
        starts as the mean of its parts."""
        return {"relation.weight": 1.0, "hidden.weight": self.hidden.in_features**-0.5}.get(name, 0.0)


class Composition(nn.Module):
    """Replaces the rows of added tokens that have parts, in the input table and in an untied output table.

    Every parameter gets a gradient in every step, as data-parallel training wants it. The free rows that are replaced
    get a gradient of 0: weight decay shrinks them, which does no harm, since `materialise` overwrites them.
    """

    ids_N: Tensor
    pieces_NPL: Tensor
    weights_NPL: Tensor
    relations_N: Tensor

    def __init__(self, tables: PartTables, d: int, *, width: int, tied: bool, into_parts: bool = True) -> None:
        """Parameters are not yet set (`initialise`).

        Args:
            tables: what the tokens are made of.
            d: width of a row.
            width: hidden units of each MLP.
            tied: whether the network has one table; else each table has an MLP of its own.
            into_parts: whether gradients also reach the rows of the parts.
        """
        super().__init__()
        # Not persistent: they follow from vocabulary and intervention, and are no part of a checkpoint.
        for name in ("ids_N", "pieces_NPL", "weights_NPL", "relations_N"):
            self.register_buffer(name, getattr(tables, name), persistent=False)
        self.of_input = PartsMLP(tables, d, width)
        self.of_output = None if tied else PartsMLP(tables, d, width)
        self.into_parts = into_parts

    def forward(self, input_rows_VD: Tensor, output_rows_VD: Tensor) -> tuple[Tensor, Tensor]:
        """Both tables with composed rows in place; one and the same tensor if the network is tied."""
        inputs = self._replaced(input_rows_VD, self.of_input)
        return inputs, inputs if self.of_output is None else self._replaced(output_rows_VD, self.of_output)

    def _replaced(self, rows_VD: Tensor, mlp: PartsMLP) -> Tensor:
        source_VD = rows_VD if self.into_parts else rows_VD.detach()
        # Float32 even where the blocks run in bfloat16: what is trained must be what `materialise` writes.
        with torch.autocast(rows_VD.device.type, enabled=False):
            rows_ND = mlp(F.embedding(self.pieces_NPL, source_VD), self.weights_NPL, self.relations_N)
            return rows_VD.index_copy(0, self.ids_N, rows_ND)

    def initialise(self, seed: int) -> None:
        """Set every parameter from a stream named after it, as `vocablab.model.network.initialise` does."""
        mlps = {"of_input": self.of_input} | ({} if self.of_output is None else {"of_output": self.of_output})
        for prefix, mlp in mlps.items():
            for name, parameter in mlp.named_parameters():
                stream = stream_seed(seed, "parameter", f"composition.{prefix}.{name}")
                drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(stream))
                with torch.no_grad():
                    parameter.copy_(drawn * mlp.initial_std(name))


@torch.no_grad()
def materialise(network: Network) -> None:
    """Write the composed rows into the network's tables and take its composition away: its logits stay the same.

    Needed before export, and between the stages of ``ComposedRows(mode="first")``. Nothing happens to a network without
    a composition.
    """
    composition = network.composition
    if not isinstance(composition, Composition):
        return
    inputs, outputs = composition(network.input_rows, network.output_rows)
    network.output_rows.copy_(outputs)
    network.input_rows.copy_(inputs)
    network.composition = None


@torch.no_grad()
def plain_state(network: Network) -> dict[str, Tensor]:
    """A network's parameters by name with computed rows written into the tables, and without what computes them.

    Raises:
        RunError: if a composition made two tables of a tied one.
    """
    state = {name: t for name, t in network.state_dict().items() if not name.startswith(PREFIX)}
    if network.composition is None:
        return state
    rows_in, rows_out = network.tables()
    if network.input_rows is network.output_rows and not torch.equal(rows_in, rows_out):
        raise RunError("rule 6: the head is tied, but its composed rows differ from the embedding's.")
    for name, parameter in network.named_parameters():
        if parameter is network.input_rows:
            state[name] = rows_in
        elif parameter is network.output_rows:
            state[name] = rows_out
    return state

"""Where the rows of added tokens start: drawn, the vocabulary's mean, the mean of their pieces, or composed.

Of the (V, D) tables only the rows of added tokens, ids ``base_size`` to ``size - 1``, are ever written, so that all
arms share every other bit (rule 3).

Shapes: V padded vocabulary, B base tokens, N added tokens, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vocablab.base.errors import UserError
from vocablab.base.random_streams import stream_seed
from vocablab.model.composition import Composition, materialise, part_tables
from vocablab.model.network import Network
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.meaning import TokenMeaning, token_meanings
from vocablab.vocab.vocabulary import Vocabulary

Phase = Literal["composition", "all"]
"""What is trained: the composition alone, or every parameter."""


@dataclass(frozen=True)
class NewRows(ABC):
    """How the rows of added tokens start."""

    @abstractmethod
    def rows(self, base_BD: Tensor, texts: Sequence[Tensor], drawn_ND: Tensor) -> Tensor:
        """The new rows of one table, shape (N, D).

        Args:
            base_BD: the rows of the base tokens.
            texts: for each added token, the ids of its neutral text in base tokens; empty if it says nothing.
            drawn_ND: normal rows from the table's named stream, at the scale of the table.
        """

    def composition(
        self, vocabulary: Vocabulary, meanings: Sequence[TokenMeaning], d: int, *, tied: bool
    ) -> Composition | None:
        """What computes rows while the network trains, parameters not yet set; None: rows are parameters."""
        return None

    def phase(self, step: int, steps: int) -> Phase:
        """What the step `step` (from 0) of `steps` trains."""
        return "all"


@dataclass(frozen=True)
class RandomRows(NewRows):
    """Drawn like every other row: from scratch, exactly what `vocablab.model.network.initialise` drew.

    In a trained table: normal around 0 with the standard deviation of its base rows, the habit of model libraries. Such
    rows can take nearly all probability at once, because a trained network's logits may all be far below 0 (Hewitt
    2021, nlp.stanford.edu/~johnhew/vocab-expansion.html); `vocablab.model.step0` shows whether they do.
    """

    def rows(self, base_BD: Tensor, texts: Sequence[Tensor], drawn_ND: Tensor) -> Tensor:
        return drawn_ND


@dataclass(frozen=True)
class MeanRows(NewRows):
    """The mean of all base rows (Hewitt 2021, the page named in `RandomRows`).

    Without noise, a head without bias then gives N new tokens at most N / (N + B) of the probability, since the
    exponential of a mean logit is at most the mean of the exponentials.
    """

    noise: float = 0.0
    """Drawn rows added to the mean, times this. None by default, so that the bound holds; gradients tell tokens apart
    from the first step that meets them."""

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise UserError(f"MeanRows.noise: {self.noise} is below 0.")

    def rows(self, base_BD: Tensor, texts: Sequence[Tensor], drawn_ND: Tensor) -> Tensor:
        return mean_row(base_BD).expand_as(drawn_ND) + self.noise * drawn_ND


@dataclass(frozen=True)
class PieceRows(NewRows):
    """The mean of the rows of a token's neutral text, ``6 * 9 = 54`` for ``<MUL_6_9_54>``; for a token that says
    nothing, the mean of all base rows.

    A mean forgets order, so tokens whose texts have the same pieces start alike: ``[5:tens]`` and ``[5:ones]``, or both
    orders of operands. Gradients tell them apart.
    """

    def rows(self, base_BD: Tensor, texts: Sequence[Tensor], drawn_ND: Tensor) -> Tensor:
        everything = mean_row(base_BD)
        rows = [mean_row(base_BD[ids.to(base_BD.device)]) if len(ids) else everything for ids in texts]
        return torch.stack(rows) if rows else drawn_ND


@dataclass(frozen=True)
class ComposedRows(NewRows):
    """Computed by an MLP over the embeddings of operands and answer (`vocablab.model.composition`).

    Every row starts as the mean of its parts. A token that says nothing (a sham) has no parts: it keeps a free row,
    which starts at the mean of all base rows.
    """

    width: int = 256
    """Hidden units of the MLP."""
    mode: str = "joint"
    """``joint``: the rows are computed throughout. ``first``: only the composition is trained, everything else frozen,
    for the first steps; then its rows become ordinary parameters. ``first`` is meant for a trained network: in a fresh
    one the composition would learn from noise."""
    first_share: float = 0.1
    """Share of the steps that mode ``first`` trains the composition alone."""
    into_parts: bool = True
    """Whether gradients of composed rows also reach the rows of their parts."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UserError(f"ComposedRows.width: {self.width} is below 1.")
        if self.mode not in ("joint", "first"):
            raise UserError(f"ComposedRows.mode: {self.mode!r} is neither joint nor first.")
        if not 0 < self.first_share < 1:
            raise UserError(f"ComposedRows.first_share: {self.first_share} is not over 0 and under 1.")

    def rows(self, base_BD: Tensor, texts: Sequence[Tensor], drawn_ND: Tensor) -> Tensor:
        return mean_row(base_BD).expand_as(drawn_ND)

    def composition(
        self, vocabulary: Vocabulary, meanings: Sequence[TokenMeaning], d: int, *, tied: bool
    ) -> Composition | None:
        tables = part_tables(vocabulary, meanings)
        if tables is None:
            return None
        return Composition(tables, d, width=self.width, tied=tied, into_parts=self.into_parts)

    def phase(self, step: int, steps: int) -> Phase:
        first = min(max(1, round(self.first_share * steps)), steps - 1)
        return "composition" if self.mode == "first" and step < first else "all"


@torch.no_grad()
def set_new_rows(
    network: Network,
    method: NewRows,
    vocabulary: Vocabulary,
    intervention: Intervention,
    seed: int,
    *,
    trained: bool = False,
) -> None:
    """Set the rows of added tokens in both tables, and `network.composition` if `method` has one. No other row changes.

    The same whenever it is called: drawn rows come from the table's named stream under `seed`, not from what is there.

    Args:
        network: one whose tables have the vocabulary's padded size.
        method: how.
        vocabulary: the arm's tokens.
        intervention: what they mean.
        seed: that of the network's initialisation.
        trained: whether the base rows come from a checkpoint, so that drawn rows take their scale from them.

    Raises:
        UserError: if the network, the vocabulary and the intervention do not belong together.
    """
    for table in (network.input_rows, network.output_rows):
        if table.shape[0] != vocabulary.padded_size:
            raise UserError(
                f"the network has {table.shape[0]} rows, the vocabulary is padded to {vocabulary.padded_size}."
            )
    meanings = token_meanings(vocabulary, intervention)
    network.composition = None
    if not meanings:
        return
    tied = network.input_rows is network.output_rows
    composition = method.composition(vocabulary, meanings, network.input_rows.shape[1], tied=tied)
    texts = [torch.from_numpy(vocabulary.encode_plain(meaning.text).ids).long() for meaning in meanings]
    for name, table in row_tables(network).items():
        base_BD = table[: vocabulary.base_size]
        std = standard_deviation(base_BD) if trained else network.initial_std(name) or 0.0
        drawn_ND = drawn_rows(table, name, seed, std)[vocabulary.base_size : vocabulary.size]
        table[vocabulary.base_size : vocabulary.size] = method.rows(base_BD, texts, drawn_ND)
    if composition is not None:
        composition.initialise(seed)
        network.composition = composition.to(network.input_rows.device)


def enter_phase(network: Network, method: NewRows, step: int, steps: int) -> bool:
    """Make the network what step `step` of `steps` trains; to be called before every step, also after a resume.

    In the phase ``composition`` every other parameter is frozen. When it is over, the composed rows become parameters
    and all are trained. A network without a composition (an arm whose tokens say nothing, or no tokens) trains all
    parameters throughout. An optimiser over all parameters serves both phases, since it skips those without a gradient.

    Returns:
        Whether anything changed, so that whatever looked at `requires_grad` (a data-parallel wrapper) must look again.
    """
    if not isinstance(network.composition, Composition) or method.phase(0, steps) == "all":
        return False
    frozen = [parameter for name, parameter in network.named_parameters() if not name.startswith("composition.")]
    train_all = method.phase(step, steps) == "all"
    if train_all:
        materialise(network)
    changed = train_all or any(parameter.requires_grad for parameter in frozen)
    for parameter in frozen:
        parameter.requires_grad_(train_all)
    return changed


def row_tables(network: Network) -> dict[str, nn.Parameter]:
    """The tables by parameter name: one if they are tied, else two."""
    tables = (network.input_rows, network.output_rows)
    return {name: p for name, p in network.named_parameters() if any(p is table for table in tables)}


def drawn_rows(table_VD: Tensor, name: str, seed: int, std: float) -> Tensor:
    """What `vocablab.model.network.initialise` draws for the parameter `name`, with this standard deviation."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "parameter", name))
    return (torch.randn(table_VD.shape, generator=generator) * std).to(table_VD.device)


def mean_row(rows_BD: Tensor) -> Tensor:
    """Mean row, shape (D,), summed in float64."""
    return rows_BD.mean(0, dtype=torch.float64).to(rows_BD.dtype)


def standard_deviation(rows_BD: Tensor) -> float:
    """Standard deviation of all numbers of a table around their mean."""
    return float(rows_BD.double().std(correction=0))

"""Was every added token trained? An audit of the rows, after Land and Bartolo 2024 (arXiv:2405.05417).

Rows that training never showed are the measure: the padding ids, which have no token, and ids that the caller knows to
be unused. A token is called *indistinguishable* from them

- by how it moved, if the initial rows are known: as they did. They do move, often farther than trained rows: the
  softmax pushes rows of tokens that never come in a common direction. So their mean movement is taken away, and what
  is left of a token's is no more than what is left of theirs;
- otherwise by its cosine distance to their mean, Land and Bartolo's indicator: no larger than their own. It works only
  if they have a common direction, as output rows and tied rows have; where they have none a note says so.

Shapes: N added tokens, U never-seen rows, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.states import places
from vocablab.probe.subject import Subject

_SLACK = 1.2
"""Within a fifth of the largest never-seen number still counts as theirs: two padding rows do not show the range."""
_COMMON = 0.5
"""Cosine distance to the mean of the others below which never-seen rows have a common direction; at random it is 1."""
_NAMED = 8
"""Tokens that a warning names."""


@dataclass(frozen=True)
class RowAudit:
    """The added tokens' rows of one table."""

    norm: np.ndarray
    """(N,)."""
    distance: np.ndarray | None
    """Cosine distance to the mean of the never-seen rows, (N,); None if there are none."""
    unseen_distance: np.ndarray | None
    """The same of the never-seen rows, each to the mean of the *others*, (U,); None if there are fewer than two."""
    moved: np.ndarray | None
    """Distance from the initial row, the mean movement of the never-seen rows taken away, (N,); None if the initial
    rows are unknown."""
    unseen_moved: np.ndarray | None
    """The same of the never-seen rows, each without the mean movement of the *others*, (U,); None if there are fewer
    than two."""

    @property
    def common(self) -> bool:
        """Whether the never-seen rows have a common direction."""
        return self.unseen_distance is not None and float(self.unseen_distance.max()) < _COMMON

    @property
    def untrained(self) -> np.ndarray | None:
        """Which tokens cannot be told from never-seen rows, (N,) booleans; None if these rows cannot say."""
        if self.moved is not None and self.unseen_moved is not None and len(self.unseen_moved):
            return self.moved <= _SLACK * self.unseen_moved.max()
        if self.moved is not None:
            return self.moved == 0
        if self.common and self.distance is not None and self.unseen_distance is not None:
            return self.distance <= _SLACK * self.unseen_distance.max()
        return None


def audit_rows(subject: Subject, which: str, unused: Sequence[int] = ()) -> RowAudit:
    """Audit the table ``input`` or ``output``; `unused` are ids beside the padding that training never showed."""
    vocabulary = subject.codec.vocabulary
    table, ids = subject.table(which), np.array(subject.ids, dtype=np.int64)
    unseen = np.array([*range(vocabulary.size, min(vocabulary.padded_size, len(table))), *unused], dtype=np.int64)
    rows, others = table[ids].astype(np.float64), table[unseen].astype(np.float64)
    distance = unseen_distance = moved = unseen_moved = None
    if len(others):
        distance = _cosine_distance(rows, others.mean(0))
    if len(others) > 1:
        mean_of_others = (others.sum(0) - others) / (len(others) - 1)
        unseen_distance = _cosine_distance(others, mean_of_others)
    if subject.initial is not None and which in subject.initial:
        initial = subject.initial[which]
        own, theirs = rows - initial[ids], others - initial[unseen]
        moved = np.linalg.norm(own - theirs.mean(0) if len(theirs) else own, axis=1)
        if len(theirs) > 1:
            unseen_moved = np.linalg.norm(theirs - (theirs.sum(0) - theirs) / (len(theirs) - 1), axis=1)
    return RowAudit(np.linalg.norm(rows, axis=1), distance, unseen_distance, moved, unseen_moved)


def _cosine_distance(rows: np.ndarray, to: np.ndarray) -> np.ndarray:
    """1 - cosine, row by row, (N,); 1 where a row is zero."""
    lengths = np.linalg.norm(rows, axis=-1) * np.linalg.norm(to, axis=-1)
    products = (rows * to).sum(-1)
    return 1 - np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), 0.0)


def audit(subject: Subject, least: int = 100) -> Findings:
    """Which added tokens were hardly trained?

    Args:
        subject: the model.
        least: exposures that the study declared as the smallest dose.
    """
    found, names = Findings(), [meaning.name for meaning in subject.meanings]
    if not names:
        found.notes.append(f"{subject.name}: there are no added tokens to audit.")
        return found
    if subject.exposures is None:
        found.notes.append(f"{subject.name}: exposures are unknown, so the dose is not audited.")
    else:
        found += _dose(subject, names, least)
    for place, which in places(subject).items():
        found += _table(subject, place, audit_rows(subject, which), names)
    return found


def _listed(names: Sequence[str], chosen: np.ndarray) -> str:
    """A few of the names, and how many more there are."""
    picked = [name for name, one in zip(names, chosen, strict=True) if one]
    rest = len(picked) - _NAMED
    return ", ".join(picked[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _measure(
    place: str, target: str, metric: str, value: float, control: float | None, n: int, note: str = ""
) -> Measure:
    return Measure("audit", place, target, metric, value, control, None, n, note)


def _dose(subject: Subject, names: list[str], least: int) -> Findings:
    exposures = np.asarray(subject.exposures)
    n, few = len(names), exposures < least
    notes = []
    if few.any():
        notes.append(
            f"{subject.name}: {int(few.sum())} of {n} added tokens were shown fewer than {least} times: "
            f"{_listed(names, few)}."
        )
    measures = [
        _measure(
            "corpus", "exposures", "fewest", float(exposures.min()), float(least), n, "Control: the declared dose."
        ),
        _measure("corpus", "exposures", "share below the dose", float(few.mean()), 0.0, n),
    ]
    figures = [_bars("corpus", "exposures", names, exposures, subject.name)]
    if subject.updates is not None:
        note = "Optimiser steps that read the token: in each its input row had a gradient of its own."
        measures.append(_measure("input rows", "updates", "fewest", float(subject.updates.min()), None, n, note))
        figures.append(_bars("input rows", "updates", names, subject.updates, subject.name))
    return Findings(measures, figures, notes)


def _table(subject: Subject, place: str, rows: RowAudit, names: list[str]) -> Findings:
    found, n = Findings(), len(names)
    unseen = "Control: the largest of the never-seen rows."
    found.measures.append(_measure(place, "norm", "smallest", float(rows.norm.min()), None, n))
    found.figures.append(_bars(place, "norm", names, rows.norm, subject.name))
    for target, values, theirs in (
        ("cosine distance to never-seen rows", rows.distance, rows.unseen_distance),
        ("movement unlike that of never-seen rows", rows.moved, rows.unseen_moved),
    ):
        if values is None:
            continue
        known = theirs is not None and len(theirs) > 0
        control = float(theirs.max()) if known and theirs is not None else None
        found.measures.append(
            _measure(place, target, "smallest", float(values.min()), control, n, unseen if known else "")
        )
        found.figures.append(_bars(place, target, names, values, subject.name))
    untrained = rows.untrained
    if untrained is None:
        found.notes.append(
            f"{subject.name}: the {place} cannot tell trained from untrained tokens: the initial rows are unknown and "
            "the never-seen rows are too few or have no common direction."
        )
        return found
    found.measures.append(
        _measure(place, "tokens", "share indistinguishable from never-seen", float(untrained.mean()), 0.0, n)
    )
    if untrained.any():
        found.notes.append(
            f"{subject.name}: {int(untrained.sum())} of {n} added tokens cannot be told from never-seen rows by their "
            f"{place}: {_listed(names, untrained)}."
        )
    return found


def _bars(place: str, target: str, names: list[str], values: np.ndarray, model: str) -> Figure:
    return Figure(
        name=f"audit-{place}-{target}".replace(" ", "-"),
        title=f"Added tokens of {model}, {place}: {target}",
        kind="bars",
        x="added token",
        y=target,
        data={"series": [{"name": target, "x": names, "y": np.asarray(values, dtype=np.float64).tolist()}]},
    )

"""Rows of tokens predicted from their parts: ridge regression in closed form, its penalty chosen by leaving one out.

Shapes: N facts, M of them fitted, D width, F features, K folds.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.probe.contexts import spell
from vocablab.probe.subject import Subject
from vocablab.vocab.forms import canonical_text

PENALTIES = 10.0 ** np.arange(-4, 4)
"""Penalties that are tried; every block of features has a mean squared length of 1."""


def piece_rows(subject: Subject, texts: Sequence[str], table_VD: np.ndarray) -> np.ndarray:
    """The mean row of the pieces of each text, (N, D), as `vocablab.model.new_rows.PieceRows` starts a token."""
    return np.stack([table_VD[spell(subject, text)].mean(0) for text in texts])


def part_features(subject: Subject, family: Family, facts: Sequence[Fact], table_VD: np.ndarray) -> np.ndarray:
    """What each fact is made of, (N, F): its parts' rows, the mean of its text's pieces, its operands one-hot.

    Blocks are centred and scaled alike, so that a block counts by what it says, not by the size of its numbers. A
    one-hot says nothing of a number that no fitted fact has: then the rows of its pieces must do.
    """
    places = len(facts[0].operands)
    numbers = [*([fact.operands[i] for fact in facts] for i in range(places)), [fact.answer for fact in facts]]
    blocks = [piece_rows(subject, [str(n) for n in column], table_VD) for column in numbers]
    blocks.append(piece_rows(subject, [canonical_text(family, fact) for fact in facts], table_VD))
    values = sorted({n for column in numbers[:-1] for n in column})
    blocks += [np.array([[n == v for v in values] for n in column], dtype=float) for column in numbers[:-1]]
    return np.concatenate([_scaled(block.astype(np.float64)) for block in blocks], axis=1)


def predict(features_NF: np.ndarray, rows_ND: np.ndarray, held_out_KN: Iterable[np.ndarray]) -> np.ndarray:
    """Rows of all facts, (K, N, D) float32, predicted in each fold from those that are not held out in it.

    The dual form (N by N): there are fewer facts than features.
    """
    gram_NN = features_NF @ features_NF.T
    return np.stack([_predicted(gram_NN, rows_ND.astype(np.float64), ~mask) for mask in held_out_KN])


def _predicted(gram_NN: np.ndarray, rows_ND: np.ndarray, fitted_N: np.ndarray) -> np.ndarray:
    """All rows from the fitted ones; `gram_NN` holds the products of all facts' features."""
    centre_D = rows_ND[fitted_N].mean(0)
    y_MD = rows_ND[fitted_N] - centre_D
    # Products of features centred at the fitted facts' mean.
    across_NM = gram_NN[:, fitted_N] - gram_NN[:, fitted_N].mean(1, keepdims=True)
    across_NM = across_NM - across_NM[fitted_N].mean(0)
    values_M, vectors_MM = np.linalg.eigh((across_NM[fitted_N] + across_NM[fitted_N].T) / 2)
    turned_MD = vectors_MM.T @ y_MD
    best, weights_MD = np.inf, np.zeros_like(y_MD)
    for penalty in PENALTIES:
        shrunk_M = values_M / (values_M + penalty)
        residual_MD = y_MD - vectors_MM @ (shrunk_M[:, None] * turned_MD)
        # What a fit without the fact would miss it by; 1/M is the share that the mean takes.
        leverage_M = (vectors_MM**2) @ shrunk_M + 1 / len(y_MD)
        error = float(((residual_MD / np.maximum(1 - leverage_M, 1e-9)[:, None]) ** 2).sum())
        if error < best:
            best, weights_MD = error, vectors_MM @ (turned_MD / (values_M + penalty)[:, None])
    found: np.ndarray = (across_NM @ weights_MD + centre_D).astype(np.float32)
    return found


def _scaled(block_NF: np.ndarray) -> np.ndarray:
    """Centred, with a mean squared length of 1; a block that never varies stays 0."""
    centred = block_NF - block_NF.mean(0)
    length = np.sqrt((centred**2).sum(1).mean())
    found: np.ndarray = centred / length if length > 0 else centred
    return found

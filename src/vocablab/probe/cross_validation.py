"""Ridge probes in closed form, cross-validated, for a thousand permutations of the rows at once.

A probe of N = 45 tokens in D = 768 dimensions is solved in its dual: everything is said by the (N, N) matrix of inner
products. With an intercept that is not penalised, fitting all tokens leaves the residuals ``R y``, where R is one
matrix for each ridge strength. Cross-validation needs only blocks of it, for a test g and a training part t:

- residuals of g when g is left out: ``E = R_gg^-1 (R y)_g`` (Allen 1974, "PRESS", for a group);
- R of the training part alone, the Schur complement: ``R_tt - R_tg R_gg^-1 R_gt``. So the strength can be chosen within
  each training part by leaving one out, again in closed form.

A permutation moves rows under the tokens: labels *and folds* stay. Permuting labels under fixed folds would not do: a
fold that holds out 9 as one operand has one token of each other operand, permuted labels have not. So a probe that says
the most frequent class whatever it sees is right more often with true labels than with permuted ones (`tests/probe`
counts false positives). The strength is chosen anew for each permutation, else the control were a weaker probe.

Shapes: P permutations, N tokens, n of them in training, t in the test, A strengths, C columns of targets, M
predictions: the tests of all folds one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STRENGTHS = 10.0 ** np.arange(-2, 3)
"""Ridge strengths, as multiples of the mean eigenvalue of the inner products, so that scale does not matter."""
_CHUNK = 1 << 18
"""Numbers of an array that is made for many permutations at once: 2 MiB, which stay in a processor's cache."""


@dataclass(frozen=True)
class Fold:
    """One training part and its test."""

    train: np.ndarray
    """(n,) tokens."""
    test: np.ndarray
    """(t,) tokens."""


def random_folds(groups: np.ndarray, number: int, generator: np.random.Generator) -> list[Fold]:
    """Folds drawn at random; tokens of one group are never parted (a copy of a test token would be in training)."""
    distinct, group_of = np.unique(groups, return_inverse=True)
    fold_of = (generator.permutation(len(distinct)) % min(number, len(distinct)))[group_of]
    return [Fold(np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in np.unique(fold_of)]


def holding_out(operands: np.ndarray, groups: np.ndarray | None = None) -> list[Fold]:
    """A fold for each value in `operands`, which tests all tokens with that value, in any column.

    A token with two different operands is tested twice.

    Args:
        operands: (N, K).
        groups: (N,); no training token is of a test token's group.
    """
    folds = []
    for value in np.unique(operands):
        has = (operands == value).any(1)
        kept = ~has if groups is None else ~has & ~np.isin(groups, groups[has])
        if kept.sum() > 2:
            folds.append(Fold(np.flatnonzero(kept), np.flatnonzero(has)))
    return folds


def tokens_tested(folds: Sequence[Fold]) -> np.ndarray:
    """(M,) tokens in the order of the predictions."""
    return np.concatenate([fold.test for fold in folds])


def residual_operators(gram: np.ndarray) -> np.ndarray:
    """R for each strength, (A, N, N): targets to residuals of ridge regression with a free intercept on all tokens.

    Args:
        gram: inner products, centred or not, (N, N).
    """
    n = len(gram)
    centring = np.eye(n) - 1 / n
    eigenvalues, vectors = np.linalg.eigh(centring @ gram @ centring)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    scale = eigenvalues.mean() or 1.0  # all rows equal: every strength gives the mean of the targets
    return np.stack([(vectors * (s / (eigenvalues + s))) @ vectors.T - 1 / n for s in STRENGTHS * scale])


def cross_validate(
    gram: np.ndarray, order: np.ndarray, targets: Sequence[np.ndarray], folds: Sequence[Fold]
) -> list[np.ndarray]:
    """Predictions for tokens that were left out.

    Args:
        gram: inner products of one representation, (N, N) float64.
        order: (P, N) whose row each token gets.
        targets: each (N, C); the strength is chosen for each of them, its columns together.
        folds: of the cross-validation; training and test of one may leave out tokens.

    Returns:
        For each target (P, M, C) predictions.
    """
    operators_ANN = residual_operators(gram)
    columns_NC = np.concatenate(targets, axis=1)
    stops = np.cumsum([target.shape[1] for target in targets])
    out = [np.empty((len(order), sum(len(f.test) for f in folds), target.shape[1])) for target in targets]
    step = max(1, _CHUNK // operators_ANN.size)
    for low in range(0, len(order), step):
        part = order[low : low + step]
        moved_APNN = operators_ANN[:, part[:, :, None], part[:, None, :]]
        # R y of all tokens serves every fold: what is left out of training is taken back by the blocks.
        fitted_APNC = moved_APNN @ columns_NC
        start = 0
        for fold in folds:
            left_out_APtC, errors_APC = _one_fold(moved_APNN, fitted_APNC, fold)
            stop = start + len(fold.test)
            for target, end, kept in zip(targets, stops, out, strict=True):
                here = slice(end - target.shape[1], end)
                best = errors_APC[:, :, here].sum(2).argmin(0)
                missed = left_out_APtC[best, np.arange(len(part))][:, :, here]
                kept[low : low + step, start:stop] = target[fold.test] - missed
            start = stop
    return out


def _one_fold(moved_APNN: np.ndarray, fitted_APNC: np.ndarray, fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of the test that is left out, (A, P, t, C), and squared leave-one-out errors of training, (A, P, C)."""
    absent = np.setdiff1d(np.arange(fitted_APNC.shape[2]), fold.train)
    tested = np.searchsorted(absent, fold.test)  # all that is absent is left out, a part of it is tested
    across = moved_APNN[:, :, fold.train[:, None], absent]
    inverse = np.linalg.inv(moved_APNN[:, :, absent[:, None], absent])
    left_out = inverse @ fitted_APNC[:, :, absent]
    residuals = fitted_APNC[:, :, fold.train] - across @ left_out
    leverage = moved_APNN[:, :, fold.train, fold.train] - ((across @ inverse) * across).sum(3)
    return left_out[:, :, tested], np.square(residuals / leverage[..., None]).sum(2)


def one_hot(classes: np.ndarray) -> np.ndarray:
    """A column for each class from 0, (N, C): the classifier is ridge regression on them, the largest one wins."""
    return (classes[:, None] == np.arange(classes.max() + 1)).astype(np.float64)


def accuracy(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of right predictions, (P,), of classes (P, M) that are (M,) in truth."""
    return (predicted == truth).mean(1)


def kappa(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Cohen's (1960) kappa, (P,): agreement beyond that of two raters with these margins."""
    classes = np.arange(max(int(predicted.max()), int(truth.max())) + 1)
    agreed = accuracy(predicted, truth)
    chance = (predicted[:, :, None] == classes).mean(1) @ (truth[:, None] == classes).mean(0)
    # Both say one and the same class everywhere: no agreement beyond chance can be shown.
    return np.where(chance < 1, (agreed - chance) / np.where(chance < 1, 1 - chance, 1), 0.0)


def r_squared(predicted: np.ndarray, truth: np.ndarray, folds: Sequence[Fold], values: np.ndarray) -> np.ndarray:
    """Share of squared error that a probe saves against saying the mean of its training part, (P,).

    Below 0 if it is worse than that.

    Args:
        predicted: (P, M).
        truth: (M,).
        folds: of the cross-validation.
        values: (N,) the target of all tokens.
    """
    means = np.concatenate([np.full(len(fold.test), values[fold.train].mean()) for fold in folds])
    spread = float(np.square(means - truth).sum())
    return 1 - np.square(predicted - truth).sum(1) / spread if spread > 0 else np.zeros(len(predicted))

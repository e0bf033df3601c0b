"""Closed forms against what they stand for, computed the long way."""

import numpy as np
import pytest
from probe.planted import numbers, subject

from vocablab.facts.fact import Fact
from vocablab.facts.families import Squares
from vocablab.probe.cross_validation import (
    STRENGTHS,
    Fold,
    cross_validate,
    holding_out,
    kappa,
    one_hot,
    r_squared,
    random_folds,
    tokens_tested,
)
from vocablab.probe.geometry import cka, silhouettes
from vocablab.probe.labels import MOST, fact_labels, labels_of, quantile_bins
from vocablab.probe.permutation import shuffles
from vocablab.probe.permutation import tested as permutation_test
from vocablab.probe.states import CONTEXTS, token_states

RANDOM = np.random.default_rng(5)


def ridge(x: np.ndarray, y: np.ndarray, strength: float, at: np.ndarray) -> np.ndarray:
    """Ridge regression in the primal, the intercept free."""
    mean, middle = x.mean(0), y.mean(0)
    weights = np.linalg.solve((x - mean).T @ (x - mean) + strength * np.eye(x.shape[1]), (x - mean).T @ (y - middle))
    return (at - mean) @ weights + middle


@pytest.mark.parametrize("width", [6, 60])
def test_cross_validation_is_ridge_with_its_strength_chosen_by_leaving_one_out(width: int) -> None:
    x, y = RANDOM.normal(size=(24, width)), RANDOM.normal(size=(24, 3))
    x[:, 0] += y[:, 0]
    folds = [Fold(np.arange(5, 24), np.arange(5)), Fold(np.r_[0:9, 17:24], np.arange(10, 14))]
    order = np.stack([np.arange(24), RANDOM.permutation(24)])
    gram = x @ x.T
    found = cross_validate(gram, order, [y[:, :1], y[:, 1:]], folds)
    centred = x - x.mean(0)
    scale = np.square(centred).sum() / 24
    for p, moved in enumerate(order):
        rows = x[moved]
        for target, predicted in zip((y[:, :1], y[:, 1:]), found, strict=True):
            start = 0
            for fold in folds:
                train = fold.train
                errors = []
                for strength in STRENGTHS * scale:
                    rest = [np.delete(train, i) for i in range(len(train))]
                    one = [
                        ridge(rows[r], target[r], strength, rows[[t]])[0] - target[t]
                        for r, t in zip(rest, train, strict=True)
                    ]
                    errors.append(np.square(one).sum())
                best = STRENGTHS[int(np.argmin(errors))] * scale
                expected = ridge(rows[train], target[train], best, rows[fold.test])
                assert predicted[p, start : start + len(fold.test)] == pytest.approx(expected, rel=1e-6, abs=1e-8)
                start += len(fold.test)


def test_nothing_of_a_test_is_in_its_training_part() -> None:
    pairs, answer = np.stack([numbers().first, numbers().second], axis=1), numbers().answer
    for fold in holding_out(pairs, answer):
        assert not set(answer[fold.test]) & set(answer[fold.train])
        held_out = set.intersection(*(set(pair) for pair in pairs[fold.test]))
        assert held_out
        assert not held_out & set(pairs[fold.train].ravel())
    folds = random_folds(answer, 5, np.random.default_rng(0))
    assert sorted(tokens_tested(folds)) == list(range(45))
    assert all(not set(answer[fold.test]) & set(answer[fold.train]) for fold in folds)


def test_silhouettes_by_the_definition() -> None:
    x = RANDOM.normal(size=(12, 3))
    distances = np.linalg.norm(x[:, None] - x, axis=2)
    labels = np.array([[0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 1, 3], [0, 1, 0, 1, 0, 1, 2, 2, 2, 2, 2, 2]])
    for row, found in zip(labels, silhouettes(distances, labels), strict=True):
        scores = []
        for i in range(12):
            own = [j for j in range(12) if row[j] == row[i] and j != i]
            if not own:
                scores.append(0.0)
                continue
            a = distances[i, own].mean()
            b = min(distances[i, row == other].mean() for other in set(row) - {row[i]})
            scores.append((b - a) / max(a, b))
        assert found == pytest.approx(np.mean(scores))


def test_debiased_cka() -> None:
    x = RANDOM.normal(size=(45, 300))
    same = np.arange(45)[None]
    turned = x @ np.linalg.qr(RANDOM.normal(size=(300, 300)))[0] * 7 + 3
    assert cka(x, turned, same) == pytest.approx(1.0)
    chance = [cka(x, RANDOM.normal(size=(45, 300)), same) for _ in range(20)]
    assert abs(np.mean(chance)) < 0.05  # the biased one is about 0.87 here
    assert cka(np.ones((45, 3)), x, same) is None
    # HSIC by its definition in Song et al. 2012.
    y = RANDOM.normal(size=(45, 5)) + x[:, :5]
    hollow = [(g := z @ z.T) - np.diag(np.diag(g)) for z in (x, y)]

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        n = len(k)
        parts = np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m).sum()
        return float(parts / (n * (n - 3)))

    expected = hsic(*hollow) / np.sqrt(hsic(hollow[0], hollow[0]) * hsic(hollow[1], hollow[1]))
    assert cka(x, y, same) == pytest.approx(expected)


def test_scores() -> None:
    truth = np.array([0, 0, 1, 1])
    assert kappa(np.array([[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]]), truth).tolist() == [1.0, 0.0, 0.0]
    folds = [Fold(np.array([2, 3]), np.array([0, 1])), Fold(np.array([0, 1]), np.array([2, 3]))]
    values = np.array([1.0, 2.0, 3.0, 5.0])
    means = np.array([[4.0, 4.0, 1.5, 1.5]])
    assert r_squared(np.concatenate([means, values[None]]), values, folds, values) == pytest.approx([0.0, 1.0])
    assert one_hot(np.array([1, 0])).tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_permutations_stay_in_their_bins_and_units() -> None:
    answer = numbers().answer
    bins = quantile_bins(answer, 7)
    order = shuffles(bins, 50, np.random.default_rng(0))
    assert (order[0] == np.arange(45)).all()
    assert (np.sort(order, axis=1) == np.arange(45)).all()
    assert (bins[order] == bins).all()
    assert (order[1:] != np.arange(45)).mean() > 0.5
    together = answer[shuffles(bins, 50, np.random.default_rng(0), units=answer)]
    assert all((together[:, answer == c] == together[:, answer == c][:, :1]).all() for c in np.unique(answer))
    result = permutation_test(np.array([2.0, 1.0, 2.0, 3.0]))
    assert (result.value, result.control, result.p) == (2.0, 2.0, 0.75)


def test_labels() -> None:
    labels, notes = fact_labels(subject())
    assert labels is not None
    assert [note for note in notes if "exposures are unknown" in note]
    assert labels.operand_names == ("first operand", "second operand")
    assert labels.answer_name == "product"
    at = [fact.operands for fact in labels.facts].index((6, 9))
    assert (labels.operands[at].tolist(), labels.answer[at], labels.last_digit[at]) == ([6, 9], 54, 4)
    with_nine = [fact.operands for fact in labels.facts].index((1, 9))
    with_two = [fact.operands for fact in labels.facts].index((1, 2))
    assert labels.shares_operand[at, with_nine]
    assert not labels.shares_operand[at, with_two]
    turned = labels_of([Fact("MUL", (9, 6), 54), Fact("MUL", (6, 9), 54)], np.arange(2))
    assert turned.operands.tolist() == [[6, 9], [6, 9]]
    assert turned.operand_set.tolist() == [0, 0]
    squares = labels_of(Squares().facts(ordered=False), np.arange(20))
    assert squares.operand_names == ("first operand",)
    assert squares.answer_name == "answer"
    assert MOST >= 81  # the ordered table fits


def test_states_are_those_of_each_text_alone() -> None:
    """Padding changes nothing, and the mean is over the contexts."""
    import torch

    planted = subject(layers=2)
    labels, _ = fact_labels(planted)
    assert labels is not None
    vocabulary = planted.codec.vocabulary
    token = planted.ids[7]
    expected = 0.0
    for context in CONTEXTS:
        ids = [vocabulary.eos_id, *vocabulary.encode_plain(context).ids.tolist(), token]
        with torch.no_grad():
            states = planted.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        expected = expected + torch.stack([s[0, -1] for s in states]).numpy() / len(CONTEXTS)
    assert token_states(planted, labels)[:, 7] == pytest.approx(expected, abs=1e-5)

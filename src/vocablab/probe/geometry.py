"""Which added tokens lie near one another: neighbours, silhouettes, similarity of representations, and pictures.

Every number stands beside the same number with permuted labels. Labels of operands, digits and frequency are permuted
within bins of neighbouring answers (`vocablab.probe.permutation`), so that magnitude alone makes nothing significant;
where magnitude is the question they are permuted freely.

Shapes: N tokens, D width, P labellings, C classes.
"""

from typing import Any

import numpy as np

from vocablab.base.random_streams import numpy_stream
from vocablab.probe.labels import FactLabels, fact_labels, quantile_bins
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.permutation import Tested, shuffles, tested
from vocablab.probe.states import centred_gram, initial_rows, places, rows, without
from vocablab.probe.subject import Subject

_MAGNITUDES = 5
"""Classes of an answer by its size, where nearly every answer is a class of its own."""
_FREE = "Labels are permuted freely: magnitude is the question."
_BINNED = "Labels are permuted within bins of neighbouring answers."


def geometry(subject: Subject, permutations: int = 1000, seed: int = 0) -> Findings:
    """Are rows of added tokens grouped by what the tokens say?

    Args:
        subject: the model.
        permutations: of each test.
        seed: of the permutations.
    """
    labels, notes = fact_labels(subject)
    found = Findings(notes=notes)
    if labels is None:
        return found
    for place, which in places(subject).items():
        rows_ND = rows(subject, which, labels)
        cosines = _cosines(rows_ND)
        draws = _Draws(labels, permutations, seed)
        found.measures += _neighbours(place, cosines, labels, draws)
        found += _silhouettes(place, 1 - cosines, labels, draws)
        found += _similarity(place, rows_ND, initial_rows(subject, which, labels), labels, draws)
        found.measures.append(_norms(subject, place, which, rows_ND))
        found.figures.append(_picture(subject, place, rows_ND, labels))
    return found


class _Draws:
    """The permutations, as indices (1 + P, N)."""

    def __init__(self, labels: FactLabels, permutations: int, seed: int) -> None:
        bins, free, answer = labels.magnitude_bins, np.zeros(len(labels.facts), dtype=np.int64), labels.answer
        self.binned = shuffles(bins, permutations, numpy_stream(seed, "geometry", "binned"))
        self.by_answer = shuffles(bins, permutations, numpy_stream(seed, "geometry", "by answer"), units=answer)
        self.free = shuffles(free, permutations, numpy_stream(seed, "geometry", "free"))


def _measure(place: str, target: str, metric: str, result: Tested, n: int, note: str = "") -> Measure:
    return Measure("geometry", place, target, metric, result.value, result.control, result.p, n, note)


def _cosines(rows_ND: np.ndarray) -> np.ndarray:
    """Cosines between rows without their mean, (N, N); 0 for a row that is the mean."""
    gram = centred_gram(rows_ND)
    length = np.sqrt(np.maximum(np.diag(gram), 0.0))
    length = np.where(length > 0, length, 1.0)
    return np.clip(gram / length / length[:, None], -1.0, 1.0)


def _neighbours(place: str, cosines: np.ndarray, labels: FactLabels, draws: _Draws) -> list[Measure]:
    """Of how many tokens does the nearest one share an operand, or have about the same answer?"""
    others = cosines - 3.0 * np.eye(len(cosines))
    nearest = others.argmax(1)
    answer = labels.answer.astype(np.float64)
    near_answer = np.abs(answer[:, None] - answer) <= 0.1 * np.maximum(answer[:, None], answer)

    def share(relation: np.ndarray, order: np.ndarray) -> Tested:
        return tested(relation[order, order[:, nearest]].mean(1))

    n, metric = len(answer), "nearest neighbour shares it"
    return [
        _measure(place, "operands", metric, share(labels.shares_operand, draws.binned), n, _BINNED),
        _measure(
            place, labels.answer_name, "nearest neighbour within 10 percent", share(near_answer, draws.free), n, _FREE
        ),
    ]


def _silhouettes(place: str, distances: np.ndarray, labels: FactLabels, draws: _Draws) -> Findings:
    found, n = Findings(), len(distances)
    named = [
        *((name, labels.operands[:, k], draws.binned, _BINNED) for k, name in enumerate(labels.operand_names)),
        (labels.answer_name, quantile_bins(labels.answer, _MAGNITUDES), draws.free, f"Five classes by size. {_FREE}"),
        ("last digit", labels.last_digit, draws.by_answer, _BINNED),
    ]
    if labels.decile is not None:
        named.append(("frequency", labels.decile, draws.binned, f"Deciles of exposures. {_BINNED}"))
    for name, values, order, note in named:
        classes = np.unique(values, return_inverse=True)[1].reshape(-1)
        if not 1 < classes.max() + 1 < n:
            found.notes.append(f"{place}: no silhouette by {name}: {classes.max() + 1} classes of {n} tokens.")
            continue
        found.measures.append(
            _measure(place, name, "silhouette", tested(silhouettes(distances, classes[order])), n, note)
        )
    return found


def silhouettes(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean silhouette (Rousseeuw 1987) of each labelling, (P,).

    A token scores (b - a) / max(a, b): a is its mean distance to its own class, b to the nearest other class; a token
    that is alone scores 0.

    Args:
        distances: (N, N), zeros on the diagonal.
        labels: (P, N) classes from 0; each labelling has at least two.
    """
    classes = int(labels.max()) + 1
    out = np.empty(len(labels))
    step = max(1, (1 << 22) // (len(distances) * classes))
    for low in range(0, len(labels), step):
        part = labels[low : low + step]
        member_PNC = (part[:, :, None] == np.arange(classes)).astype(np.float64)
        size_PC = member_PNC.sum(1)
        sum_PNC = distances @ member_PNC
        own_size = np.take_along_axis(size_PC, part, 1)
        own = np.take_along_axis(sum_PNC, part[:, :, None], 2)[:, :, 0] / np.maximum(own_size - 1, 1)
        mean_PNC = np.where(size_PC[:, None] > 0, sum_PNC / np.maximum(size_PC, 1)[:, None], np.inf)
        np.put_along_axis(mean_PNC, part[:, :, None], np.inf, 2)
        other = mean_PNC.min(2)
        larger = np.maximum(own, other)
        score = np.where((own_size > 1) & (larger > 0), (other - own) / np.where(larger > 0, larger, 1.0), 0.0)
        out[low : low + step] = score.mean(1)
    return out


def _similarity(
    place: str, rows_ND: np.ndarray, initial: np.ndarray | None, labels: FactLabels, draws: _Draws
) -> Findings:
    """CKA with what the tokens say, and with where training started."""
    found, n = Findings(), len(rows_ND)
    magnitude = np.stack([np.ones(n), labels.log_answer, labels.answer], axis=1)
    # Bins do not suffice here: CKA sees even the order within a bin, so magnitude is also regressed out of both.
    note = f"The answer and its logarithm are regressed out of both. {_BINNED}"
    rest = without(magnitude, rows_ND), without(magnitude, labels.operand_counts)
    compared = [("operands", *rest, draws.binned, note)]
    compared.append((labels.answer_name, rows_ND, labels.log_answer[:, None], draws.free, _FREE))
    if initial is None:
        found.notes.append(f"{place}: the initial rows are unknown, so how far they were learned is not measured.")
    else:
        note = "1: training left the rows as they were drawn; rows are permuted freely."
        compared.append(("initial rows", rows_ND, initial, draws.free, note))
    for target, own, other, order, note in compared:
        result = cka(own, other, order)
        if result is None:
            found.notes.append(f"{place}: no CKA with {target}: the rows or the labels do not differ enough.")
        else:
            found.measures.append(_measure(place, target, "CKA", tested(result), n, note))
    return found


def cka(a_ND: np.ndarray, b_NE: np.ndarray, order: np.ndarray) -> np.ndarray | None:
    """Debiased linear CKA of `a` with `b`, whose rows are permuted: (P,); None if one of them has no structure.

    Kornblith et al. 2019 (arXiv:1905.00414) with the unbiased estimator of HSIC (Song et al. 2012, JMLR 13): with
    fewer rows than dimensions the plain one is near 1 for random rows. It can be a little below 0.

    Args:
        a_ND: rows.
        b_NE: other rows of the same tokens.
        order: (P, N) indices into them.
    """
    a, b = _u_centred(a_ND @ a_ND.T), _u_centred(b_NE @ b_NE.T)
    scale = float((a * a).sum()) * float((b * b).sum())
    if len(a) < 4 or scale <= 0:
        return None
    return np.array([float((a * b[np.ix_(one, one)]).sum()) for one in order]) / scale**0.5


def _u_centred(gram: np.ndarray) -> np.ndarray:
    """U-centring (Székely and Rizzo 2014): the inner product of two such matrices is n (n - 3) times unbiased HSIC."""
    n = len(gram)
    hollow = gram - np.diag(np.diag(gram))
    sums = hollow.sum(0)
    out = hollow - (sums + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(out, 0.0)
    # Rows that do not differ leave rounding, not structure.
    return out if np.square(out).sum() > 1e-20 * np.square(gram).sum() else np.zeros_like(out)


def _norms(subject: Subject, place: str, which: str, rows_ND: np.ndarray) -> Measure:
    base = subject.table(which)[: subject.codec.vocabulary.base_size]
    mean = float(np.sqrt(np.einsum("vd,vd->v", base, base)).mean())  # einsum: no second (V, D) table
    value = float(np.linalg.norm(rows_ND, axis=1).mean())
    return Measure("geometry", place, "norm", "mean norm", value, mean, None, len(rows_ND), "Control: the base tokens.")


def _picture(subject: Subject, place: str, rows_ND: np.ndarray, labels: FactLabels) -> Figure:
    centred = rows_ND - rows_ND.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    share = np.square(singular) / (np.square(singular).sum() or 1.0)
    at = left[:, :2] * singular[:2]
    colours: dict[str, Any] = {name: labels.operands[:, k] for k, name in enumerate(labels.operand_names)}
    colours |= {labels.answer_name: labels.answer, "last digit": labels.last_digit}
    if labels.log_exposures is not None:
        colours["frequency"] = labels.log_exposures.round(3)
    points = [
        {
            "x": float(at[i, 0]),
            "y": float(at[i, 1]),
            "label": subject.meanings[labels.index[i]].name,
            "groups": {name: values[i].item() for name, values in colours.items()},
        }
        for i in range(len(at))
    ]
    return Figure(
        name=f"pca-{place.replace(' ', '-')}",
        title=f"The {place} of the added tokens of {subject.name} in two dimensions (principal components)",
        kind="scatter",
        x=f"component 1 ({share[0]:.0%} of the variance)",
        y=f"component 2 ({share[1]:.0%} of the variance)",
        data={"points": points, "colour_by": list(colours)},
    )

"""Are numbers coded by their remainders? The spectrum of the rows over the answer, and whether remainders can be read.

Language models code numbers partly as cosines and sines of periods 2, 5, 10 (Zhou et al. 2024, arXiv:2406.03445; Levy
and Geva 2024, arXiv:2410.11781). A peak in a spectrum alone is no evidence: a row that only grows with the answer has
power at low frequencies, and answers are not spread evenly. So the remainder modulo T must also be read by a linear
probe from tokens whose answer, or operands, it has not seen; Cohen's kappa takes out that remainders are not equally
frequent, and rows are permuted between neighbouring answers.

The spectrum is the share of the rows' variance that a cosine and a sine of one frequency explain together (least
squares, since the answers leave gaps).

Shapes: N tokens, D width, F frequencies, P labellings.
"""

import numpy as np

from vocablab.base.random_streams import numpy_stream
from vocablab.probe.cross_validation import cross_validate, holding_out, kappa, one_hot, random_folds, tokens_tested
from vocablab.probe.labels import FactLabels, fact_labels
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.permutation import shuffles, tested
from vocablab.probe.states import centred_gram, places, rows
from vocablab.probe.subject import Subject

PERIODS = (2, 5, 10, 3, 7)
"""Remainders that are read; 3 and 7 are no divisors of ten."""
FOLDS = 5
"""Random folds; tokens of one answer are never parted."""


def fourier(subject: Subject, permutations: int = 1000, seed: int = 0) -> Findings:
    """Spectra of the rows and probes of remainders.

    Args:
        subject: the model.
        permutations: of each test.
        seed: of folds and permutations.
    """
    labels, notes = fact_labels(subject)
    found = Findings(notes=notes)
    if labels is None:
        return found
    tables = {place: rows(subject, which, labels) for place, which in places(subject).items()}
    named = {labels.answer_name: labels.answer} | dict(zip(labels.operand_names, labels.operands.T, strict=True))
    for place, rows_ND in tables.items():
        for name, values in named.items():
            if len(np.unique(values)) >= 4:
                found += _spectrum(subject.name, place, rows_ND, name, values, permutations, seed)
    found += _remainders(tables, labels, permutations, seed)
    return found


def frequencies_of(values: np.ndarray) -> np.ndarray:
    """Frequencies in cycles per unit, (F,): one cycle over the range of `values`, two, ... up to period 2."""
    span = int(values.max() - values.min()) + 1
    return np.arange(1, span // 2 + 1) / span


def spectrum(gram: np.ndarray, values: np.ndarray, frequencies: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Share of variance that each frequency explains, (P, F).

    Args:
        gram: inner products of the centred rows, (N, N).
        values: (N,) whole numbers, what the rows are a function of.
        frequencies: (F,).
        order: (P, N): whose value each token takes.
    """
    total = float(np.trace(gram)) or 1.0
    out = np.empty((len(order), len(frequencies)))
    for i, frequency in enumerate(frequencies):
        angle = 2 * np.pi * frequency * values
        waves = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        waves = waves - waves.mean(0)
        left, singular, _ = np.linalg.svd(waves, full_matrices=False)
        basis = left[:, singular > 1e-6 * max(1.0, float(singular[0]))]  # at period 2 the sine is 0 everywhere
        dealt_PNK = basis[order]
        out[:, i] = ((gram @ dealt_PNK) * dealt_PNK).sum((1, 2)) / total
    return out


def _spectrum(
    model: str, place: str, rows_ND: np.ndarray, name: str, values: np.ndarray, permutations: int, seed: int
) -> Findings:
    order = shuffles(np.zeros(len(values), dtype=np.int64), permutations, numpy_stream(seed, "spectrum", name))
    frequencies = frequencies_of(values)
    power = spectrum(centred_gram(rows_ND), values, frequencies, order)
    # The highest of all frequencies against the highest of all: which one it is was not known before.
    result = tested(power.max(1))
    period = float(1 / frequencies[power[0].argmax()])
    note = (
        f"Highest at period {period:.3g}. No evidence alone: rows that only grow have a peak too; see the remainders."
    )
    measure = Measure(
        "fourier", place, name, "spectral peak", result.value, result.control, result.p, len(values), note
    )
    x = frequencies.tolist()
    series = [
        {"name": "rows", "x": x, "y": power[0].tolist()},
        {"name": "permuted, mean", "x": x, "y": power[1:].mean(0).tolist()},
        {"name": "permuted, 95 percent below", "x": x, "y": np.quantile(power[1:], 0.95, axis=0).tolist()},
    ]
    figure = Figure(
        name=f"spectrum-{place}-{name}".replace(" ", "-"),
        title=f"Spectrum of the {place} of {model} over the {name}",
        kind="lines",
        x=f"frequency (cycles per unit of the {name})",
        y="share of variance explained",
        data={"series": series},
    )
    return Findings([measure], [figure])


def _remainders(tables: dict[str, np.ndarray], labels: FactLabels, permutations: int, seed: int) -> Findings:
    found, answer, n = Findings(), labels.answer, len(labels.facts)
    order = shuffles(labels.magnitude_bins, permutations, numpy_stream(seed, "remainders"))
    designs = {
        "kappa": random_folds(answer, FOLDS, numpy_stream(seed, "remainder folds")),
        "held-out kappa": holding_out(labels.operands, answer),
    }
    asked: dict[str, np.ndarray] = {}
    for period in PERIODS:
        classes = np.unique(answer % period, return_inverse=True)[1].reshape(-1)
        if 1 < classes.max() + 1 <= n / 2:
            asked[f"{labels.answer_name} mod {period}"] = classes
        else:
            found.notes.append(f"The remainder by {period} is not probed: {classes.max() + 1} classes of {n} tokens.")
    columns = [one_hot(classes) for classes in asked.values()]
    note = "Rows are permuted within bins of neighbouring answers."
    for place, rows_ND in tables.items():
        gram = centred_gram(rows_ND)
        for metric, folds in designs.items():
            if len(folds) < 2 or not columns:
                continue
            for (target, classes), predicted in zip(
                asked.items(), cross_validate(gram, order, columns, folds), strict=True
            ):
                result = tested(kappa(predicted.argmax(2), classes[tokens_tested(folds)]))
                found.measures.append(
                    Measure("fourier", place, target, metric, result.value, result.control, result.p, n, note)
                )
    return found

"""Can a linear map read operands, product, last digit and frequency from rows and hidden states?

A linear probe of few tokens in many dimensions fits anything, so each number is of tokens that the probe has not seen:

- *held-out*: no training token has the operand that is held out. For an operand as target the values of the other
  operand are held out; for the answer, its last digit and frequency, all tokens with a value as any operand, and
  tokens of the same answer. A probe that reads 6 from ``<MUL_6_7_42>`` must have learned it from others than 7's;
- random folds: five, tokens of the same operands (for the answer: of the same answer) never parted.

Beside each number stands its control task (Hewitt and Liang 2019, arXiv:1909.03368): the same probe, its ridge chosen
anew, where each token has the label of a random other one, of about the same answer unless magnitude is the question.
*Selectivity* is the difference. Every token is a type of its own here, so the control shows what labels, folds and
magnitude give; memorising, which theirs shows, is ruled out because types are held out. The same targets are also read
from the logarithm of the exposures alone, and from rows that were never trained: trained rows from which no more can be
read show no learning.

Exact answers are no classes: most occur once, so none could be predicted when held out; R2 of log(1 + answer) instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vocablab.base.random_streams import numpy_stream
from vocablab.facts.families import Family, Multiplication
from vocablab.probe.cross_validation import (
    Fold,
    accuracy,
    cross_validate,
    holding_out,
    one_hot,
    r_squared,
    random_folds,
    tokens_tested,
)
from vocablab.probe.labels import FactLabels, fact_labels, labels_of, sampled
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.permutation import shuffles, tested
from vocablab.probe.states import centred_gram, initial_rows, places, rows, text_states, token_states, without
from vocablab.probe.subject import Subject

FOLDS = 5
"""Random folds."""
TIMES_TABLE = Multiplication()
"""1 to 9."""
_BINNED = "Rows are permuted within bins of neighbouring answers."
_FREE = "Rows are permuted freely: magnitude is the question."


@dataclass(frozen=True)
class Target:
    """What is read."""

    name: str
    """For readers."""
    values: np.ndarray
    """(N,): classes from 0, or numbers."""
    classes: bool
    """Which of the two."""
    held_out: str
    """The design (`_designs`) that holds out operands; empty if there is none."""
    random: str
    """The design with random folds."""


@dataclass(frozen=True)
class Design:
    """Folds, and how rows are permuted for the control."""

    folds: list[Fold]
    """Of the cross-validation."""
    free: bool
    """Whether rows are permuted freely, or within bins of neighbouring answers."""


def linear_probes(subject: Subject, permutations: int = 1000, layer_permutations: int = 200, seed: int = 0) -> Findings:
    """Probe the rows of added tokens and the hidden states at them, layer by layer.

    Args:
        subject: the model.
        permutations: of each test of rows.
        layer_permutations: of each test of hidden states, of which there are many.
        seed: of folds and permutations.
    """
    labels, notes = fact_labels(subject)
    found = Findings(notes=notes)
    if labels is None:
        return found
    sources = {place: rows(subject, which, labels) for place, which in places(subject).items()}
    found += probe(sources | _baselines(subject, labels, seed), labels, permutations, seed)
    layers = {f"layer {i}": x.astype(np.float64) for i, x in enumerate(token_states(subject, labels))}
    in_layers = probe(layers, labels, layer_permutations, seed)
    in_layers.notes.clear()  # what is not probed in rows is not probed here, for the same reason
    in_layers.figures += _heatmap(
        in_layers.measures, list(layers), f"hidden states at the added tokens of {subject.name}", ""
    )
    found += in_layers
    return found


def text_probes(subject: Subject, family: Family = TIMES_TABLE, permutations: int = 200, seed: int = 0) -> Findings:
    """Probe the hidden states at the end of the same facts in plain text: arms without tokens can be compared.

    Args:
        subject: the model; it may have no added tokens.
        family: whose facts, one for each unordered pair of operands.
        permutations: of each test.
        seed: of folds and permutations.
    """
    facts = family.facts(ordered=False)
    facts = tuple(facts[i] for i in sampled(len(facts)))
    labels = labels_of(facts, np.arange(len(facts)))
    layers = {f"text layer {i}": x.astype(np.float64) for i, x in enumerate(text_states(subject, family, facts))}
    found = probe(layers, labels, permutations, seed)
    found.notes.append(
        f"{subject.name}: the last token of a plain text is a part of the answer, so the answer and its last digit are "
        "there before the first layer; only operands tell what the layers brought."
    )
    found.figures += _heatmap(found.measures, list(layers), f"hidden states at plain facts, {subject.name}", "text-")
    return found


def probe(sources: dict[str, np.ndarray], labels: FactLabels, permutations: int, seed: int) -> Findings:
    """Read every target from every source.

    Args:
        sources: by place, (N, D) float64.
        labels: of the N.
        permutations: of each test.
        seed: of folds and permutations.
    """
    targets, notes = _targets(labels)
    designs = _designs(labels, seed)
    bins = {False: labels.magnitude_bins, True: np.zeros(len(labels.facts), dtype=np.int64)}
    order = {
        free: shuffles(within, permutations, numpy_stream(seed, "linear", str(free))) for free, within in bins.items()
    }
    found = Findings(notes=notes)
    for place, rows_ND in sources.items():
        gram = centred_gram(rows_ND)
        for name, design in designs.items():
            asked = [target for target in targets if name in (target.held_out, target.random)]
            if not asked or len(design.folds) < 2:
                continue
            columns = [one_hot(t.values) if t.classes else t.values[:, None] for t in asked]
            for target, predicted in zip(
                asked, cross_validate(gram, order[design.free], columns, design.folds), strict=True
            ):
                found.measures += _measures(place, target, name == target.held_out, predicted, design)
    return found


def _measures(place: str, target: Target, held_out: bool, predicted_PMC: np.ndarray, design: Design) -> list[Measure]:
    truth = target.values[tokens_tested(design.folds)]
    if target.classes:
        scores = accuracy(predicted_PMC.argmax(2), truth)
    else:
        scores = r_squared(predicted_PMC[:, :, 0], truth, design.folds, target.values)
    result, n = tested(scores), len(target.values)
    note = _FREE if design.free else _BINNED
    metric = ("held-out " if held_out else "") + ("accuracy" if target.classes else "R2")
    out = [Measure("linear", place, target.name, metric, result.value, result.control, result.p, n, note)]
    if held_out and target.classes:
        selectivity = result.value - result.control
        out.append(Measure("linear", place, target.name, "selectivity", selectivity, 0.0, result.p, n, note))
    return out


def _classes(values: np.ndarray) -> np.ndarray:
    """The same as classes from 0, (N,)."""
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _targets(labels: FactLabels) -> tuple[list[Target], list[str]]:
    """What can be read, and notes on what cannot."""
    operands, n, notes, out = labels.operands, len(labels.facts), [], []
    others = operands.shape[1] > 1
    wanted = [
        Target(name, _classes(operands[:, k]), True, f"without {name}" if others else "", "sets")
        for k, name in enumerate(labels.operand_names)
    ]
    # Classes in the middle of a line hide behind its ends from a linear classifier, a number on it does not. Without
    # what follows from the answer, since bins do not hide magnitude from a regression.
    columns = np.stack([np.ones(n), labels.log_answer, labels.answer], axis=1)
    wanted += [
        Target(
            f"{name} as a number", without(columns, operands[:, k]), False, f"without {name}" if others else "", "sets"
        )
        for k, name in enumerate(labels.operand_names)
        if others
    ]
    wanted.append(Target("last digit", _classes(labels.last_digit), True, "without any", "answers"))
    wanted.append(Target(labels.answer_name, labels.log_answer, False, "without any, free", "answers, free"))
    if labels.log_exposures is not None:
        wanted.append(Target("frequency", labels.log_exposures, False, "without any", "sets"))
    for target in wanted:
        number = len(np.unique(target.values))
        if number < 2 or (target.classes and number > n / 2):
            notes.append(f"{target.name} is not probed: {number} different values of {n} tokens.")
        else:
            out.append(target)
    return out, notes


def _designs(labels: FactLabels, seed: int) -> dict[str, Design]:
    """The ways to hold out, by name."""
    operands, answer = labels.operands, labels.answer
    either = holding_out(operands, answer)
    by_answer = random_folds(answer, FOLDS, numpy_stream(seed, "linear folds", "answer"))
    by_set = random_folds(labels.operand_set, FOLDS, numpy_stream(seed, "linear folds", "set"))
    designs = {
        "without any": Design(either, free=False),
        "without any, free": Design(either, free=True),
        "answers": Design(by_answer, free=False),
        "answers, free": Design(by_answer, free=True),
        "sets": Design(by_set, free=False),
    }
    columns = operands.shape[1]
    for k, name in enumerate(labels.operand_names):
        other = operands[:, [(k + 1) % columns]]
        designs[f"without {name}"] = Design(holding_out(other), free=False)
    return designs


def _baselines(subject: Subject, labels: FactLabels, seed: int) -> dict[str, np.ndarray]:
    """What finds something without any learning of facts."""
    out = {}
    if labels.log_exposures is not None:
        out["exposures alone"] = labels.log_exposures[:, None]
    for place, which in places(subject).items():
        initial = initial_rows(subject, which, labels)
        if initial is None:
            now = rows(subject, which, labels)
            initial = numpy_stream(seed, "untrained rows", which).normal(0.0, float(now.std()) or 1.0, now.shape)
        out[f"untrained {place}"] = initial
    return out


def _heatmap(measures: Sequence[Measure], layers: list[str], what: str, prefix: str) -> list[Figure]:
    held = {(m.place, m.target): m.value for m in measures if m.metric in ("held-out accuracy", "held-out R2")}
    targets = list(dict.fromkeys(target for place, target in held if place in layers))
    if not targets:
        return []
    values = [[max(0.0, held[layer, target]) for target in targets] for layer in layers]
    title = f"What a linear probe reads from the {what}: accuracy, or R2 of numbers, operands held out"
    data = {"values": values, "x": targets, "y": layers, "low": 0.0, "high": 1.0}
    return [Figure(f"{prefix}linear-by-layer", title, "heatmap", "target", "layer (0: embeddings)", data)]

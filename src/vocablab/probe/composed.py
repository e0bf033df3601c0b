"""Rows predicted from the parts of their facts, put into the tables in place of trained ones, and used at once.

A network that trains its rows by a learned composition (`vocablab.model.composition`) has ordinary rows after export,
so whether rows follow from parts is asked anew here, of any model: a ridge regression, fitted to the rows of some
facts, predicts those of the others. It is linear in the parts: what it misses, a learned composition might still find.
The rest of the network was trained with the held-out facts' tokens; only their rows are new to it. Tokens that were in
truth never taught are another probe's (`vocablab.probe.untaught`).

Held out by operand (no fact with that number in any place is fitted), by result, and by row of the table (no fact with
that first operand). In each fold the rows of all held-out facts are exchanged at a time.

Shapes: N facts, D width, K folds, V tokens.
"""

from collections.abc import Sequence

import numpy as np

from vocablab.facts.fact import Fact
from vocablab.facts.held_out import HeldOutFacts
from vocablab.probe.contexts import MOST_FACTS, facts_in_play, token_ids
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.row_prediction import part_features, predict
from vocablab.probe.row_trial import MEAN, TRAINED, RowTrial, Split, Used, fixed_rows, measures
from vocablab.probe.subject import Subject
from vocablab.tasks.task import evenly

PROBE = "composed"
LEAST_FITTED = 6
"""Facts that every fold must leave to fit."""
COMPOSED = "composed row"


def composed(subject: Subject) -> Findings:
    """Use of predicted rows in context and as outputs, beside trained rows, means, and random ones."""
    found = Findings()
    family, _ = facts_in_play(subject)
    ids = token_ids(subject)
    facts = [fact for _, fact in evenly(list(ids), MOST_FACTS)]
    if not facts:
        found.notes.append(f"{subject.name} has no tokens that state a fact: no row could be composed.")
        return found
    if why := RowTrial.impossible(subject):
        found.notes.append(why)
        return found
    trial = RowTrial.of(subject, family, facts)
    splits = _splits(facts)
    if trial is None or not splits:
        found.notes.append(f"{subject.name}: {len(facts)} facts with tokens are too few, or none fits into a text.")
        return found
    tables = {which: subject.table(which) for which in ("input", "output")}
    trained = {w: table[[ids[f] for f in facts]] for w, table in tables.items()}
    features = {w: part_features(subject, family, facts, table) for w, table in tables.items()}
    fixed = {
        w: {TRAINED: trained[w]} | fixed_rows(subject, family, facts, table, trained[w]) for w, table in tables.items()
    }
    # Only the own row stands in a context, so rows that are the same in every fold are read once.
    everyone = np.arange(len(facts))
    read = {kind: trial.read(rows, everyone) for kind, rows in fixed["input"].items()}
    bars: dict[str, list[float]] = {}
    for split in splits:
        kinds = {
            COMPOSED: {w: predict(features[w], trained[w], split.held_out_KN) for w in tables},
            MEAN: {w: _fold_means(trained[w], split.held_out_KN) for w in tables},
        }
        used = {}
        for kind, rows_KND in kinds.items():
            own_ND = rows_KND["input"][split.fold_N, everyone]
            used[kind] = Used(*trial.read(own_ND, everyone), trial.ranked(rows_KND["output"], trained["output"], split))
        for kind, rows_ND in fixed["output"].items():
            same_KND = np.broadcast_to(rows_ND, (len(split.held_out_KN), *rows_ND.shape))
            used[kind] = Used(*read[kind], trial.ranked(same_KND, trained["output"], split))
        predicted = kinds[COMPOSED]["input"][split.fold_N, everyone]
        means = kinds[MEAN]["input"][split.fold_N, everyone]
        found.measures.append(_explained(split, predicted, means, trained["input"]))
        found.measures += measures(PROBE, used, f"by {split.name}", COMPOSED, (trial.answers, len(facts)))
        for kind, one in used.items():
            bars.setdefault(kind, []).append(float(one.answer_N.mean()))
    names = [split.name for split in splits]
    series = [{"name": kind, "x": names, "y": values} for kind, values in bars.items()]
    title = "Answers after a token whose row was predicted from its parts"
    label = "mean reciprocal rank of the right answer"
    found.figures.append(Figure("composed-answers", title, "bars", "held out by", label, {"series": series}))
    return found


def _splits(facts: Sequence[Fact]) -> list[Split]:
    """Those of the three that leave enough facts to fit in every fold."""
    firsts, results = [fact.operands[0] for fact in facts], [fact.answer for fact in facts]
    # By what each fact is judged; of a fact of one operand, its row is its operand.
    ways = {"operand": firsts, "result": results} | ({"row": firsts} if len(facts[0].operands) > 1 else {})
    found = []
    for way, keys in ways.items():
        values = sorted(set(keys))
        held = np.array([[fact in HeldOutFacts(way, (value,)) for fact in facts] for value in values])
        if (~held).sum(1).min() >= LEAST_FITTED:
            name = "table row" if way == "row" else way
            found.append(Split(name, held, np.array([values.index(key) for key in keys])))
    return found


def _fold_means(trained_ND: np.ndarray, held_out_KN: np.ndarray) -> np.ndarray:
    """The mean of the fitted rows in place of every row, (K, N, D)."""
    means_KD = np.stack([trained_ND[~held].mean(0) for held in held_out_KN])
    return np.repeat(means_KD[:, None], len(trained_ND), axis=1)


def _explained(split: Split, predicted: np.ndarray, means: np.ndarray, trained: np.ndarray) -> Measure:
    """Share of the trained rows' variance around the fitted mean that the prediction explains; below 0 if it harms."""
    value = 1 - float(((predicted - trained) ** 2).sum()) / max(float(((means - trained) ** 2).sum()), 1e-12)
    note = "Of held-out rows, against the mean of the fitted ones (control)."
    return Measure(PROBE, "input rows", f"by {split.name}", "explained variance", value, 0.0, None, len(trained), note)

"""Differences between arms on every measure: for the primary claims, against control, and against each placebo."""

import dataclasses
import math
from typing import Any

from vocablab.analysis.claims import LOWER_IS_BETTER
from vocablab.analysis.estimates import Estimate, estimate
from vocablab.analysis.multiplicity import benjamini_hochberg, dunnett
from vocablab.analysis.proportions import mcnemar
from vocablab.analysis.scores import Paired, StudyFiles, item_values, measures, pair
from vocablab.base.errors import RunError
from vocablab.base.proportions import wilson

LEVEL = 0.95
"""Level of every interval that is not a primary claim's."""
ZERO_ONE = frozenset({"acc", "acc_flexible", "acc_norm", "acc_bytes", "acc_tokens", "recomputed"})
"""Metrics that are right or wrong for an item, unless several answers were sampled."""
SHARES = ZERO_ONE | {"p_correct", "reliance"}
"""Metrics between 0 and 1: shown in per cent."""
UNJUDGED = frozenset({"reliance"})
"""Metrics where neither an increase nor a decrease is an improvement."""


class Pairs:
    """Pairs of arms by measure, each lined up once: claims, gates and tables ask for the same ones."""

    def __init__(self, study: StudyFiles) -> None:
        self.study = study
        self._known: dict[tuple[str, str, str, str], Paired | RunError | None] = {}

    def get(self, arm: str, against: str, target: str, metric: str) -> Paired | None:
        """The pair; None if it has no seed or the arms were not asked the same items (then see `why_not`)."""
        found = self._look(arm, against, target, metric)
        return None if isinstance(found, RunError) else found

    def why_not(self, arm: str, against: str, target: str, metric: str) -> str | None:
        """Why the two arms cannot be compared on the measure; None if they can, or have no scores yet."""
        found = self._look(arm, against, target, metric)
        return str(found) if isinstance(found, RunError) else None

    def _look(self, *key: str) -> Paired | RunError | None:
        arm, against, target, metric = key
        if (arm, against, target, metric) not in self._known:
            try:
                self._known[(arm, against, target, metric)] = pair(self.study, arm, against, target, metric)
            except RunError as error:
                self._known[(arm, against, target, metric)] = error
        return self._known[(arm, against, target, metric)]


def estimate_of(paired: Paired, *, same_seeds: bool = True) -> Estimate:
    """The estimate of a pair, over seeds and items; the arms' seeds are the same ones unless said otherwise."""
    weights = paired.treatment_weights, paired.control_weights
    return estimate(paired.treatment, paired.control, paired.clusters, *weights, paired=same_seeds)


def estimate_json(paired: Paired, found: Estimate, level: float, metric: str) -> dict[str, Any]:
    """An estimate as JSON values, with each seed's own difference and, for 0/1 scores, McNemar's test."""
    low, high = found.interval(level)
    seeds: list[dict[str, Any]] = []
    for row, seed in enumerate(paired.seeds):
        entry: dict[str, Any] = {"seed": seed, "effect": found.per_seed[row]}
        if metric in ZERO_ONE:
            entry["mcnemar"] = dataclasses.asdict(mcnemar(paired.treatment[row], paired.control[row]))
        seeds.append(entry)
    return {
        "effect": found.effect,
        "low": low,
        "high": high,
        "level": level,
        "standard_error": found.standard_error,
        "degrees_of_freedom": found.degrees_of_freedom,
        "p_value": found.p_value,
        "sign_flip_p": found.sign_flip_p,
        "mde": found.mde(1 - level),
        "treatment_mean": found.treatment_mean,
        "control_mean": found.control_mean,
        "n_seeds": found.n_seeds,
        "n_items": found.n_items,
        "n_clusters": found.n_clusters,
        "variance": dataclasses.asdict(found.variance),
        "standard_error_floor": found.floor,
        "seeds": seeds,
    }


def brief_json(found: Estimate) -> dict[str, Any]:
    """The parts of an estimate that a table of secondary numbers shows, at the plain level."""
    low, high = found.interval(LEVEL)
    kept = ("effect", "p_value", "treatment_mean", "control_mean", "n_seeds", "n_items", "n_clusters")
    return {"low": low, "high": high, **{name: getattr(found, name) for name in kept}}


def components(variance: dict[str, Any]) -> list[dict[str, Any]]:
    """The variance components of an estimate, what each adds to the variance of the mean, and its share of that.

    Args:
        variance: `Variance` as JSON values.
    """
    seeds, items = int(variance["n_seeds"]), int(variance["n_items"])
    divisors = {"seed": seeds, "item": items, "residual": seeds * items}
    added = {name: float(variance[name]) / divisor for name, divisor in divisors.items()}
    total = sum(added.values())
    return [
        {
            "source": name,
            "variance": float(variance[name]),
            "standard_deviation": math.sqrt(max(0.0, float(variance[name]))),
            "of_the_mean": added[name],
            "share": added[name] / total if total > 0 else None,
            # With one seed (or one item) its spread cannot be told from the rest: 0 then means "not known".
            "known": {"seed": seeds > 1, "item": items > 1, "residual": seeds > 1 and items > 1}[name],
        }
        for name in divisors
    ]


def all_measures(study: StudyFiles) -> list[tuple[str, str]]:
    """Every (``task.split``, metric) that any run scored, in order of first appearance."""
    found: dict[tuple[str, str], None] = {}
    for run in study.runs.values():
        if run.scores is not None:
            for task, split, metric in measures(run.scores):
                found[(f"{task}.{split}" if split else task, metric)] = None
    return list(found)


def effects(pairs: Pairs) -> list[dict[str, Any]]:
    """Each other arm minus control on each measure: intervals at a plain 95 % level, exploratory.

    ``q_value`` is the false discovery rate (Benjamini and Hochberg 1995) over all of them but the primary claims, which
    Holm corrects among themselves; None there.
    """
    study = pairs.study
    rows = [
        row
        for target, metric in _wanted(study)
        for arm in study.arm_names
        if arm != study.control and (row := _contrast(pairs, arm, study.control, target, metric))
    ]
    _discoveries(rows)
    return rows


def _discoveries(rows: list[dict[str, Any]]) -> None:
    asked = [row for row in rows if not row["primary"]]
    for row, rate in zip(asked, benjamini_hochberg([row["p_value"] for row in asked]), strict=True):
        row["q_value"] = rate
    for row in rows:
        row.setdefault("q_value", None)


def against_control(pairs: Pairs) -> list[dict[str, Any]]:
    """All arms against control on each claimed measure, with intervals that hold together (Dunnett 1955).

    Empty for a measure with fewer than two other arms.
    """
    study, found = pairs.study, []
    for claim in study.claims:
        arms = {arm: pairs.get(arm, study.control, claim.target, claim.metric) for arm in study.arm_names}
        named = {arm: estimate_of(paired) for arm, paired in arms.items() if arm != study.control and paired}
        # One seed leaves no degrees of freedom between seeds, and different ones no common number.
        if len(named) < 2 or len({one.n_seeds for one in named.values()}) > 1:
            continue
        for arm, one in zip(named, dunnett(list(named.values()), LEVEL), strict=True):
            row = {"target": claim.target, "metric": claim.metric, "arm": arm, **dataclasses.asdict(one)}
            found.append(row | {"direction": 1 if claim.higher_is_better else -1, "n_seeds": named[arm].n_seeds,
                                "n_items": named[arm].n_items})  # fmt: skip
    return found


def placebo_contrasts(pairs: Pairs) -> list[dict[str, Any]]:
    """Treatment minus each arm beside the control on each measure; of a placebo it is what content adds.

    Placebos are sham tokens, the facts in plain text, a pause token, a widened model; an arm may also be another
    treatment.
    """
    study = pairs.study
    rows = [
        row
        for target, metric in _wanted(study)
        for arm in study.arm_names
        if arm not in (study.control, study.treatment)
        and (row := _contrast(pairs, study.treatment, arm, target, metric))
    ]
    _discoveries(rows)
    return rows


def _wanted(study: StudyFiles) -> list[tuple[str, str]]:
    """The claimed measures, then the others; what is claimed by its task alone is not said again as its one split."""
    claimed = [(claim.target, claim.metric) for claim in study.claims]
    found = all_measures(study)
    splits: dict[str, set[str]] = {}
    for target, _ in found:
        splits.setdefault(target.partition(".")[0], set()).add(target)
    again = {
        (target, metric)
        for target, metric in found
        if (target.partition(".")[0], metric) in claimed and len(splits[target.partition(".")[0]]) == 1
    }
    return list(dict.fromkeys([*claimed, *(measure for measure in found if measure not in again)]))


def _contrast(pairs: Pairs, arm: str, against: str, target: str, metric: str) -> dict[str, Any] | None:
    study = pairs.study
    paired = pairs.get(arm, against, target, metric)
    if paired is None:
        return None
    claimed = any((claim.target, claim.metric) == (target, metric) for claim in study.claims)
    return {
        "target": target,
        "metric": metric,
        "arm": arm,
        "against": against,
        "claimed": claimed,
        "primary": claimed and arm == study.treatment and against == study.control,
        "direction": 0 if metric in UNJUDGED else -1 if metric in LOWER_IS_BETTER else 1,
        **estimate_json(paired, estimate_of(paired), LEVEL, metric),
    }


def scores(study: StudyFiles) -> list[dict[str, Any]]:
    """Mean per arm on each measure; shares of right items also get a Wilson interval.

    The interval counts each item once however many seeds answered it: seeds do not make new items.
    """
    rows = []
    for target, metric in all_measures(study):
        arms = {}
        for arm in study.arm_names:
            seeds, items = {}, 0
            for seed in study.seeds:
                table = study.runs[(arm, seed)].scores
                values = item_values(table, target, metric) if table is not None else {}
                weight = sum(value[1] for value in values.values())
                if weight > 0:
                    seeds[str(seed)] = sum(value[0] for value in values.values()) / weight
                    items = len(values)
            if not seeds:
                continue
            mean = sum(seeds.values()) / len(seeds)
            arms[arm] = {"mean": mean, "n_items": items, "n_seeds": len(seeds), "per_seed": seeds}
            if metric in ZERO_ONE and math.isfinite(mean):
                arms[arm]["low"], arms[arm]["high"] = wilson(mean, items)
        rows.append({"target": target, "metric": metric, "arms": arms})
    return rows

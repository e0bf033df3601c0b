"""Every number of the report, as one JSON value; the page only draws what is here."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from vocablab.analysis import samples
from vocablab.analysis.scores import STAGES, Paired, Run, StudyFiles, item_values, measures, pair, read_study
from vocablab.analysis.statistics import Estimate, estimate, mcnemar, wilson
from vocablab.analysis.verdict import decide, describe
from vocablab.base.config import to_json
from vocablab.base.errors import RunError

FORMAT = 1
_SHARES = ("acc", "acc_flexible", "acc_norm")
_CURVE_POINTS = 1500
"""A curve with more points is thinned: no screen shows more, and the page must stay small."""


def build_report(study_dir: Path) -> dict[str, Any]:
    """Compute the whole report of the study in `study_dir` as JSON values (None for what is not a number).

    The same records always give the same report: nothing of the present time or machine enters it.

    Raises:
        UserError: if the study's description is missing or damaged, or nothing was scored yet.
    """
    study = read_study(study_dir)
    gates = [*_gates(study), *_documents_gates(study), *_arithmetic_gates(study), *_pairing_gates(study)]
    red = [gate for gate in gates if not gate["passed"]]
    report = {
        "format": FORMAT,
        "study": {
            "name": study.name,
            "title": study.title,
            "docstring": study.docstring,
            "preset": study.preset,
            "control": study.control,
            "treatment": study.treatment,
            "arms": study.arms,
            "seeds": study.seeds,
            "exploratory": study.exploratory,
        },
        "verdicts": [_verdict(study, index, not red) for index in range(len(study.claims))],
        "effects": _effects(study),
        "scores": _scores(study),
        "curves": {"pretrain": _pretrain_curves(study), "sft": _sft_curves(study)},
        "adoption": samples.adoption(study),
        "samples": samples.side_by_side(study),
        "gates": gates,
        "runs": [_run(study.runs[(arm, seed)]) for arm in study.arm_names for seed in study.seeds],
        "missing": _missing(study),
    }
    clean: dict[str, Any] = _finite(report)
    return clean


def _finite(value: Any) -> Any:
    """The same value with None for NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _estimate(paired: Paired) -> Estimate:
    return estimate(paired.treatment, paired.control, paired.clusters, paired.treatment_weights, paired.control_weights)


def _pair_or_none(study: StudyFiles, arm: str, target: str, metric: str) -> Paired | None:
    try:
        return pair(study, arm, study.control, target, metric)
    except RunError:
        return None  # for a primary claim `_pairing_gates` has made a red gate of it


def _verdict(study: StudyFiles, index: int, gates_ok: bool) -> dict[str, Any]:
    claim = study.claims[index]
    paired = _pair_or_none(study, study.treatment, claim.target, claim.metric)
    found = _estimate(paired) if paired else None
    verdict = decide(
        claim,
        found,
        found.n_seeds if found else 0,
        gates_ok,
        study.exploratory,
        n_claims=len(study.claims),
        declared_seeds=len(study.seeds),
        treatment=study.treatment,
    )
    return {
        "claim": to_json(claim) | {"text": describe(claim), "higher_is_better": claim.higher_is_better},
        **dataclasses.asdict(verdict),
        "estimate": _estimate_json(paired, found, verdict.level, claim.metric) if paired and found else None,
    }


def _estimate_json(paired: Paired, found: Estimate, level: float, metric: str) -> dict[str, Any]:
    low, high = found.interval(level)
    tests: list[dict[str, Any]] = []
    for row, seed in enumerate(paired.seeds):
        entry: dict[str, Any] = {"seed": seed, "effect": found.per_seed[row]}
        if metric in ("acc", "acc_flexible", "acc_norm"):
            entry["mcnemar"] = dataclasses.asdict(mcnemar(paired.treatment[row], paired.control[row]))
        tests.append(entry)
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
        "seeds": tests,
    }


def all_measures(study: StudyFiles) -> list[tuple[str, str]]:
    """Every (``task.split``, metric) that any run scored, in order of first appearance."""
    found: dict[tuple[str, str], None] = {}
    for run in study.runs.values():
        if run.scores is not None:
            for task, split, metric in measures(run.scores):
                found[(f"{task}.{split}" if split else task, metric)] = None
    return list(found)


def _effects(study: StudyFiles) -> list[dict[str, Any]]:
    """Each other arm minus control on each measure, at a plain 95 % level: exploratory, not corrected."""
    wanted = dict.fromkeys([*((c.target, c.metric) for c in study.claims), *all_measures(study)])
    primary = {(claim.target, claim.metric) for claim in study.claims}
    rows = []
    for target, metric in wanted:
        for arm in study.arm_names:
            paired = None if arm == study.control else _pair_or_none(study, arm, target, metric)
            if paired is None:
                continue
            is_primary = (target, metric) in primary and arm == study.treatment
            rows.append(
                {"target": target, "metric": metric, "arm": arm, "primary": is_primary}
                | _estimate_json(paired, _estimate(paired), 0.95, metric)
            )
    return rows


def _scores(study: StudyFiles) -> list[dict[str, Any]]:
    """Mean per arm on each measure; shares also get a Wilson interval.

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
            if metric in _SHARES and math.isfinite(mean):
                arms[arm]["low"], arms[arm]["high"] = wilson(mean, items)
        rows.append({"target": target, "metric": metric, "arms": arms})
    return rows


def _thin(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    step = max(1, math.ceil(len(rows) / _CURVE_POINTS))
    return [row for i, row in enumerate(rows) if i % step == 0 or i == len(rows) - 1]


def _pretrain_curves(study: StudyFiles) -> list[dict[str, Any]]:
    curves = []
    for (arm, seed), run in study.runs.items():
        train = _thin([row for row in run.pretrain_metrics if row.get("train_bits_per_byte") is not None])
        val = _thin([row for row in run.pretrain_metrics if row.get("val_bits_per_byte") is not None])
        if train or val:
            curves.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "train_source_bytes": [row.get("source_bytes") for row in train],
                    "train_bits_per_byte": [row["train_bits_per_byte"] for row in train],
                    "val_source_bytes": [row.get("source_bytes") for row in val],
                    "val_bits_per_byte": [row["val_bits_per_byte"] for row in val],
                }
            )
    return curves


def _sft_curves(study: StudyFiles) -> list[dict[str, Any]]:
    curves = []
    for (arm, seed), run in study.runs.items():
        rows = _thin([row for row in run.sft_metrics if row.get("loss") is not None])
        if rows:
            losses = [row["loss"] for row in rows]
            curves.append({"arm": arm, "seed": seed, "step": [row.get("step") for row in rows], "loss": losses})
    return curves


def _gates(study: StudyFiles) -> list[dict[str, Any]]:
    """Every gate of every record, in the order of the rules."""
    rows = []
    for (arm, seed), run in study.runs.items():
        for stage, record in run.records.items():
            for gate in record.counts.get("gates") or []:
                # A gate that does not say it passed has not passed.
                passed = gate.get("passed") is True
                rows.append(
                    {"rule": gate.get("rule"), "name": str(gate.get("name", "unnamed")), "passed": passed}
                    | {"detail": str(gate.get("detail", "")), "arm": arm, "seed": seed, "stage": stage}
                )
    return sorted(rows, key=lambda row: (row["rule"] is None, row["rule"] or 0, row["name"]))


def _documents_gates(study: StudyFiles) -> list[dict[str, Any]]:
    """Rule 3 across runs: the arms of a seed read the same documents in the same order, by the hash in their
    records."""
    hashes: dict[int, dict[str, str]] = {}
    for (arm, seed), run in study.runs.items():
        record = run.records.get("prepare")
        found = (record.counts.get("train") or {}).get("documents_sha256") if record else None
        if found:
            hashes.setdefault(seed, {})[arm] = str(found)
    rows = []
    for seed, arms in sorted(hashes.items()):
        same = len(set(arms.values())) == 1
        detail = f"{len(arms)} arms, {next(iter(arms.values()))[:16]}..." if same else f"they differ: {sorted(arms)}"
        rows.append(
            {"rule": 3, "name": "arms read the same documents in the same order", "passed": same, "detail": detail}
            | {"arm": study.treatment, "seed": seed, "stage": "report"}
        )
    return rows


def _arithmetic_gates(study: StudyFiles) -> list[dict[str, Any]]:
    """Rule 3 across runs: all were pretrained in the same number format. ``auto`` depends on the machine."""
    found: dict[str, list[str]] = {}
    for (arm, seed), run in study.runs.items():
        record = run.records.get("pretrain")
        if record is not None and "precision" in record.counts:
            found.setdefault(str(record.counts["precision"]), []).append(f"{arm} seed{seed}")
    if not found:
        return []
    detail = "; ".join(f"{precision}: {len(runs)} runs" for precision, runs in sorted(found.items()))
    return [
        {"rule": 3, "name": "all runs were computed in the same precision", "passed": len(found) == 1, "detail": detail}
        | {"arm": study.treatment, "seed": None, "stage": "report"}
    ]


def _pairing_gates(study: StudyFiles) -> list[dict[str, Any]]:
    """Rule 13's own gate: control and treatment were asked the same items, each primary claim."""
    rows = []
    for claim in study.claims:
        try:
            paired = pair(study, study.treatment, study.control, claim.target, claim.metric)
            detail = f"{len(paired.clusters)} items x {len(paired.seeds)} seeds" if paired else "no pairs yet"
            passed = True
        except RunError as error:
            detail, passed = str(error), False
        name = f"arms pair on {claim.target} ({claim.metric})"
        rows.append({"rule": 13, "name": name, "passed": passed, "detail": detail})
    return [row | {"arm": study.treatment, "seed": None, "stage": "report"} for row in rows]


def _run(run: Run) -> dict[str, Any]:
    stages = []
    for stage in STAGES:
        record = run.records.get(stage)
        if record is None:
            stages.append({"stage": stage, "status": "missing"})
            continue
        counts = {key: value for key, value in record.counts.items() if key != "gates"}
        kept = ("status", "fingerprint", "wall_seconds", "finished", "versions", "git", "hardware", "inputs")
        entry = {"stage": stage, **{name: getattr(record, name) for name in kept}, "counts": counts}
        stages.append(entry | {"bytes": sum(int(file.get("bytes", 0)) for file in record.files.values())})
    return {"arm": run.arm, "seed": run.seed, "stages": stages}


def _missing(study: StudyFiles) -> list[dict[str, Any]]:
    """Arms and seeds with stages that have not run."""
    rows = []
    for (arm, seed), run in study.runs.items():
        absent = [stage for stage in STAGES if stage not in run.records]
        if absent:
            rows.append({"arm": arm, "seed": seed, "stages": absent})
    return rows

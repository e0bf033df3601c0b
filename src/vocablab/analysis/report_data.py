"""Every number of the report, as one JSON value; the page, the Markdown and the tables only show what is here."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from vocablab.analysis import samples
from vocablab.analysis.claims import Benefit, Claim
from vocablab.analysis.decodings import decodings, text_modes
from vocablab.analysis.deviations import deviations, missing
from vocablab.analysis.effects import (
    Pairs,
    against_control,
    components,
    effects,
    estimate_json,
    estimate_of,
    placebo_contrasts,
    scores,
)
from vocablab.analysis.estimates import Estimate
from vocablab.analysis.exposure import exposure
from vocablab.analysis.gates import all_gates
from vocablab.analysis.ledger import ledger, provenance, runs
from vocablab.analysis.losses import pretrain_curves, sft_curves
from vocablab.analysis.pictures import probes
from vocablab.analysis.post_training import post_training
from vocablab.analysis.scores import StudyFiles, read_study
from vocablab.analysis.treatment_items import treated_and_untreated
from vocablab.analysis.verdict import adjusted, decide, describe
from vocablab.base.config import to_json
from vocablab.base.files import read_json

FORMAT = 5


def build_report(study_dir: Path) -> dict[str, Any]:
    """Compute the whole report of the study in `study_dir` as JSON values (None for what is not a number).

    The same records always give the same report: nothing of the present time or machine enters it.

    Raises:
        UserError: if the study's description is missing or damaged, or nothing was scored yet.
    """
    study = read_study(study_dir)
    description = read_json(study_dir / "study.json", "the study's description")
    pairs = Pairs(study)
    gates = all_gates(pairs)
    green = all(gate["passed"] for gate in gates)
    planned = [_planned(description, index) for index in range(len(study.claims))]
    judged = _verdicts(pairs, green)
    report = {
        "format": FORMAT,
        "study": _study(study),
        "verdicts": [found | {"planned_mde": mde} for found, mde in zip(judged, planned, strict=True)],
        "effects": effects(pairs),
        "placebos": placebo_contrasts(pairs),
        "against_control": against_control(pairs),
        "treated": treated_and_untreated(pairs),
        "exposure": exposure(pairs),
        "scores": scores(study),
        "decodings": decodings(study),
        "text_modes": text_modes(pairs),
        "curves": {"pretrain": pretrain_curves(study), "sft": sft_curves(study)},
        "post_training": post_training(study),
        "adoption": samples.adoption(study),
        "samples": samples.side_by_side(study),
        "probes": probes(study),
        "gates": gates,
        "deviations": deviations(pairs, gates, description),
        "missing": missing(study),
        "ledger": ledger(study),
        "provenance": provenance(study, description),
        "runs": runs(study),
    }
    clean: dict[str, Any] = _finite(report)
    return clean


def _study(study: StudyFiles) -> dict[str, Any]:
    kept = ("name", "title", "docstring", "preset", "control", "treatment", "arms", "seeds", "exploratory")
    return {name: getattr(study, name) for name in kept}


def _finite(value: Any) -> Any:
    """The same value with None for NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _verdicts(pairs: Pairs, gates_ok: bool) -> list[dict[str, Any]]:
    """The primary claims judged, their p-values adjusted by Holm."""
    study, words, shown = pairs.study, [], []
    for claim in study.claims:
        paired = pairs.get(study.treatment, study.control, claim.target, claim.metric)
        found = estimate_of(paired, same_seeds=claim.paired) if paired else None
        words.append(
            decide(
                claim,
                found,
                found.n_seeds if found else 0,
                gates_ok,
                study.exploratory,
                n_claims=len(study.claims),
                declared_seeds=len(study.seeds),
                treatment=study.treatment,
                baselines=_baselines(pairs, claim),
            )
        )
        shown.append(estimate_json(paired, found, words[-1].level, claim.metric) if paired and found else None)
    return [
        {
            "claim": to_json(claim) | {"text": describe(claim), "higher_is_better": claim.higher_is_better},
            **dataclasses.asdict(word),
            "estimate": numbers,
            "components": components(numbers["variance"]) if numbers else [],
        }
        for claim, word, numbers in zip(study.claims, adjusted(words), shown, strict=True)
    ]


def _baselines(pairs: Pairs, claim: Claim) -> dict[str, Estimate]:
    """Treatment minus each baseline that the claim names and that has scores."""
    names = claim.baselines if isinstance(claim, Benefit) else ()
    found = {name: pairs.get(pairs.study.treatment, name, claim.target, claim.metric) for name in names}
    return {name: estimate_of(paired, same_seeds=claim.paired) for name, paired in found.items() if paired}


def _planned(description: dict[str, Any], index: int) -> float | None:
    """The minimum detectable effect that the plan of the study foresaw for a claim; None if it was not planned."""
    try:
        planned, claim = description["plan"]["claims"][index], description["claims"][index]
        same = all(planned.get(name, claim[name]) == claim[name] for name in ("target", "metric"))
        value = planned["minimum_detectable_effect"]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    # A plan of other claims, made before they were edited, plans nothing for these.
    return float(value) if same and isinstance(value, int | float) else None

"""What a reader must know that went another way than declared, and what was left out: each stated, also if none."""

from collections import Counter
from typing import Any

from vocablab.analysis.effects import Pairs, all_measures
from vocablab.analysis.ledger import provenance
from vocablab.analysis.post_training import stops
from vocablab.analysis.scores import STAGES, StudyFiles, column, measures, ways

Entry = dict[str, Any]


def deviations(pairs: Pairs, gates: list[dict[str, Any]], description: dict[str, Any]) -> list[Entry]:
    """One entry per kind: ``kind``, and ``found``, a list of sentences that is empty if there is nothing to say.

    Args:
        pairs: the study's pairs.
        gates: all gates (`all_gates`).
        description: what `study.json` holds.
    """
    study = pairs.study
    return [
        _entry("Overrides and edits", _edits(study, description)),
        _entry("Missing runs and stages", _missing(study)),
        _entry("Stages begun and not finished", _unfinished(study)),
        _entry("Training by reward stopped early", _stopped(study)),
        _entry("Red gates", _red(gates)),
        _entry("Code and package versions that differ, or code with uncommitted changes", _versions(study)),
        _entry("Documents dropped from the corpora", _dropped(study)),
        _entry("Prompts cut for want of context", _counted(study, "prompt_cut", True)),
        _entry("Answers that did not end by themselves", _counted(study, "ended_eos", False)),
        _entry("Measures on which arms could not be compared", _unpaired(pairs)),
    ]


def missing(study: StudyFiles) -> list[dict[str, Any]]:
    """Arms and seeds with stages that have not run."""
    rows = []
    for (arm, seed), run in study.runs.items():
        wanted = next(one["stages"] for one in study.arms if one["name"] == arm)
        absent = [stage for stage in STAGES if stage in wanted and stage not in run.records]
        if absent:
            rows.append({"arm": arm, "seed": seed, "stages": absent})
    return rows


def _entry(kind: str, found: list[str]) -> Entry:
    return {"kind": kind, "found": found}


def _edits(study: StudyFiles, description: dict[str, Any]) -> list[str]:
    found = [study.exploratory] if study.exploratory else []
    registered, claims = description.get("registered_claims"), description.get("claims")
    if isinstance(registered, list) and not _same_claims(registered, claims):
        found.append(f"Claims as first registered: {'; '.join(_claim(claim) for claim in registered) or 'none'}.")
    return found


def _same_claims(registered: list[Any], claims: Any) -> bool:
    # A field that a claim has only since a later version of vocablab was never promised, so it is not compared.
    if not isinstance(claims, list) or len(claims) != len(registered):
        return False
    pairs = zip(registered, claims, strict=True)
    return all(
        {key: new.get(key) for key in old} == old if isinstance(old, dict) and isinstance(new, dict) else old == new
        for old, new in pairs
    )


def _claim(claim: Any) -> str:
    if not isinstance(claim, dict):
        return str(claim)
    size = claim.get("delta", claim.get("margin"))
    return f"{claim.get('type')} {claim.get('metric')} on {claim.get('target')}" + ("" if size is None else f", {size}")


def _missing(study: StudyFiles) -> list[str]:
    return [f"{row['arm']}, seed {row['seed']}: {', '.join(row['stages'])}." for row in missing(study)]


def _unfinished(study: StudyFiles) -> list[str]:
    found = []
    for arm, seed in study.runs:
        place = study.directory / arm / f"seed{seed}"
        found += [f"{arm}, seed {seed}: {s}." for s in STAGES if (place / f"{s}.partial").is_dir()]
    return found


def _stopped(study: StudyFiles) -> list[str]:
    return [f"{one['arm']}, seed {one['seed']}: {str(one['sentence']).rstrip('.')}." for one in stops(study)]


def _red(gates: list[dict[str, Any]]) -> list[str]:
    found = []
    for gate in gates:
        if not gate["passed"]:
            seed = "" if gate["seed"] is None else f", seed {gate['seed']}"
            found.append(
                f"Rule {gate['rule']}, {gate['name']}: {gate['detail']} ({gate['arm']}{seed}, {gate['stage']})."
            )
    return found


def _versions(study: StudyFiles) -> list[str]:
    known = provenance(study)
    found = []
    if len({commit["commit"] for commit in known["commits"]}) > 1:
        said = ", ".join(f"{c['commit'] or 'no checkout'} ({c['stages']} stages)" for c in known["commits"])
        found.append(f"Stages ran at different commits: {said}.")
    dirty = sum(commit["stages"] for commit in known["commits"] if commit["dirty"])
    if dirty:
        found.append(f"{dirty} of {known['stages']} stages ran from a checkout with uncommitted changes.")
    for package, versions in known["differing"].items():
        said = ", ".join(f"{version} ({n} stages)" for version, n in versions.items())
        found.append(f"Versions of {package} differ: {said}.")
    return found


def _dropped(study: StudyFiles) -> list[str]:
    found = []
    for arm in study.arm_names:
        records = [study.runs[(arm, seed)].records.get("prepare") for seed in study.seeds]
        kept = [record.counts for record in records if record is not None]
        silent = sum("dropped" not in counts for counts in kept)
        if silent:
            found.append(f"{arm}: {silent} of {len(kept)} prepare records do not say what was dropped.")
        reasons: Counter[str] = Counter()
        for counts in kept:
            reasons.update({str(reason): int(n) for reason, n in (counts.get("dropped") or {}).items()})
        if reasons:
            said = ", ".join(
                f"{n} {reason}" for reason, n in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
            )
            found.append(f"{arm}, {len(kept)} seeds together: {said}.")
    return found


def _counted(study: StudyFiles, name: str, bad: bool) -> list[str]:
    """By arm the answers whose column `name` is `bad`, by task and way, over all seeds."""
    found: dict[str, Counter[str]] = {arm: Counter() for arm in study.arm_names}
    asked: Counter[tuple[str, str]] = Counter()
    for (arm, _), run in study.runs.items():
        if run.scores is None or name not in run.scores.column_names:
            continue
        columns = (column(run.scores, one) for one in ("task", "output", "decoding", name))
        for way, task, output, decoding, value in zip(ways(run.scores), *columns, strict=True):
            if not (output or decoding):
                continue  # nothing was answered here
            label = f"{task}:{way}" if way else task
            asked[(arm, label)] += 1
            found[arm][label] += bool(value) is bad
    sentences = []
    for arm, counts in found.items():
        said = [f"{n} of {asked[(arm, label)]} in {label}" for label, n in counts.items() if n]
        if said:
            sentences.append(f"{arm}: {'; '.join(said)}.")
    return sentences


def _unpaired(pairs: Pairs) -> list[str]:
    """Measures on which an arm could not be compared with control, and why; what control was not asked once."""
    study = pairs.study
    asked: dict[str, dict[str, None]] = {}
    for (arm, _), run in study.runs.items():
        if run.scores is not None:
            for task, _, _ in measures(run.scores):
                asked.setdefault(task, {})[arm] = None
    found = [
        f"{task}: {study.control} was not asked, only {', '.join(arms)}."
        for task, arms in asked.items()
        if study.control not in arms
    ]
    claimed = [(claim.target, claim.metric) for claim in study.claims]
    for target, metric in dict.fromkeys([*claimed, *all_measures(study)]):
        if study.control not in asked.get(target.partition(".")[0], {study.control: None}):
            continue
        for arm in study.arm_names:
            why = None if arm == study.control else pairs.why_not(arm, study.control, target, metric)
            if why:
                found.append(f"{metric} on {target}, {arm} against {study.control}: {why}")
    return found

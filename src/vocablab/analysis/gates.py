"""Every gate of a study: those in the records, and those that only a look at all runs together can answer."""

from typing import Any

from vocablab.analysis.effects import Pairs
from vocablab.analysis.scores import StudyFiles

RULES = {
    1: "Text in, text out",
    2: "Injection is right and reversible",
    3: "Arms differ in one thing",
    4: "Compute is matched and stated",
    5: "Loss is bits per byte",
    6: "Export is proved",
    7: "EOS is learned",
    8: "Scoring is by spans",
    9: "Answers are text",
    10: "No leak",
    11: "Optimiser state is fp32",
    12: "Target reached",
    13: "Statistics",
}
"""The rules a gate may name, in short."""


def all_gates(pairs: Pairs) -> list[dict[str, Any]]:
    """All gates: ``rule``, ``name``, ``passed``, ``detail``, and where: ``arm``, ``seed``, ``stage``."""
    study = pairs.study
    return [*_recorded(study), *_documents(study), *_arithmetic(study), *_pairing(pairs)]


def _recorded(study: StudyFiles) -> list[dict[str, Any]]:
    """Every gate of every record, in the order of the rules."""
    rows = []
    for (arm, seed), run in study.runs.items():
        for stage, record in run.records.items():
            for gate in record.counts.get("gates") or []:
                # A gate that does not say it passed has not passed.
                passed, rule = gate.get("passed") is True, gate.get("rule")
                rule = rule if rule is None or isinstance(rule, int) else str(rule)
                rows.append(
                    {"rule": rule, "name": str(gate.get("name", "unnamed")), "passed": passed}
                    | {"detail": str(gate.get("detail", "")), "arm": arm, "seed": seed, "stage": stage}
                )
    return sorted(rows, key=lambda row: (*_rule_order(row["rule"]), row["name"]))


def _rule_order(rule: int | str | None) -> tuple[int, int, str]:
    """Numbered rules, then named ones, then none."""
    return (0, rule, "") if isinstance(rule, int) else (1, 0, rule) if rule else (2, 0, "")


def _documents(study: StudyFiles) -> list[dict[str, Any]]:
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


def _arithmetic(study: StudyFiles) -> list[dict[str, Any]]:
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


def _pairing(pairs: Pairs) -> list[dict[str, Any]]:
    """Rule 13's own gate: control and treatment were asked the same items, each primary claim."""
    study, rows = pairs.study, []
    for claim in study.claims:
        key = (study.treatment, study.control, claim.target, claim.metric)
        paired, why_not = pairs.get(*key), pairs.why_not(*key)
        said = f"{len(paired.clusters)} items x {len(paired.seeds)} seeds" if paired else "no pairs yet"
        name = f"arms pair on {claim.target} ({claim.metric})"
        rows.append({"rule": 13, "name": name, "passed": why_not is None, "detail": why_not or said})
    return [row | {"arm": study.treatment, "seed": None, "stage": "report"} for row in rows]


def by_rule(gates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per rule how many gates there are, how many are red, and the red ones, in the order of the rules."""
    rules: dict[Any, list[dict[str, Any]]] = {}
    for gate in gates:
        rules.setdefault(gate["rule"], []).append(gate)
    ordered = sorted(rules.items(), key=lambda entry: _rule_order(entry[0]))
    return [
        {"rule": rule, "gates": len(entries), "red": [gate for gate in entries if not gate["passed"]]}
        for rule, entries in ordered
    ]

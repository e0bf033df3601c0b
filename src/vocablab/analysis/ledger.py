"""What a study cost, arm by arm and stage by stage, and what it ran on."""

from typing import Any

from vocablab.analysis.scores import STAGES, Run, StudyFiles
from vocablab.base.records import Record, read_record

SUMMED = ("wall_seconds", "tokens", "source_bytes")
"""Amounts that the ledger sums beside FLOPs."""
SAME_AS = "same_as"
"""Count of a record that names where the artifact was made (``control/seed0/pretrain``), if it is another arm's too."""


def ledger(study: StudyFiles) -> dict[str, Any]:
    """The compute ledger.

    ``rows``: per arm and stage, summed over seeds, in the order of the study; ``arms``: sums per arm, with the
    pretraining amounts per run as multiples of the control's; ``total``: all of it. FLOPs are those that a stage counts
    (pretraining: blocks, attention, head); where it counts none they are None, not 0.

    An artifact that several arms share counts in each of them, because each model needed it, but once in ``total``.
    ``shared`` of a row: with which arms, and in how many of its runs; ``shared`` of an arm: by stage with which arms.
    """
    rows = [row for arm in study.arm_names for stage in STAGES if (row := _row(study, arm, stage))]
    arms = []
    for arm in study.arm_names:
        mine = [row for row in rows if row["arm"] == arm]
        if mine:
            against = {"per_run_against_control": _against(rows, arm, study.control)}
            shared = {"shared": {row["stage"]: row["shared"]["with"] for row in mine if row["shared"]}}
            arms.append({"arm": arm} | _sum(mine) | against | shared)
    total = _sum([{"stage": record.stage} | _amounts(record) for record in artifacts(study)])
    return {"rows": rows, "arms": arms, "total": total}


def artifacts(study: StudyFiles) -> list[Record]:
    """The records of a study, of an artifact that several arms share only one: where it was made, if that is there."""
    found: dict[str, Record] = {}
    for (arm, seed), run in study.runs.items():
        for stage, record in run.records.items():
            made = record.counts.get(SAME_AS)
            place = str(made or f"{arm}/seed{seed}/{stage}")
            if not made or place not in found:
                found[place] = record
    return list(found.values())


def _row(study: StudyFiles, arm: str, stage: str) -> dict[str, Any] | None:
    records = [study.runs[(arm, seed)].records.get(stage) for seed in study.seeds]
    found = [_amounts(record) for record in records if record is not None]
    if not found:
        return None
    makers = [str(r.counts[SAME_AS]).split("/")[0] for r in records if r is not None and r.counts.get(SAME_AS)]
    shared = {"with": list(dict.fromkeys(makers)), "runs": len(makers)} if makers else None
    return {"arm": arm, "stage": stage, "runs": len(found), **_sum(found), "shared": shared}


def _amounts(record: Record) -> dict[str, Any]:
    counts = record.counts
    train = counts.get("train") if isinstance(counts.get("train"), dict) else {}
    assert isinstance(train, dict)
    # The prepare stage counts by split; what pretraining may read is its train split.
    flops = counts.get("flops")
    return {
        "wall_seconds": record.wall_seconds,
        "tokens": _amount(counts.get("tokens", train.get("tokens"))),
        "source_bytes": _amount(counts.get("source_bytes", train.get("raw_bytes"))),
        "flops": {str(part): float(n) for part, n in flops.items()} if isinstance(flops, dict) else None,
    }


def _amount(value: Any) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sum(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in SUMMED:
        # Tokens that are written and tokens that are read are different things: only pretraining's make a sum.
        counted = [row for row in rows if name == "wall_seconds" or row.get("stage", "pretrain") == "pretrain"]
        known = [row[name] for row in counted if row[name] is not None]
        found[name] = sum(known) if known else None
    parts: dict[str, float] = {}
    for row in rows:
        for part, number in (row["flops"] or {}).items():
            parts[part] = parts.get(part, 0.0) + number
    total = sum(parts.values())
    found |= {"flops": parts or None, "total_flops": total if parts else None}
    found["head_share"] = parts["head"] / total if "head" in parts and total > 0 else None
    return found


def _against(rows: list[dict[str, Any]], arm: str, control: str) -> dict[str, float | None]:
    """Pretraining per run, as a multiple of the control's: 1 is matched."""
    by_arm = {row["arm"]: row for row in rows if row["stage"] == "pretrain"}
    found: dict[str, float | None] = {}
    for name in ("source_bytes", "tokens", "total_flops"):
        mine, base = (_per_run(by_arm.get(one), name) for one in (arm, control))
        found[name] = mine / base if mine is not None and base else None
    return found


def _per_run(row: dict[str, Any] | None, name: str) -> float | None:
    return None if row is None or row[name] is None else float(row[name]) / int(row["runs"])


def runs(study: StudyFiles) -> list[dict[str, Any]]:
    """Every run with the records of its stages: fingerprint, versions, counts; stages that are absent say so."""
    return [_run(study.runs[(arm["name"], seed)], arm["stages"]) for arm in study.arms for seed in study.seeds]


def _run(run: Run, wanted: list[str]) -> dict[str, Any]:
    stages = []
    for stage in STAGES:
        record = run.records.get(stage)
        if record is None and stage not in wanted:
            continue  # an arm that is not probed or trained by reward lacks nothing
        if record is None:
            stages.append({"stage": stage, "status": "missing"})
            continue
        counts = {key: value for key, value in record.counts.items() if key != "gates"}
        kept = ("status", "fingerprint", "wall_seconds", "finished", "versions", "git", "hardware", "inputs")
        entry = {"stage": stage, **{name: getattr(record, name) for name in kept}, "counts": counts}
        stages.append(entry | {"bytes": sum(int(file.get("bytes", 0)) for file in record.files.values())})
    return {"arm": run.arm, "seed": run.seed, "stages": stages}


def provenance(study: StudyFiles, description: dict[str, Any] | None = None) -> dict[str, Any]:
    """Code, packages and machines of all stages, shared ones once, with what differs between them.

    ``commits``: each (commit, dirty) with its number of stages; ``versions``: packages that are the same everywhere;
    ``differing``: package to version to number of stages; ``hardware`` likewise; ``vocabulary``: the fingerprint of the
    study-wide vocabulary, None if it left no record; ``registration``: hash and date of what was promised before the
    first run, None if `description` (what `study.json` holds) has none.
    """
    records = artifacts(study)
    shared = read_record(study.directory / "vocabulary")
    packages = _tally([record.versions for record in records])
    return {
        "stages": len(records),
        "commits": _commits(records),
        "versions": {name: next(iter(found)) for name, found in packages.items() if len(found) == 1},
        "differing": {name: found for name, found in packages.items() if len(found) > 1},
        "hardware": _tally([record.hardware for record in records]),
        "vocabulary": shared.fingerprint if shared else None,
        "registration": _registration(description or {}),
    }


def _registration(description: dict[str, Any]) -> dict[str, str] | None:
    found = description.get("registration")
    if not isinstance(found, dict) or "sha256" not in found:
        return None
    return {"sha256": str(found["sha256"]), "date": str(found.get("date") or "")}


def _commits(records: list[Record]) -> list[dict[str, Any]]:
    found: dict[tuple[str, bool], int] = {}
    for record in records:
        key = (str(record.git.get("commit", "")), bool(record.git.get("dirty")))
        found[key] = found.get(key, 0) + 1
    return [{"commit": commit or None, "dirty": dirty, "stages": n} for (commit, dirty), n in sorted(found.items())]


def _tally(dictionaries: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for one in dictionaries:
        for name, value in one.items():
            mine = found.setdefault(name, {})
            mine[str(value)] = mine.get(str(value), 0) + 1
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}

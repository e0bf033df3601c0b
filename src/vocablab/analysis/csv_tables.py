"""The numbers of a report as CSV files, for a spreadsheet or another program."""

import csv
import io
from pathlib import Path
from typing import Any

from vocablab.analysis.report_data import build_report
from vocablab.base.files import write_bytes_atomically

_CONTRAST = (
    "target", "metric", "arm", "against", "claimed", "primary", "direction", "effect", "low", "high", "level",
    "standard_error", "degrees_of_freedom", "p_value", "q_value", "sign_flip_p", "mde", "treatment_mean",
    "control_mean", "n_seeds", "n_items", "n_clusters",
)  # fmt: skip
_REWARD_SIZES = ("steps", "problems", "attempted", "answers", "held_out")


def write_csv_tables(study_dir: Path, report: dict[str, Any] | None = None) -> list[Path]:
    """Write the report's tables as CSV into `study_dir`/tables.

    ``effects``, ``scores``, ``per_seed``, ``gates`` and ``ledger``; ``fine_tuning`` (one row per arm, seed and lesson)
    and ``reward`` (per arm and seed) where a run has such a stage; ``probes`` (per arm, seed and headline measure).

    Rewritten in place, as the report is: they hold nothing that the records do not. Numbers have all their digits.

    Args:
        study_dir: the study's directory.
        report: its report, if it is at hand (as built, or as read from `report.json`); None builds it.

    Returns:
        The paths written.

    Raises:
        UserError: if the study's description is missing or damaged, or nothing was scored yet.
    """
    report = report or build_report(study_dir)
    tables = {
        "effects": _effects(report),
        "scores": _scores(report),
        "per_seed": _per_seed(report),
        "gates": _rows(report["gates"], ("rule", "name", "passed", "detail", "arm", "seed", "stage")),
        "ledger": _ledger(report),
    }
    after = report["post_training"]
    if after["fine_tuning"]["runs"]:
        tables["fine_tuning"] = _rows(after["fine_tuning"]["runs"], tuple(after["fine_tuning"]["runs"][0]))
    if after["reward"]["runs"]:
        tables["reward"] = _reward(after["reward"]["runs"])
    if report["probes"]["runs"]:
        tables["probes"] = _rows(report["probes"]["runs"], tuple(report["probes"]["runs"][0]))
    paths = []
    for name, rows in tables.items():
        path = study_dir / "tables" / f"{name}.csv"
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([[_cell(value) for value in row] for row in rows])
        write_bytes_atomically(path, buffer.getvalue().encode("utf-8"))
        paths.append(path)
    return paths


def _cell(value: Any) -> Any:
    """A cell; text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _rows(found: list[dict[str, Any]], names: tuple[str, ...]) -> list[list[Any]]:
    return [list(names), *([row.get(name) for name in names] for row in found)]


def _effects(report: dict[str, Any]) -> list[list[Any]]:
    """Every arm against control, then the treatment against every placebo."""
    return _rows([*report["effects"], *report["placebos"]], _CONTRAST)


def _scores(report: dict[str, Any]) -> list[list[Any]]:
    names = ("target", "metric", "arm", "mean", "low", "high", "n_items", "n_seeds")
    found = [
        {"target": row["target"], "metric": row["metric"], "arm": arm, **values}
        for row in report["scores"]
        for arm, values in row["arms"].items()
    ]
    return _rows(found, names)


def _per_seed(report: dict[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = [["target", "metric", "arm", "seed", "mean"]]
    for row in report["scores"]:
        for arm, values in row["arms"].items():
            rows += [[row["target"], row["metric"], arm, int(seed), mean] for seed, mean in values["per_seed"].items()]
    return rows


def _ledger(report: dict[str, Any]) -> list[list[Any]]:
    parts = list(report["ledger"]["total"]["flops"] or {})
    names = (
        "arm", "stage", "runs", "shared_runs", "shared_with", "wall_seconds", "tokens", "source_bytes", "total_flops",
        "head_share",
    )  # fmt: skip
    found = []
    for row in report["ledger"]["rows"]:
        flops = {f"flops_{part}": (row["flops"] or {}).get(part) for part in parts}
        shared = row["shared"] or {"with": [], "runs": 0}
        found.append(row | flops | {"shared_runs": shared["runs"], "shared_with": " ".join(shared["with"])})
    return _rows(found, (*names, *(f"flops_{part}" for part in parts)))


def _reward(runs: list[dict[str, Any]]) -> list[list[Any]]:
    """Nested readings become columns: ``start_held_out_pass_rate``, ``last_entropy``, ``stopped_reason``."""
    found = []
    for run in runs:
        pairs = {f"paired_{end}": values for end, values in (run["paired"] or {}).items()}
        nested = {name: run[name] or {} for name in ("start", "end", "last", "stopped")} | pairs
        flat = {f"{name}_{key}": value for name, values in nested.items() for key, value in values.items()}
        found.append({name: run[name] for name in ("arm", "seed", *_REWARD_SIZES)} | flat)
    return _rows(found, tuple(dict.fromkeys(name for row in found for name in row)))

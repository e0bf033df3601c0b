"""Training runs on disk: where they lie, whose seed they are, and the readings in their `metrics.jsonl`."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocablab.base.errors import UserError
from vocablab.base.files import PARTIAL_SUFFIX, read_json

METRICS = "metrics.jsonl"
_STAGE = "pretrain"
_SEED = re.compile(r"(?:(.+)-)?seed(\d+)")
_NUMBERS = ("step", "tokens", "source_bytes", "train_bits_per_byte", "val_bits_per_byte")
"""Keys that hold a number wherever they stand; anything else under them is a damaged file."""

Row = dict[str, float]
"""One reading: every finite number of a line by its key."""


@dataclass(frozen=True)
class TrainingRun:
    """One run of one arm, with its readings in order."""

    arm: Path
    """Directory of the arm, or of the run where it is nobody's seed: the same path is the same arm."""
    seed: int | None
    """Which seed of the arm; None where nothing says so."""
    unfinished: bool
    """Whether it lies in a `.partial` directory: it is being written, or its writer was stopped."""
    path: Path
    """Its `metrics.jsonl`."""
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class StudyArms:
    """What `study.json` says of the arms around a run."""

    names: tuple[str, ...]
    """All arms in declared order, drawn or not."""
    control: str
    treatment: str


def find_runs(given: Path) -> list[TrainingRun]:
    """The runs that `given` names: a study, an arm, a run, or a directory that holds metrics or several such ones.

    Of a run that is there both finished and unfinished, the finished one counts.

    Raises:
        UserError: if there is no run, or its metrics are damaged.
    """
    path = given
    if not path.exists():
        path = given.with_name(given.name + PARTIAL_SUFFIX)
    if not path.is_dir():
        raise UserError(f"{given} is not there, or is no directory; give the directory of a study, an arm or a run.")
    for pattern in ("", _STAGE, f"seed*/{_STAGE}", f"*/seed*/{_STAGE}", "*"):
        found = _metrics(path, pattern)
        if found:
            return distinct(_read_run(file) for file in found)
    raise UserError(
        f"{given} holds no training run: looked for {METRICS} in it, in {_STAGE}/, seedN/{_STAGE}/, "
        f"ARM/seedN/{_STAGE}/ and the directories right below it."
    )


def _metrics(directory: Path, pattern: str) -> list[Path]:
    if not pattern:
        return [directory / METRICS] if (directory / METRICS).is_file() else []
    patterns = dict.fromkeys([pattern, pattern + PARTIAL_SUFFIX])
    return sorted(file for p in patterns for file in directory.glob(f"{p}/{METRICS}") if file.is_file())


def distinct(runs: Iterable[TrainingRun]) -> list[TrainingRun]:
    """`runs` without those named twice, and without the unfinished copy of a finished one; the order never matters."""
    kept: dict[tuple[Path, int | None], TrainingRun] = {}
    for run in sorted(runs, key=lambda run: (run.unfinished, run.path)):
        kept.setdefault((run.arm, run.seed), run)
    return list(kept.values())


def _read_run(metrics: Path) -> TrainingRun:
    directory = metrics.parent.resolve()
    unfinished = directory.name.endswith(PARTIAL_SUFFIX)
    directory = directory.with_name(directory.name.removesuffix(PARTIAL_SUFFIX))
    run = directory.parent if directory.name == _STAGE else directory
    named = _SEED.fullmatch(run.name)
    arm = run if named is None else run.parent / named[1] if named[1] else run.parent
    seed = int(named[2]) if named else None
    return TrainingRun(arm, seed, unfinished, metrics.resolve(), tuple(read_metrics(metrics, unfinished=unfinished)))


def read_metrics(path: Path, *, unfinished: bool) -> list[Row]:
    """The readings of a `metrics.jsonl` in order of steps.

    A run that was stopped and resumed may have written some steps twice: the later line holds.

    Args:
        unfinished: a last line that a killed writer left without its end is passed over.

    Raises:
        UserError: naming file and line of anything else that is no object of numbers.
    """
    lines = path.read_bytes().split(b"\n")
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            if unfinished and number == len(lines):
                break
            raise UserError(f"{path}, line {number} is not JSON ({str(error).splitlines()[0]}).") from None
        if not isinstance(value, dict):
            raise UserError(f"{path}, line {number} is not an object.")
        _append(rows, _numbers(value, f"{path}, line {number}"))
    return rows


def _append(rows: list[Row], row: Row) -> None:
    if "step" in row:
        while rows and rows[-1].get("step", -math.inf) > row["step"]:
            rows.pop()
        if rows and rows[-1].get("step") == row["step"]:
            rows[-1] |= row
            return
    rows.append(row)


def _numbers(value: dict[str, Any], where: str) -> Row:
    row: Row = {}
    for key, item in value.items():
        if isinstance(item, bool) or not isinstance(item, int | float):
            if item is not None and key in _NUMBERS:
                raise UserError(f"{where}: {key} is {json.dumps(item)[:40]}, not a number.")
            continue
        try:
            number = float(item)
        except OverflowError:
            continue
        # A reading that is NaN or infinite says nothing that can be drawn.
        if math.isfinite(number):
            row[key] = number
    return row


def study_around(arm: Path) -> StudyArms | None:
    """What the `study.json` beside an arm's directory declares; None if there is none or it does not name the arm.

    Raises:
        UserError: if the file is damaged.
    """
    path = arm.parent / "study.json"
    if not path.is_file():
        return None
    data = read_json(path, "the study's description")
    try:
        names = tuple(str(entry["name"]) for entry in data["arms"])
        control = str(data["control"])
        others = [name for name in names if name != control]
        treatment = str(data.get("treatment") or (others[0] if others else ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} lacks or misspells {error}.") from None
    return StudyArms(names, control, treatment) if arm.name in names else None


def in_order(arms: Iterable[Path]) -> list[Path]:
    """`arms` as their studies declare them; elsewhere the control first, then by name with numbers by size."""

    def place(arm: Path) -> tuple[str, int, list[tuple[int, str]]]:
        study = study_around(arm)
        rank = study.names.index(arm.name) if study else 0 if arm.name == "control" else 1
        pieces = re.split(r"(\d+)", arm.name)
        return str(arm.parent), rank, [(int(p), "") if p.isdecimal() else (-1, p) for p in pieces]

    return sorted(set(arms), key=place)


def names_of(arms: Iterable[Path]) -> dict[Path, str]:
    """Each arm's name: its directory's, with as many parents as tell it from the others."""
    every = set(arms)

    def name(arm: Path) -> str:
        for count in range(1, len(arm.parts) + 1):
            tail = arm.parts[-count:]
            if not any(other != arm and other.parts[-count:] == tail for other in every):
                return "/".join(tail)
        return str(arm)

    return {arm: name(arm) for arm in every}

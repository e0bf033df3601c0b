"""The answers that the declared rules give to the questions, from one model's findings."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocablab.analysis import probe_rules as rules
from vocablab.analysis.multiplicity import benjamini_hochberg, holm
from vocablab.analysis.probe_question_list import BESIDE, DECIDES, HINTS, MASS, QUESTIONS, Part, Pick
from vocablab.analysis.probe_rules import ABSENT, UNCLEAR, YES, Row, all_of
from vocablab.base.errors import UserError
from vocablab.base.files import read_json

FINDINGS = "findings.json"
_COLUMNS = {"probe", "place", "target", "metric", "value", "low", "high", "control", "p", "n", "note"}
"""What a measure has in findings."""


def read_findings(path: Path) -> dict[str, Any]:
    """What `write_findings` of a probe wrote.

    Raises:
        UserError: if the file is missing, damaged or of another shape.
    """
    found = read_json(path, "a probe's findings")
    shaped = isinstance(found, dict) and all(isinstance(found.get(k), list) for k in ("measures", "figures", "notes"))
    shaped = shaped and all(isinstance(row, dict) and row.keys() >= _COLUMNS for row in found["measures"])
    if not shaped or "model" not in found:
        raise UserError(f"{path} does not hold a probe's findings as this version writes them; probe again.")
    value: dict[str, Any] = found
    return value


def answers(measures: Sequence[Row]) -> list[dict[str, Any]]:
    """The answer to each question: ``question``, ``finding``, ``word``, ``told``, and ``parts``.

    ``told`` is False of a question that this model has nothing for and few models do.

    A part has ``name``, ``word`` and ``rows``: its headline measures, each with ``role``, ``word`` (None if only
    shown) and ``adjusted`` (p after Holm, over the headline measures of its probe).
    """
    every = [*measures, *_later_layers(measures)]
    picked = [
        (q, p, pick, row)
        for q, question in enumerate(QUESTIONS)
        for p, part in enumerate(question.parts)
        for pick in part.picks
        for row in every
        if _fits(pick, row)
    ]
    adjusted = _holm([row for _, _, pick, row in picked if pick.rule in rules.TESTS and pick.role in (DECIDES, HINTS)])
    judged: dict[tuple[int, int], list[Row]] = {}
    for q, p, pick, row in picked:
        full = row | {"role": pick.role, "adjusted": adjusted.get(_key(row))}
        full["word"] = pick.rule(full, every) if pick.role in (DECIDES, HINTS) else None
        judged.setdefault((q, p), []).append(full)
    found = []
    for q, question in enumerate(QUESTIONS):
        parts = [_part(part, judged.get((q, p), [])) for p, part in enumerate(question.parts)]
        word = all_of([part["word"] for part in parts])
        told = word != ABSENT or not question.occasional
        found.append(
            {"question": question.text, "finding": question.finding, "word": word, "told": told, "parts": parts}
        )
    return found


def _part(part: Part, rows: list[Row]) -> dict[str, Any]:
    word = part.combine([row["word"] for row in rows if row["role"] == DECIDES])
    hinted = any(row["word"] in (YES, UNCLEAR) for row in rows if row["role"] == HINTS)
    if hinted and word not in (YES, rules.PART):
        word = UNCLEAR
    return {"name": part.name, "word": word, "rows": rows}


def _fits(pick: Pick, row: Row) -> bool:
    return pick.probe == row["probe"] and all(
        re.fullmatch(getattr(pick, name), row[name]) for name in ("place", "target", "metric")
    )


def _key(row: Row) -> tuple[str, ...]:
    return row["probe"], row["place"], row["target"], row["metric"]


def _holm(rows: Sequence[Row]) -> dict[tuple[str, ...], float]:
    """Adjusted p by measure; the family is what counts for an answer in one probe, whatever the data."""
    found: dict[tuple[str, ...], float] = {}
    for probe in dict.fromkeys(row["probe"] for row in rows):
        family = {_key(row): row["p"] for row in rows if row["probe"] == probe and row["p"] is not None}
        found.update(zip(family, holm(list(family.values())), strict=True))
    return found


def false_discovery_rates(measures: Sequence[Row]) -> list[float | None]:
    """Benjamini and Hochberg's q of each measure, over all measures of its probe that have a p; None without one."""
    found: list[float | None] = [None] * len(measures)
    for probe in dict.fromkeys(row["probe"] for row in measures):
        family = [i for i, row in enumerate(measures) if row["probe"] == probe and row["p"] is not None]
        for i, q in zip(family, benjamini_hochberg([measures[i]["p"] for i in family]), strict=True):
            found[i] = q
    return found


def _later_layers(measures: Sequence[Row]) -> list[Row]:
    """Mass from the answer to the fact token, a mean over all layers after the first, as one more measure."""
    mine = [
        (int(layer[1]), row)
        for row in measures
        if (row["probe"], row["target"], row["metric"]) == ("attention", "fact token", MASS)
        and (layer := re.fullmatch(r"layer (\d+)", row["place"]))
        and int(layer[1]) > 1
    ]
    if not mine:
        return []
    rows = [row for _, row in mine]
    controls = [row["control"] for row in rows if row["control"] is not None]
    return [
        rows[0]
        | {
            "place": f"layers {min(layer for layer, _ in mine)} to {max(layer for layer, _ in mine)}",
            "value": math.fsum(row["value"] for row in rows) / len(rows),
            "control": math.fsum(controls) / len(controls) if len(controls) == len(rows) else None,
        }
    ]


def reasons(answer: dict[str, Any]) -> list[str]:
    """Why an answer's word is what it is: one phrase per part, with the numbers that decide."""
    found = []
    for part in answer["parts"]:
        head = f"{part['name']}: " if part["name"] else ""
        said = f"{part['word']}; " if part["name"] else ""
        deciding = [row for row in part["rows"] if row["role"] == DECIDES]
        if not deciding:
            found.append(f"{head}{ABSENT}")
            continue
        shown = deciding if len(deciding) <= 2 else [min(deciding, key=_rank)]
        more = f" (best of {len(deciding)})" if len(deciding) > 2 else ""
        beside = [_numbers(row) for row in part["rows"] if row["role"] == BESIDE]
        found.append(head + said + "; ".join(_numbers(row) for row in shown) + more + "".join(f"; {b}" for b in beside))
    return found


def _rank(row: Row) -> tuple[int, float]:
    """The first of those that say yes; of others the one with the smallest p."""
    return rules.WORDS.index(row["word"]), 0.0 if row["word"] == YES or row["p"] is None else row["p"]


def _numbers(row: Row) -> str:
    place = {"input rows": ", input", "output rows": ", output"}.get(row["place"], "")
    layers = f" in {row['place']}" if row["place"].startswith("layer") else ""
    said = f"{row['target']}{place}, {row['metric']} {decimals(row['value'])}{layers}"
    if row["low"] is not None:
        said += f" ({decimals(row['low'])} to {decimals(row['high'])})"
    if row["control"] is not None:
        said += f" against {decimals(row['control'])}"
    for name, value in (("even attention", rules.even_of(row["note"])), ("chance", rules.chance_of(row["note"]))):
        if value is not None:
            said += f", {name} {decimals(value)}"
    if row["adjusted"] is None:
        return said
    p = "below 0.001" if row["adjusted"] < 0.001 else decimals(row["adjusted"])
    return f"{said}, p {p} after Holm"


def decimals(value: float | None, *, signed: bool = False) -> str:
    """A number of a probe in few characters: three decimals, or as many digits where it is large."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    if abs(value) >= 1000:
        return f"{value:{sign},.0f}"
    shown = f"{value:{sign}.3f}"
    return shown.replace("-", "") if float(shown) == 0 and not signed else shown

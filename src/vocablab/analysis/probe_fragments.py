"""The findings of probes as HTML: sentences, answers, headline measures, every measure, notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vocablab.analysis.fragments import COLOURS, CONTROL_COLOUR, p_value, table, text
from vocablab.analysis.probe_differences import EXPLAINED, difference
from vocablab.analysis.probe_question_list import QUESTIONS
from vocablab.analysis.probe_questions import answers, decimals, false_discovery_rates, reasons
from vocablab.analysis.probe_rules import ABSENT, DECLARED, NO, PART, UNCLEAR, WORDS, YES, Row

PROBES = {
    "geometry": "Geometry of the rows", "linear": "Linear probes", "fourier": "Periods in the rows",
    "audit": "Were the tokens trained?", "attention": "Attention", "causal": "Causes", "lens": "Layer by layer",
    "retrieval": "Retrieval", "composed": "Composed rows", "untaught": "Tokens that stood in no text",
}  # fmt: skip
"""Every probe, in the order of the page."""
OCCASIONAL = frozenset({"untaught"})
"""Those that few models have anything for: of the others nothing is said."""
_TONES = {YES: "yes", PART: "part", UNCLEAR: "unclear", NO: "no", ABSENT: "absent"}
_HEADS = {YES: "Found", PART: "In part", UNCLEAR: "Not clear", NO: "Not found", ABSENT: "Not measured"}


@dataclass(frozen=True)
class Model:
    """One model on the page."""

    label: str
    """Its name, made unique on the page."""
    colour: str
    findings: dict[str, Any]
    answers: list[dict[str, Any]]

    @property
    def chip(self) -> str:
        """The name beside its colour."""
        return f'<span class="arm"><i style="background:{self.colour}"></i>{text(self.label)}</span>'

    @property
    def measures(self) -> list[Row]:
        """All it was measured by."""
        found: list[Row] = self.findings["measures"]
        return found


def models_of(findings: Sequence[dict[str, Any]]) -> list[Model]:
    """The models with names that differ and the colours of the report: the first is blue, one named control grey."""
    found: list[Model] = []
    for value in findings:
        name, known = str(value["model"]), {model.label for model in found}
        label = next(n for n in (name, *(f"{name} ({i})" for i in range(2, len(known) + 3))) if n not in known)
        taken = sum(model.colour != CONTROL_COLOUR for model in found)
        colour = CONTROL_COLOUR if name == "control" else COLOURS[taken % len(COLOURS)]
        found.append(Model(label, colour, value, answers(value["measures"])))
    return found


def word(value: str | None) -> str:
    """An answer's word as a pill; nothing for a number that decides nothing."""
    return "" if value is None else f'<span class="word {_TONES[value]}">{text(value)}</span>'


def summary(models: Sequence[Model]) -> str:
    """What was found of each model, in sentences."""
    if not models:
        return '<p class="empty">No model was probed.</p>'
    parts = []
    for model in models:
        sentences = []
        for one in WORDS:
            told = [answer for answer in model.answers if answer["told"]]
            named = [answer["finding"] for answer in told if answer["word"] == one]
            if len(named) == len(told) and one == ABSENT:
                sentences.append("<b>Not measured:</b> no question could be answered; the notes say why.")
            elif named:
                sentences.append(f"<b>{_HEADS[one]}:</b> {text('; '.join(named))}.")
        absent = [
            probe
            for probe in PROBES
            if probe not in OCCASIONAL and not any(row["probe"] == probe for row in model.measures)
        ]
        if absent:
            sentences.append(f'<span class="missing">Probes that measured nothing: {text(", ".join(absent))}.</span>')
        parts.append(f"<p>{model.chip} {' '.join(sentences)}</p>")
    return f'<section class="summary">{"".join(parts)}</section>'


def answers_table(models: Sequence[Model]) -> str:
    """Each question with its word and the numbers behind it, one column per model."""
    rows = []
    for place, question in enumerate(QUESTIONS):
        if not any(model.answers[place]["told"] for model in models):
            continue
        cells = [text(question.text)]
        for model in models:
            answer = model.answers[place]
            known = [one for one in reasons(answer) if one != ABSENT and any(part["rows"] for part in answer["parts"])]
            said = "".join(f"<li>{text(one)}</li>" for one in known)
            chip = f'<span class="narrow">{model.chip} </span>' if len(models) > 1 else ""
            cells.append(chip + word(answer["word"]) + (f"<ul>{said}</ul>" if said else ""))
        rows.append(cells)
    head = ["Question", *(model.chip for model in models)]
    return f'<div class="answers">{table(head, rows, numeric_from=len(head), name="answers")}</div>'


def rules() -> str:
    """The declared rules."""
    listed = "".join(f"<dt>{text(name)}</dt><dd>{text(rule)}</dd>" for name, rule in DECLARED)
    return f'<dl class="said">{listed}</dl>'


def headlines(models: Sequence[Model]) -> str:
    """The headline measures under their questions."""
    columns = ["Value", "Control", "p", "n", ""]
    two = len(models) == 2
    span = 1 + len(columns) * len(models) + two
    body = ""
    for place, question in enumerate(QUESTIONS):
        found = [_headline_rows(model, place) for model in models]
        keys = dict.fromkeys(key for one in found for key in one)
        if not keys:
            continue
        body += f'<tr class="group"><th colspan="{span}">{text(question.text)}</th></tr>'
        for key in keys:
            mine = [one.get(key) for one in found]
            cells = [c for row in mine for c in _headline_cells(row)] + ([_difference(mine)] if two else [])
            numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
            body += f"<tr><td>{_measure(*key)}</td>{numbers}</tr>"
    if not body:
        return '<p class="empty">No headline measure was taken.</p>'
    above = "".join(f'<th colspan="{len(columns)}">{model.chip}</th>' for model in models)
    named = "".join(f'<th class="n">{name}</th>' for name in columns * len(models))
    last = ("<th></th>", '<th class="n">Difference</th>') if two else ("", "")
    head = f"<tr><th></th>{above}{last[0]}</tr>" if len(models) > 1 else ""
    head += f"<tr><th>Measure</th>{named}{last[1]}</tr>"
    # Two models need the width: what stands in brackets then goes below, and less space between.
    layout = "compact" if len(models) == 1 else "tight"
    box = f'<div class="scroll {layout}" tabindex="0" role="region" aria-label="headline measures">'
    note = f'<p class="note">{text(EXPLAINED)}</p>' if two else ""
    return f"{note}{box}<table><thead>{head}</thead><tbody>{body}</tbody></table></div>"


def _headline_rows(model: Model, place: int) -> dict[tuple[str, str, str], Row]:
    rows = [row for part in model.answers[place]["parts"] for row in part["rows"]]
    return {(row["place"], row["target"], row["metric"]): row for row in rows}


def _headline_cells(row: Row | None) -> list[str]:
    if row is None:
        return ["–", "", "", "", ""]
    p = "" if row["adjusted"] is None else f"{p_value(row['adjusted'])} <small>({p_value(row['p'])})</small>"
    return [_value(row), decimals(row["control"]), p, str(row["n"]), word(row["word"])]


def _value(row: Row) -> str:
    """The number with its interval, if it has one."""
    value = decimals(row["value"])
    return (
        value if row["low"] is None else f"{value} <small>({decimals(row['low'])} to {decimals(row['high'])})</small>"
    )


def _measure(place: str, target: str, metric: str) -> str:
    return f"{text(target)}: {text(metric)} <small>{text(place)}</small>"


def _difference(rows: Sequence[Row | None]) -> str:
    """The first model minus the second, if both have the number; bold if its interval excludes 0."""
    if rows[0] is None or rows[1] is None:
        return ""
    found = difference(rows[0], rows[1])
    value = decimals(found.value, signed=True)
    if found.low is None:
        return value
    shown = f"<b>{value}</b>" if found.excludes_zero else value
    return f"{shown} <small>({decimals(found.low, signed=True)} to {decimals(found.high, signed=True)})</small>"


def every_measure(models: Sequence[Model], probe: str) -> str:
    """All measures of one probe, models beside each other, folded."""
    found = []
    for model in models:
        rates = false_discovery_rates(model.measures)
        mine = [row | {"q": q} for row, q in zip(model.measures, rates, strict=True) if row["probe"] == probe]
        found.append({(row["place"], row["target"], row["metric"]): row for row in mine})
    keys = dict.fromkeys(key for one in found for key in one)
    two = len(models) == 2
    rows = []
    for key in keys:
        same = [one.get(key) for one in found]
        noted = dict.fromkeys(row["note"] for row in same if row is not None and row["note"])
        rows.append(
            [
                _measure(*key),
                *(cell for row in same for cell in _cells(row)),
                *([_difference(same)] if two else []),
                f"<small>{text(' / '.join(noted))}</small>",
            ]
        )
    named = [
        f"{head}{f' <small>{text(model.label)}</small>' if len(models) > 1 else ''}"
        for model in models
        for head in ("Value", "Control", "p", "q", "n")
    ]
    head = ["Measure", *named, *(["Difference"] if two else []), "Note"]
    q = "q: false discovery rate (Benjamini and Hochberg) over all measures of this probe that have a p-value."
    listing = table(head, rows, name=f"every measure of {probe}")
    return f'<details><summary>Every measure ({len(rows)})</summary><p class="note">{q}</p>{listing}</details>'


def _cells(row: Row | None) -> list[str]:
    if row is None:
        return ["–", "", "", "", ""]
    p = ["", ""] if row["p"] is None else [p_value(row["p"]), p_value(row["q"])]
    return [_value(row), decimals(row["control"]), *p, str(row["n"])]


def notes(models: Sequence[Model]) -> str:
    """What the probes could not measure, and warnings, each once."""
    parts = []
    for model in models:
        said = "".join(f"<li>{text(one)}</li>" for one in dict.fromkeys(model.findings["notes"]))
        parts.append(f"<p>{model.chip}</p>" + (f"<ul>{said}</ul>" if said else '<p class="soft">No notes.</p>'))
    return "".join(parts) or '<p class="soft">No notes.</p>'

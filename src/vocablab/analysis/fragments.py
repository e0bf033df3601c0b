"""The parts that pages are made of: numbers, arms and tables as HTML.

All that comes from data passes through `text`.
"""

import html
from typing import Any

from vocablab.analysis.effects import SHARES
from vocablab.analysis.samples import token_pieces

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D00", "#56B4E9")
"""Okabe and Ito's colour-blind-safe set, its yellow darkened for a white page."""
CONTROL_COLOUR = "#5A6472"
_SYMBOLS = ("diamond", "square", "triangle-up", "cross", "star", "pentagon")


def text(value: Any) -> str:
    """`value` as HTML text, safe inside an element and inside a quoted attribute."""
    return html.escape("–" if value is None else str(value), quote=True)


def arm_styles(report: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Each arm with its fixed colour and marker: grey control, then the set in declared order."""
    styled, position = [], 0
    study = report["study"]
    # The treatment always takes the first colour, so that it looks the same in every study.
    others = [arm["name"] for arm in study["arms"] if arm["name"] not in (study["control"], study["treatment"])]
    order = [study["treatment"], *others]
    for arm in study["arms"]:
        if arm["name"] == study["control"]:
            styled.append((arm, {"color": CONTROL_COLOUR, "symbol": "circle"}))
            continue
        position = order.index(arm["name"])
        colour, symbol = COLOURS[position % len(COLOURS)], _SYMBOLS[position % len(_SYMBOLS)]
        styled.append((arm, {"color": colour, "symbol": symbol}))
    return styled


def chip(report: dict[str, Any], name: str) -> str:
    """An arm's name beside its colour."""
    colour = next((style["color"] for arm, style in arm_styles(report) if arm["name"] == name), CONTROL_COLOUR)
    return f'<span class="arm"><i style="background:{colour}"></i>{text(name)}</span>'


def number(value: float | None, metric: str, *, signed: bool = False) -> str:
    """A value in the metric's units: per cent for shares, four decimals for bits per byte."""
    if value is None:
        return "–"
    if metric in SHARES:
        return f"{100 * value:{'+' if signed else ''}.2f}" + ("" if signed else " %")
    return f"{value:{'+' if signed else ''}.4f}"


def unit(metric: str) -> str:
    """What differences of a metric are counted in."""
    return "points" if metric in SHARES else "bits" if metric == "margin_bits" else "bits/byte"


def interval(row: dict[str, Any], metric: str) -> str:
    """The interval of a difference, as text."""
    return " to ".join(number(row[end], metric, signed=True) for end in ("low", "high"))


def p_value(value: float | None) -> str:
    """A p-value to four places."""
    return "–" if value is None else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def table(head: list[str], rows: list[list[str]], *, numeric_from: int = 1, name: str = "") -> str:
    """A table in its own scrolling box; `head` and `rows` hold finished HTML."""
    cells = "".join(f'<th class="{"n" if i >= numeric_from else ""}">{h}</th>' for i, h in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{"n" if i >= numeric_from else ""}">{c}</td>' for i, c in enumerate(row))
        + "</tr>"
        for row in rows
    )
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{text(name or "table")}">'
    return f"{box}<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"


def measure(target: str, detail: str) -> str:
    """A measure as one cell: its name, and in small print the metric or what else tells it apart."""
    # A narrow window breaks the name between its parts, not inside a word.
    name = text(target).replace(".", ".<wbr>").replace(":", ":<wbr>")
    return f"<code>{name}</code><small>{text(detail)}</small>"


def percent(value: float | None) -> str:
    """A share in per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def marked(value: str) -> str:
    """Model output as HTML, with fact and sham tokens as pills; every piece is escaped."""
    return "".join(
        text(piece) if kind == "text" else f'<mark class="{kind}">{text(piece)}</mark>'
        for kind, piece in token_pieces(value)
    )

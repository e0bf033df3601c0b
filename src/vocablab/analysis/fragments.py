"""Header, verdicts, effects and scores of the report page, and the parts that all of its tables are made of.

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
_SOURCES = {"seed": "seeds", "item": "items", "residual": "seed × item and noise"}
_TONES = {
    "SUPPORTED": "good", "NO HARM": "good", "SUPPORTED IN DIRECTION": "lean", "REFUTED": "bad", "HARM": "bad",
    "INVALID": "invalid",
}  # fmt: skip


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


def header(report: dict[str, Any]) -> str:
    """Title, study facts, and what is missing."""
    study = report["study"]
    facts = f"<code>{text(study['name'])}</code> · preset <code>{text(study['preset'])}</code> · "
    facts += f"{len(study['arms'])} arms × {len(study['seeds'])} seeds"
    gates = report["gates"]
    red = sum(not gate["passed"] for gate in gates)
    status = f"{red} of {len(gates)} gates red" if red else f"all {len(gates)} gates green"
    facts += f' · <a href="#gates">{status}</a>'
    parts = [f"<h1>{text(study['title'])}</h1>", f'<p class="facts">{facts}</p>']
    if report["missing"]:
        lost = "; ".join(f"{m['arm']} seed {m['seed']}: {', '.join(m['stages'])}" for m in report["missing"])
        parts.append(f'<p class="notice"><b>Not complete.</b> Missing stages: {text(lost)}.</p>')
    if study["exploratory"]:
        parts.append(f'<p class="notice"><b>Exploratory, not confirmatory.</b> {text(study["exploratory"])}</p>')
    return "".join(parts)


def arms(report: dict[str, Any]) -> str:
    """The arms with their colours, and what the study says of itself."""
    study = report["study"]
    listed = "".join(
        f"<li>{chip(report, arm['name'])}{_role(study, arm['name'])}<span>{text(arm['description'])}</span></li>"
        for arm in study["arms"]
    )
    prose = f'<p class="prose">{text(study["docstring"])}</p>'
    about = f"<details><summary>About this study</summary>{prose}</details>"
    return f'<ul class="arms">{listed}</ul>{about if study["docstring"] else ""}'


def _role(study: dict[str, Any], name: str) -> str:
    role = "control" if name == study["control"] else "treatment" if name == study["treatment"] else ""
    return f"<em>{role}</em>" if role and role != name else ""


def verdicts(report: dict[str, Any]) -> str:
    """One card per primary claim: word, claim, sentence, key numbers."""
    cards = []
    for verdict in report["verdicts"]:
        tone = _TONES.get(verdict["word"], "open")
        word = ("EXPLORATORY · " if verdict["exploratory"] else "") + verdict["word"]
        claim = verdict["claim"]
        kind = "Benefit" if claim["type"] == "Benefit" else "No harm"
        cards.append(
            f'<article class="verdict {tone}"><p class="word">{text(word)}</p>'
            f'<p class="claim"><b>{kind}.</b> {text(claim["text"])}</p>'
            f'<p class="sentence">{text(verdict["sentence"])}</p>'
            f"{_key_numbers(verdict)}</article>"
        )
    return "".join(cards) or '<p class="empty">This study declares no primary claim.</p>'


def _key_numbers(verdict: dict[str, Any]) -> str:
    found, metric = verdict["estimate"], verdict["claim"]["metric"]
    if not found:
        return ""
    level = f"{100 * verdict['level']:.4g} %"
    bounds = (number(verdict[end], metric, signed=True) for end in ("low", "high"))
    pairs = [
        ("Improvement", f"{number(verdict['improvement'], metric, signed=True)} {unit(metric)}"),
        (f"{level} interval", " to ".join(bounds)),
        ("Detectable at 80 % power", f"{_size(verdict['mde'], metric)} ({_planned(verdict)})"),
        ("Sample", f"{found['n_seeds']} seeds × {found['n_items']} items"),
        ("p (two-way t; after Holm)", f"{p_value(verdict['p_value'])}; {p_value(verdict['adjusted_p'])}"),
        ("p (sign flips of seeds)", p_value(found["sign_flip_p"])),
    ]
    listed = "".join(f"<div><dt>{k}</dt><dd>{text(v)}</dd></div>" for k, v in pairs)
    return f'<dl class="keys">{listed}</dl>{_variance_bar(verdict["components"])}'


def _size(value: float | None, metric: str) -> str:
    """A size without a sign, in the metric's units."""
    return "–" if value is None else f"{number(abs(value), metric, signed=True)[1:]} {unit(metric)}"


def _planned(verdict: dict[str, Any]) -> str:
    planned = verdict.get("planned_mde")
    return "not planned" if planned is None else f"planned {_size(planned, verdict['claim']['metric']).split()[0]}"


def _variance_bar(components: list[dict[str, Any]]) -> str:
    """What the uncertainty of the effect comes from, as one bar."""
    known = [part for part in components if part["share"] is not None]
    if not known:
        return ""
    bars = "".join(f'<i class="{part["source"]}" style="flex:{part["share"]:.4f}"></i>' for part in known)
    said = "".join(
        f'<span class="{p["source"]}">{_SOURCES[p["source"]]} {100 * p["share"]:.0f} %</span>' for p in known
    )
    return f'<div class="variance"><small>The error comes from</small><div class="bar">{bars}</div><p>{said}</p></div>'


def effects(report: dict[str, Any]) -> str:
    """The precision and the seeds of each primary claim, and every arm against control and against the treatment."""
    judged = [verdict for verdict in report["verdicts"] if verdict["estimate"]]
    precision = "".join(_precision_table(verdict) for verdict in judged)
    seeds = "".join(_seed_table(verdict) for verdict in judged)
    every = _contrasts(report, report["effects"], "Arm minus control", "arm")
    parts = [("Variance components and detectable effects of the primary claims", precision)] if judged else []
    parts += [("Every seed of the primary claims", seeds)] if judged else []
    together = _contrasts(report, report["against_control"], "Arm minus control", "arm")
    if report["against_control"]:
        parts.append(
            ("All arms against control on the claimed measures, intervals that hold together (Dunnett)", together)
        )
    parts.append(("Every arm and measure against control (exploratory)", every))
    return "".join(f"<details><summary>{head}</summary>{body}</details>" for head, body in parts)


def placebos(report: dict[str, Any]) -> str:
    """Treatment minus each arm beside the control: the claimed measures, and the others on demand."""
    if not report["placebos"]:
        return '<p class="empty">This study has no other arm with scores that pair with the treatment.</p>'
    claimed = [row for row in report["placebos"] if row["claimed"]]
    others = [row for row in report["placebos"] if not row["claimed"]]
    found = _contrasts(report, claimed, "Treatment minus", "against") if claimed else ""
    if others:
        listing = _contrasts(report, others, "Treatment minus", "against")
        found += f"<details><summary>The same on every other measure (exploratory)</summary>{listing}</details>"
    return found


def _contrasts(report: dict[str, Any], contrasts: list[dict[str, Any]], whose: str, arm: str) -> str:
    rows = [
        [
            measure(row["target"], row["metric"]),
            chip(report, row[arm]),
            number(row["effect"], row["metric"], signed=True),
            interval(row, row["metric"]),
            _better(row),
            p_value(row["p_value"]),
            p_value(row.get("q_value")),
            f"{row['n_seeds']} × {row['n_items']}",
        ]
        for row in contrasts
    ]
    head = ["Measure", whose, "Difference", "95 % interval", "Reads", "p", "q", "Seeds × items"]
    return table(head, rows, numeric_from=2, name="effects")


def _better(row: dict[str, Any]) -> str:
    """Which way a difference points, as far as its interval tells."""
    low, high = row["low"], row["high"]
    if low is None or high is None or low <= 0 <= high or not row["direction"]:
        return '<span class="soft">open</span>' if row["direction"] else '<span class="soft">–</span>'
    return '<b class="pass">better</b>' if (low > 0) == (row["direction"] > 0) else '<b class="fail">worse</b>'


def _precision_table(verdict: dict[str, Any]) -> str:
    claim, metric = verdict["claim"], verdict["claim"]["metric"]
    scale = 100 if metric in SHARES else 1
    rows = [
        [
            _SOURCES[part["source"]],
            f"{scale * part['standard_deviation']:.4g}" if part["known"] else "not known",
            f"{scale**2 * part['of_the_mean']:.3g}" if part["known"] else "–",
            percent(part["share"]) if part["known"] else "–",
        ]
        for part in verdict["components"]
    ]
    head = ["Source", f"Standard deviation, {unit(metric)}", "Adds to the variance of the mean", "Share"]
    planned = f"{_planned(verdict)}, achieved {_size(verdict['mde'], metric)}"
    said = f"Minimum detectable effect at 80 % power: {planned}."
    floor, error = verdict["estimate"]["standard_error_floor"], verdict["estimate"]["standard_error"]
    if floor and error is not None and error <= floor:
        said += " The standard error is at its floor, that of one item that differs."
    return f'<h4>{text(metric)} on {text(claim["target"])}</h4>{table(head, rows)}<p class="note">{text(said)}</p>'


def _seed_table(verdict: dict[str, Any]) -> str:
    claim, found = verdict["claim"], verdict["estimate"]
    rows = []
    for entry in found["seeds"]:
        row = [f"seed {entry['seed']}", number(entry["effect"], claim["metric"], signed=True)]
        if "mcnemar" in entry:
            test = entry["mcnemar"]
            row += [str(test["gained"]), str(test["lost"]), p_value(test["p_value"])]
        rows.append(row)
    head = ["Seed", "Treatment minus control"]
    if rows and len(rows[0]) > 2:
        head += ["Items gained", "Items lost", "McNemar p"]
    return f"<h4>{text(claim['metric'])} on {text(claim['target'])}</h4>" + table(head, rows, name="seeds")


def scores(report: dict[str, Any]) -> str:
    """Mean of every measure by arm, with Wilson intervals for shares."""
    names = [arm["name"] for arm in report["study"]["arms"]]
    scored = {name for row in report["scores"] for name in row["arms"]}
    rows = []
    for row in report["scores"]:
        metric, items = row["metric"], [str(arm["n_items"]) for arm in row["arms"].values()]
        cells = [measure(row["target"], metric), " / ".join(dict.fromkeys(items))]
        for name in names:
            arm = row["arms"].get(name)
            if arm is None:
                # An arm without tokens cannot be made to use one: that is no gap.
                gap = (
                    '<span class="soft">not asked</span>' if name in scored else '<span class="missing">missing</span>'
                )
                cells.append(gap)
                continue
            span = ""
            if arm.get("low") is not None:
                span = f"<small>{100 * arm['low']:.1f} to {100 * arm['high']:.1f}</small>"
            cells.append(f"{number(arm['mean'], metric)}{span}")
        rows.append(cells)
    head = ["Measure", "Items", *(chip(report, name) for name in names)]
    return table(head, rows, numeric_from=1, name="scores")


def percent(value: float | None) -> str:
    """A share in per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def marked(value: str) -> str:
    """Model output as HTML, with fact and sham tokens as pills; every piece is escaped."""
    return "".join(
        text(piece) if kind == "text" else f'<mark class="{kind}">{text(piece)}</mark>'
        for kind, piece in token_pieces(value)
    )

"""Tables and cards of the report page as HTML text. All that comes from data passes through `text`."""

import html
import json
from typing import Any

from vocablab.analysis.samples import token_pieces

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D00", "#56B4E9")
"""Okabe and Ito's colour-blind-safe set, its yellow darkened for a white page."""
_CONTROL_COLOUR = "#5A6472"
_SYMBOLS = ("diamond", "square", "triangle-up", "cross", "star", "pentagon")
_TONES = {
    "SUPPORTED": "good", "NO HARM": "good", "SUPPORTED IN DIRECTION": "lean", "REFUTED": "bad", "HARM": "bad",
    "INVALID": "invalid",
}  # fmt: skip
_PASS, _FAIL = '<b class="pass">✓ pass</b>', '<b class="fail">✗ fail</b>'
_SHARES = ("acc", "acc_flexible", "acc_norm")
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
            styled.append((arm, {"color": _CONTROL_COLOUR, "symbol": "circle"}))
            continue
        position = order.index(arm["name"])
        colour, symbol = _COLOURS[position % len(_COLOURS)], _SYMBOLS[position % len(_SYMBOLS)]
        styled.append((arm, {"color": colour, "symbol": symbol}))
    return styled


def _chip(report: dict[str, Any], name: str) -> str:
    colour = next((style["color"] for arm, style in arm_styles(report) if arm["name"] == name), _CONTROL_COLOUR)
    return f'<span class="arm"><i style="background:{colour}"></i>{text(name)}</span>'


def number(value: float | None, metric: str, *, signed: bool = False) -> str:
    """A value in the metric's units: per cent for shares, four decimals for bits per byte."""
    if value is None:
        return "–"
    if metric in _SHARES:
        return f"{100 * value:{'+' if signed else ''}.2f}" + ("" if signed else " %")
    return f"{value:{'+' if signed else ''}.4f}"


def _p(value: float | None) -> str:
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
        f"<li>{_chip(report, arm['name'])}{_role(study, arm['name'])}<span>{text(arm['description'])}</span></li>"
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
    sign = " points" if metric in _SHARES else " bits/byte"
    level = f"{100 * verdict['level']:.4g} %"
    pairs = [
        ("Improvement", number(verdict["improvement"], metric, signed=True) + sign),
        (f"{level} interval", f"{number(verdict['low'], metric, signed=True)} to "
         f"{number(verdict['high'], metric, signed=True)}"),
        ("Detectable at 80 % power", (number(verdict["mde"], metric, signed=True) + sign).lstrip("+")),
        ("Sample", f"{found['n_seeds']} seeds × {found['n_items']} items"),
        ("p (two-way t)", f"{_p(found['p_value'])}, df {found['degrees_of_freedom']:.1f}"),
        ("p (sign flips of seeds)", _p(found["sign_flip_p"])),
    ]  # fmt: skip
    return '<dl class="keys">' + "".join(f"<div><dt>{k}</dt><dd>{text(v)}</dd></div>" for k, v in pairs) + "</dl>"


def effects(report: dict[str, Any]) -> str:
    """Every arm against control, and the seeds of each primary claim with McNemar's test."""
    rows = [
        [
            f"<code>{text(row['target'])}</code>",
            text(row["metric"]),
            _chip(report, row["arm"]),
            number(row["effect"], row["metric"], signed=True),
            " to ".join(number(row[end], row["metric"], signed=True) for end in ("low", "high")),
            _p(row["p_value"]),
            f"{row['n_seeds']} × {row['n_items']}",
        ]
        for row in report["effects"]
    ]
    head = ["Measure", "Metric", "Arm minus control", "Difference", "95 % interval", "p", "Seeds × items"]
    every = table(head, rows, numeric_from=3, name="effects")
    seeds = "".join(_seed_table(verdict) for verdict in report["verdicts"] if verdict["estimate"])
    return (
        f"<details><summary>Every seed of the primary claims</summary>{seeds}</details>"
        f"<details><summary>Every arm and measure against control (exploratory)</summary>{every}</details>"
    )


def _seed_table(verdict: dict[str, Any]) -> str:
    claim, found = verdict["claim"], verdict["estimate"]
    rows = []
    for entry in found["seeds"]:
        row = [f"seed {entry['seed']}", number(entry["effect"], claim["metric"], signed=True)]
        if "mcnemar" in entry:
            test = entry["mcnemar"]
            row += [str(test["gained"]), str(test["lost"]), _p(test["p_value"])]
        rows.append(row)
    head = ["Seed", "Treatment minus control"]
    if rows and len(rows[0]) > 2:
        head += ["Items gained", "Items lost", "McNemar p"]
    return f"<h4>{text(claim['metric'])} on {text(claim['target'])}</h4>" + table(head, rows, name="seeds")


def scores(report: dict[str, Any]) -> str:
    """Mean of every measure by arm, with Wilson intervals for shares."""
    names = [arm["name"] for arm in report["study"]["arms"]]
    rows = []
    for row in report["scores"]:
        metric, items = row["metric"], [str(arm["n_items"]) for arm in row["arms"].values()]
        cells = [f"<code>{text(row['target'])}</code>", text(metric), " / ".join(dict.fromkeys(items))]
        for name in names:
            arm = row["arms"].get(name)
            if arm is None:
                cells.append('<span class="missing">missing</span>')
                continue
            span = ""
            if arm.get("low") is not None:
                span = f"<small>{100 * arm['low']:.1f} to {100 * arm['high']:.1f}</small>"
            cells.append(f"{number(arm['mean'], metric)}{span}")
        rows.append(cells)
    head = ["Measure", "Metric", "Items", *(_chip(report, name) for name in names)]
    return table(head, rows, numeric_from=2, name="scores")


def adoption(report: dict[str, Any]) -> str:
    """How the arms use their tokens."""
    rows = [
        [
            f"<code>{text(row['target'])}</code>",
            _chip(report, row["arm"]),
            str(row["answers"]),
            f"{row['per_answer']:.2f}",
            _percent(row["right"]),
            _percent(row["adopted"]) + (f"<small>of {row['fits']}</small>" if row["fits"] else ""),
            _percent(row["ended_share"]),
        ]
        for row in report["adoption"]
    ]
    if not rows:
        return '<p class="empty">No generated answers were scored.</p>'
    head = [
        "Task",
        "Arm",
        "Answers",
        "Fact tokens per answer",
        "Of them right",
        "Used where a fact fits",
        "Ended (EOS)",
    ]
    return table(head, rows, numeric_from=2, name="token adoption")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def marked(value: str) -> str:
    """Model output as HTML, with fact and sham tokens as pills; every piece is escaped."""
    return "".join(
        text(piece) if kind == "text" else f'<mark class="{kind}">{text(piece)}</mark>'
        for kind, piece in token_pieces(value)
    )


def samples(report: dict[str, Any]) -> str:
    """The same items side by side for each arm."""
    if not report["samples"]:
        return '<p class="empty">No item was generated for both control and treatment.</p>'
    return "".join(_sample(report, item) for item in report["samples"])


def _sample(report: dict[str, Any], item: dict[str, Any]) -> str:
    answers = []
    for arm in report["study"]["arms"]:
        answer = item["arms"].get(arm["name"])
        if answer is None:
            answers.append(f'<div class="answer">{_chip(report, arm["name"])}<p class="missing">missing</p></div>')
            continue
        score = answer["score"]
        tone = "none" if score is None else "right" if score >= 0.5 else "wrong"
        said = {"none": "not scored", "right": "✓ right", "wrong": "✗ wrong"}[tone]
        end = "" if answer["ended_eos"] else " · did not end"
        answers.append(
            f'<div class="answer {tone}"><div class="top">{_chip(report, arm["name"])}<b>{said}</b></div>'
            f"<pre>{marked(answer['output'])}</pre>"
            f'<p class="read">read as <code>{text(answer["extracted"] or "nothing")}</code>{end}</p></div>'
        )
    where = f"{item['task']}.{item['split']} · {item['item_id']} · seed {item['seed']}"
    return (
        f'<article class="sample"><p class="where"><code>{text(where)}</code><em>{text(item["why"])}</em></p>'
        f'<pre class="prompt">{marked(item["prompt"])}</pre>'
        f'<div class="answers">{"".join(answers)}</div></article>'
    )


def gates(report: dict[str, Any]) -> str:
    """Gates by rule, red ones open."""
    if not report["gates"]:
        return '<p class="empty">No gate was recorded: nothing vouches for these numbers.</p>'
    by_rule: dict[Any, list[dict[str, Any]]] = {}
    for gate in report["gates"]:
        by_rule.setdefault(gate["rule"], []).append(gate)
    parts = []
    for rule, entries in by_rule.items():
        red = [gate for gate in entries if not gate["passed"]]
        badge = (
            f'<b class="fail">✗ {len(red)} of {len(entries)} red</b>'
            if red
            else f'<b class="pass">✓ {len(entries)}</b>'
        )
        rows = [
            [_PASS if gate["passed"] else _FAIL, text(gate["name"]), text(gate["detail"]), _place(gate)]
            for gate in [*red, *(gate for gate in entries if gate["passed"])]
        ]
        listing = table(["", "Gate", "Detail", "Where"], rows, numeric_from=9, name="gates")
        title = f"{text(rule)}. {text(RULES.get(rule, 'Other'))}"
        parts.append(f"<details{' open' if red else ''}><summary>{badge} {title}</summary>{listing}</details>")
    return "".join(parts)


def _place(gate: dict[str, Any]) -> str:
    seed = "" if gate["seed"] is None else f" · seed {gate['seed']}"
    return text(f"{gate['arm']}{seed} · {gate['stage']}")


def runs(report: dict[str, Any]) -> str:
    """Every run and stage with its record; the counts and versions open on demand."""
    parts = []
    for run in report["runs"]:
        done = sum(stage["status"] != "missing" for stage in run["stages"])
        wall = sum(stage.get("wall_seconds") or 0 for stage in run["stages"])
        summary = f"{_chip(report, run['arm'])} seed {run['seed']} <span>{done} of {len(run['stages'])} stages · "
        summary += f"{wall:,.1f} s</span>"
        body = "".join(_stage(stage) for stage in run["stages"])
        parts.append(f'<details class="run"><summary>{summary}</summary>{body}</details>')
    return "".join(parts)


def _stage(stage: dict[str, Any]) -> str:
    name = f"<h4>{text(stage['stage'])}</h4>"
    if stage["status"] == "missing":
        return name + '<p class="missing">missing: this stage has not run</p>'
    git = stage["git"] or {}
    commit = f"{git.get('commit', 'not a checkout')}{' (with uncommitted changes)' if git.get('dirty') else ''}"
    rows = [
        ["fingerprint", f"<code>{text(stage['fingerprint'])}</code>"],
        ["finished", text(stage["finished"])],
        ["wall time", f"{stage['wall_seconds']:,.1f} s"],
        ["files", f"{stage['bytes']:,} bytes"],
        ["code", f"<code>{text(commit)}</code>"],
        ["hardware", text(", ".join(f"{k} {v}" for k, v in stage["hardware"].items()))],
        ["versions", text(", ".join(f"{k} {v}" for k, v in stage["versions"].items()))],
    ]
    counts = [[text(key), text(value)] for key, value in _flat(stage["counts"])]
    ledger = f"<details><summary>Counts ({len(counts)})</summary>{table(['Count', 'Value'], counts)}</details>"
    return name + table(["", ""], rows, numeric_from=9, name="record") + (ledger if counts else "")


def _flat(value: Any, where: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(item, f"{where}.{key}" if where else str(key))]
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return [(where, shown if len(shown) <= 300 else shown[:297] + "...")]
    return [(where, f"{value:,}" if isinstance(value, int) else f"{value:,.6g}")]

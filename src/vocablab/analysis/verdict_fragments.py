"""Header, arms, verdicts, effects and scores of the report page.

All that comes from data passes through `text`.
"""

from typing import Any

from vocablab.analysis.effects import SHARES
from vocablab.analysis.fragments import chip, interval, measure, number, p_value, percent, table, text, unit

_SOURCES = {"seed": "seeds", "item": "items", "residual": "seed × item and noise"}
_TONES = {
    "SUPPORTED": "good", "NO HARM": "good", "SUPPORTED IN DIRECTION": "lean", "REFUTED": "bad", "HARM": "bad",
    "INVALID": "invalid",
}  # fmt: skip


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

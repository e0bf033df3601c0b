"""The report as Markdown, for a pull request or the appendix of a paper."""

import re
import shlex
from typing import Any

from vocablab.analysis.fragments import number, p_value, percent, unit
from vocablab.analysis.gates import RULES, by_rule
from vocablab.analysis.post_training_fragments import change, decimals, span

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$!&{}])")
_MOST = 12
"""Sentences of one kind of deviation; report.html has all."""


def escaped(value: Any) -> str:
    """`value` as Markdown text on one line that shows just its characters: no markup, cell border, link or mention."""
    shown = " ".join(str("–" if value is None else value).split())
    shown = _SPECIAL.sub(r"\\\1", shown)
    # At the start of a line these would begin a list or a heading.
    shown = re.sub(r"^([-+=])", r"\\\1", shown)
    shown = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", shown)
    # A bare address would become a link and a bare @name call a person, escaped or not: an invisible joiner stops both.
    return shown.replace("://", ":\u2060//").replace("www.", "www\u2060.").replace("@", "@\u2060")


def table(head: list[str], rows: list[list[str]], *, numeric_from: int = 9) -> str:
    """A Markdown table; cells hold finished Markdown."""
    rule = ["---:" if i >= numeric_from else "---" for i in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows]) + "\n"


def markdown(report: dict[str, Any]) -> str:
    """The report's short form; the same report always gives the same text."""
    study = report["study"]
    arms = [
        f"- **{escaped(arm['name'])}**{_role(study, arm['name'])}: {escaped(arm['description'])}"
        for arm in study["arms"]
    ]
    parts = [
        f"# {escaped(study['title'])}",
        f"Study **{escaped(study['name'])}**, preset {escaped(study['preset'])}, {len(study['arms'])} arms × "
        f"{len(study['seeds'])} seeds.",
        "\n".join(arms),
        "## Verdicts",
        _verdicts(report),
        "## Primary claims",
        _claims(report),
        "## Treatment against the other arms, on the claimed measures",
        _placebos(report),
        *_post_training(report),
        *_probes(report),
        "## Gates",
        _gates(report),
        "## Compute ledger",
        _ledger(report),
        "## Deviations and exclusions",
        _deviations(report),
        "## How to rebuild",
        _rebuild(report),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _role(study: dict[str, Any], name: str) -> str:
    return " (control)" if name == study["control"] else " (treatment)" if name == study["treatment"] else ""


def _verdicts(report: dict[str, Any]) -> str:
    lines = []
    for verdict in report["verdicts"]:
        word = ("EXPLORATORY, " if verdict["exploratory"] else "") + verdict["word"]
        lines.append(f"- **{escaped(word)}**: {escaped(verdict['sentence'])}")
    return "\n".join(lines) or "This study declares no primary claim."


def _claims(report: dict[str, Any]) -> str:
    rows = []
    for verdict in report["verdicts"]:
        claim, found = verdict["claim"], verdict["estimate"]
        metric = claim["metric"]
        cells = [escaped(claim["text"]), escaped(verdict["word"])]
        if found is None:
            rows.append([*cells, *["–"] * 8])
            continue
        ends = [number(verdict[end], metric, signed=True) for end in ("low", "high")]
        shares = [part["share"] for part in verdict["components"]]
        rows.append(
            [
                *cells,
                f"{number(verdict['improvement'], metric, signed=True)} {unit(metric)}",
                f"{' to '.join(ends)} ({100 * verdict['level']:.4g} %)",
                f"{p_value(verdict['p_value'])} / {p_value(verdict['adjusted_p'])}".replace("<", r"\<"),
                f"{found['n_seeds']} × {found['n_items']}",
                _size(verdict["mde"], metric),
                "not planned" if verdict["planned_mde"] is None else _size(verdict["planned_mde"], metric),
                " / ".join("–" if share is None else f"{100 * share:.0f} %" for share in shares),
            ]
        )
    head = [
        "Claim",
        "Verdict",
        "Improvement",
        "Interval",
        "p / after Holm",
        "Seeds × items",
        "MDE achieved",
        "MDE planned",
    ]
    return table([*head, "Variance from seeds / items / residual"], rows, numeric_from=2) if rows else "None."


def _size(value: float | None, metric: str) -> str:
    return number(None if value is None else abs(value), metric, signed=True).lstrip("+")


def _placebos(report: dict[str, Any]) -> str:
    rows = []
    for row in report["placebos"]:
        if row["claimed"]:
            metric = row["metric"]
            sign = row["direction"] or 1
            low, high = sorted(sign * (row[end] or 0.0) for end in ("low", "high"))
            known = row["low"] is not None
            ends = " to ".join(number(end if known else None, metric, signed=True) for end in (low, high))
            effect = f"{number(sign * row['effect'], metric, signed=True)} {unit(metric)}"
            p = p_value(row["p_value"]).replace("<", r"\<")
            rows.append([escaped(row["target"]), escaped(metric), escaped(row["against"]), effect, ends, p])
    head = ["Measure", "Metric", "Treatment against", "Improvement", "95 % interval", "p"]
    return table(head, rows, numeric_from=3) if rows else "No other arm pairs with the treatment."


def _post_training(report: dict[str, Any]) -> list[str]:
    """Head and tables of what came after pretraining; nothing if nothing did."""
    found = report["post_training"]
    lessons = [
        [
            *(escaped(row["arm"]), escaped(row["lesson"]), str(row["n_seeds"]), span(row["steps"])),
            *(percent(row["drill_share"]), decimals(row["end"], 4), span(row["best_step"]), span(row["last_step"])),
        ]
        for row in found["fine_tuning"]["arms"]
    ]
    rewarded = [
        [
            *(escaped(row["arm"]), str(row["n_seeds"])),
            *(change(row, name) for name in ("held_out_pass_rate", "held_out_greedy")),
            *(decimals(row["end"][f"held_out_{kind}_tokens"], 2) for kind in ("used", "idle")),
            *(decimals(row["last"][name], places) for name, places in (("entropy", 3), ("kl", 3), ("length", 1))),
            str(len(row["stopped"]) or "none"),
        ]
        for row in found["reward"]["arms"]
    ]
    parts = []
    if lessons:
        head = ["Arm", "Lesson", "Seeds", "Steps", "Drills", "Held-out bits/byte, end", "Best step", "Last step"]
        parts.append(table(head, lessons, numeric_from=2))
    if rewarded:
        head = ["Arm", "Seeds", "Held-out pass rate", "Held-out greedy", "Used tokens per answer", "Idle"]
        parts.append(table([*head, "Entropy", "KL", "Length", "Stopped early"], rewarded, numeric_from=1))
    return ["## Post-training, means over seeds", *parts] if parts else []


def _probes(report: dict[str, Any]) -> list[str]:
    """How many seeds of each arm answer a question with which word."""
    rows = report["probes"]["answers"]
    arms = [arm["name"] for arm in report["study"]["arms"] if any(row["arm"] == arm["name"] for row in rows)]
    said = {
        (row["question"], row["arm"]): ", ".join(f"{word} {n} of {row['seeds']}" for word, n in row["words"].items())
        for row in rows
    }
    questions = dict.fromkeys(row["question"] for row in rows)
    body = [[escaped(question), *(said.get((question, arm), "–") for arm in arms)] for question in questions]
    head = ["Question", *(escaped(arm) for arm in arms)]
    return ["## Probes, by how many seeds", table(head, body)] if rows else []


def _gates(report: dict[str, Any]) -> str:
    found = by_rule(report["gates"])
    if not found:
        return "No gate was recorded: nothing vouches for these numbers."
    rows = [
        [escaped(one["rule"]), RULES.get(one["rule"], "Other"), str(one["gates"]), str(len(one["red"]) or "none")]
        for one in found
    ]
    return table(["Rule", "", "Gates", "Red"], rows, numeric_from=2)


def _ledger(report: dict[str, Any]) -> str:
    found = report["ledger"]
    rows = []
    for row in [*found["arms"], found["total"]]:
        against = row.get("per_run_against_control") or {}
        rows.append(
            [
                escaped(row["arm"]) + _shared(row) if "arm" in row else "**Sum, what is shared once**",
                f"{row['wall_seconds'] or 0:,.0f} s",
                *("–" if row[name] is None else f"{row[name]:,.0f}" for name in ("tokens", "source_bytes")),
                "–" if row["total_flops"] is None else f"{row['total_flops']:.3g}",
                "–" if row["head_share"] is None else f"{100 * row['head_share']:.1f} %",
                "" if against.get("total_flops") is None else f"{against['total_flops']:.3f}",
            ]
        )
    head = [
        "Arm",
        "Wall time",
        "Tokens read",
        "Source bytes read",
        "Pretraining FLOPs",
        "Head",
        "FLOPs per run, × control",
    ]
    return table(head, rows, numeric_from=1)


def _shared(row: dict[str, Any]) -> str:
    arms = dict.fromkeys(arm for stage in row["shared"].values() for arm in stage)
    return f" (shares with {', '.join(escaped(arm) for arm in arms)}: {', '.join(row['shared'])})" if arms else ""


def _deviations(report: dict[str, Any]) -> str:
    lines = []
    for entry in report["deviations"]:
        found = entry["found"]
        lines.append(f"- {escaped(entry['kind'])}: {'' if found else 'none.'}".rstrip())
        lines += [f"  - {escaped(sentence)}" for sentence in found[:_MOST]]
        if len(found) > _MOST:
            lines.append(f"  - and {len(found) - _MOST} more, in report.html.")
    return "\n".join(lines)


def _rebuild(report: dict[str, Any]) -> str:
    study, known = report["study"], report["provenance"]
    name, preset = (shlex.quote(" ".join(str(study[key]).split())) for key in ("name", "preset"))
    # Indented, not fenced: no backtick in a name can end an indented block.
    commands = f"    vocablab report {name}\n    vocablab run {name}" + (
        f" --preset {preset}" if study["preset"] else ""
    )
    commits = ", ".join(
        f"{escaped(one['commit'] or 'no checkout')}{' with uncommitted changes' if one['dirty'] else ''}"
        for one in known["commits"]
    )
    versions = ", ".join(f"{escaped(k)} {escaped(v)}" for k, v in known["versions"].items())
    told = (
        "First from the records of the runs alone, then from nothing (`--runs DIR`, `--data DIR` say where these lie):"
    )
    promise = known["registration"]
    registered = f" Registered: {escaped(promise['sha256'])} {escaped(promise['date'])}." if promise else ""
    return f"{told}\n\n{commands}\n\nCode: {commits or '–'}. Packages: {versions or '–'}.{registered}"

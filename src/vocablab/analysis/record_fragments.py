"""What vouches for the numbers, as HTML: gates, deviations, the compute ledger, and every record."""

from typing import Any

from vocablab.analysis.evidence_fragments import flat
from vocablab.analysis.fragments import chip, percent, table, text
from vocablab.analysis.gates import RULES, by_rule
from vocablab.analysis.ledger import SAME_AS

_PASS, _FAIL = '<b class="pass">✓ pass</b>', '<b class="fail">✗ fail</b>'
_SHOWN = 12
"""Sentences of one kind that are open; the others are folded."""
_SHARED = (
    "What arms share was made once. Its tokens and FLOPs stand in the row of every arm that needed it, its time only "
    "where it was made; the sum counts it once."
)


def gates(report: dict[str, Any]) -> str:
    """Gates by rule, red ones open."""
    if not report["gates"]:
        return '<p class="empty">No gate was recorded: nothing vouches for these numbers.</p>'
    parts = []
    for entry in by_rule(report["gates"]):
        rule, red = entry["rule"], entry["red"]
        entries = [gate for gate in report["gates"] if gate["rule"] == rule]
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
        parts.append(f"<details{' open' if red else ''}><summary>{title} {badge}</summary>{listing}</details>")
    return "".join(parts)


def _place(gate: dict[str, Any]) -> str:
    seed = "" if gate["seed"] is None else f" · seed {gate['seed']}"
    return text(f"{gate['arm']}{seed} · {gate['stage']}")


def deviations(report: dict[str, Any]) -> str:
    """What went another way than declared and what was left out, kind by kind, also where there is nothing."""
    parts = []
    for entry in report["deviations"]:
        found = [f"<li>{text(sentence)}</li>" for sentence in entry["found"]]
        said = f"<ul>{''.join(found[:_SHOWN])}</ul>" if found else '<span class="soft">None.</span>'
        if len(found) > _SHOWN:
            rest = "".join(found[_SHOWN:])
            said += f"<details><summary>{len(found) - _SHOWN} more</summary><ul>{rest}</ul></details>"
        parts.append(f"<dt>{text(entry['kind'])}</dt><dd>{said}</dd>")
    return f'<dl class="said">{"".join(parts)}</dl>'


def ledger(report: dict[str, Any]) -> str:
    """Cost per arm, against the control, and stage by stage."""
    found = report["ledger"]
    parts = list(found["total"]["flops"] or {})
    sums = [
        [chip(report, row["arm"]) + _shared_stages(row), *_amounts(row, parts, row["per_run_against_control"])]
        for row in found["arms"]
    ]
    sums.append(["<b>Sum</b>", *_amounts(found["total"], parts)])
    costs = ["Wall time", "Tokens", "Source bytes", *(f"FLOPs, {text(part)}" for part in parts), "FLOPs, all", "Head"]
    head = ["Arm", *costs]
    stages = [
        [chip(report, row["arm"]), text(row["stage"]) + _shared(row), str(row["runs"]), *_amounts(row, parts)]
        for row in found["rows"]
    ]
    listing = table(["Arm", "Stage", "Runs", *costs], stages, numeric_from=2, name="stages")
    shown = table(head, sums, name="ledger")
    if any(row["shared"] for row in found["rows"]):
        shown += f'<p class="note">{_SHARED}</p>'
    return shown + f"<details><summary>Stage by stage</summary>{listing}</details>"


def _shared_stages(row: dict[str, Any]) -> str:
    """In small print with whom an arm shares which stages."""
    makers: dict[str, list[str]] = {}
    for stage, arms in row["shared"].items():
        makers.setdefault(", ".join(arms), []).append(stage)
    return "".join(
        f"<small>{text(', '.join(stages))}: shared with {text(arms)}</small>" for arms, stages in makers.items()
    )


def _shared(row: dict[str, Any]) -> str:
    found = row["shared"]
    if not found:
        return ""
    some = "" if found["runs"] == row["runs"] else f" in {found['runs']} of {row['runs']} runs"
    return f"<small>shared with {text(', '.join(found['with']))}{some}</small>"


def _amounts(row: dict[str, Any], parts: list[str], against: dict[str, float | None] | None = None) -> list[str]:
    """The cells of a ledger's row; in small print what a run costs as a multiple of a run of the control."""

    def times(name: str) -> str:
        value = (against or {}).get(name)
        return "" if value is None else f"<small>× {value:.3f}</small>"

    counts = [("–" if row[name] is None else f"{row[name]:,.0f}") + times(name) for name in ("tokens", "source_bytes")]
    flops = [(row["flops"] or {}).get(part) for part in parts]
    shown = ["–" if value is None else f"{value:.3g}" for value in [*flops, row["total_flops"]]]
    shown[-1] += times("total_flops")
    return [f"{row['wall_seconds'] or 0:,.1f} s", *counts, *shown, percent(row["head_share"])]


def provenance(report: dict[str, Any]) -> str:
    """Code, packages and machines, with what differs between stages."""
    found = report["provenance"]
    commits = "; ".join(
        f"<code>{text(one['commit'] or 'no checkout')}</code>{', with uncommitted changes' if one['dirty'] else ''} "
        f"({one['stages']} stages)"
        for one in found["commits"]
    )
    rows = [
        ["Code", commits or "–"],
        ["Packages, the same everywhere", text(", ".join(f"{k} {v}" for k, v in found["versions"].items()))],
        ["Packages that differ", text(_tally(found["differing"]) or "none")],
        ["Hardware", text(_tally(found["hardware"]))],
        ["Registered before the first run", _registration(found["registration"])],
        ["Shared vocabulary", f"<code>{text(found['vocabulary'] or 'no record')}</code>"],
    ]
    return table(["", ""], rows, numeric_from=9, name="provenance")


def _registration(found: dict[str, str] | None) -> str:
    return "–" if found is None else f"<code>{text(found['sha256'])}</code> {text(found['date'])}"


def _tally(found: dict[str, dict[str, int]]) -> str:
    return "; ".join(
        f"{name} " + (next(iter(n)) if len(n) == 1 else ", ".join(f"{v} ({k} stages)" for v, k in n.items()))
        for name, n in found.items()
    )


def runs(report: dict[str, Any]) -> str:
    """Every run and stage with its record; the counts and versions open on demand."""
    parts = []
    for run in report["runs"]:
        done = sum(stage["status"] != "missing" for stage in run["stages"])
        wall = sum(stage.get("wall_seconds") or 0 for stage in run["stages"])
        summary = f"{chip(report, run['arm'])} seed {run['seed']} <span>{done} of {len(run['stages'])} stages · "
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
        *([["made as", text(stage["counts"][SAME_AS])]] if SAME_AS in stage["counts"] else []),
        ["finished", text(stage["finished"])],
        ["wall time", f"{stage['wall_seconds']:,.1f} s"],
        ["files", f"{stage['bytes']:,} bytes"],
        ["code", f"<code>{text(commit)}</code>"],
        ["hardware", text(", ".join(f"{k} {v}" for k, v in stage["hardware"].items()))],
        ["versions", text(", ".join(f"{k} {v}" for k, v in stage["versions"].items()))],
    ]
    counts = [[text(key), text(value)] for key, value in flat(stage["counts"])]
    ledger = f"<details><summary>Counts ({len(counts)})</summary>{table(['Count', 'Value'], counts)}</details>"
    return name + table(["", ""], rows, numeric_from=9, name="record") + (ledger if counts else "")

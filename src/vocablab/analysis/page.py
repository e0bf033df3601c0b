"""The report as one HTML file that opens anywhere, offline, and as Markdown beside it."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from vocablab.analysis import (
    evidence_fragments,
    fragments,
    post_training_fragments,
    probe_report_fragments,
    record_fragments,
)
from vocablab.analysis.effects import SHARES
from vocablab.analysis.markdown import markdown
from vocablab.analysis.report_data import build_report
from vocablab.base.files import write_bytes_atomically, write_json_atomically

_SLOT = re.compile(r"\{\{(\w+)\}\}")


def write_report(study_dir: Path) -> Path:
    """Rebuild `report.json`, `report.md` and `report.html` in `study_dir` and return the path of the page.

    These files alone are rewritten in place: they hold nothing that the records do not.

    Raises:
        UserError: if the study's description is missing or damaged, or nothing was scored yet.
    """
    report = build_report(study_dir)
    page = render(report)
    write_json_atomically(study_dir / "report.json", report)
    write_bytes_atomically(study_dir / "report.md", markdown(report).encode("utf-8"))
    path = study_dir / "report.html"
    write_bytes_atomically(path, page.encode("utf-8"))
    return path


def render(report: dict[str, Any]) -> str:
    """The page of a report, self-contained: style, script, plotly and data are inside it."""
    # Imported here because plotly takes its time, and report.json alone does not need it.
    from plotly.offline import get_plotlyjs

    slots = {
        "title": fragments.text(report["study"]["title"]),
        "style": _template("report.css"),
        "plotly": get_plotlyjs(),
        "script": _template("report.js"),
        "data": script_json(_plotted(report)),
        "header": fragments.header(report),
        "verdicts": fragments.verdicts(report),
        "arms": fragments.arms(report),
        "effects": fragments.effects(report),
        "placebos": fragments.placebos(report),
        "scores": fragments.scores(report),
        "exposure": evidence_fragments.exposure(report),
        "treated": evidence_fragments.treated(report),
        "post_training": post_training_fragments.post_training(report),
        "decodings": evidence_fragments.decodings(report),
        "adoption": evidence_fragments.adoption(report),
        "samples": evidence_fragments.samples(report),
        "probes": probe_report_fragments.probes(report),
        "gates": record_fragments.gates(report),
        "deviations": record_fragments.deviations(report),
        "ledger": record_fragments.ledger(report),
        "provenance": record_fragments.provenance(report),
        "runs": record_fragments.runs(report),
    }
    # One pass, so that a slot's name inside a model's output is never filled in.
    return _SLOT.sub(lambda match: slots[match.group(1)], _template("report.html"))


def _plotted(report: dict[str, Any]) -> dict[str, Any]:
    """The parts of the report that the script draws."""
    claims = [verdict["claim"] for verdict in report["verdicts"]]
    return {
        "study": {key: report["study"][key] for key in ("control", "treatment")},
        "arms": [{"name": arm["name"]} | style for arm, style in fragments.arm_styles(report)],
        "verdicts": [
            {"claim": claim, "estimate": verdict["estimate"]}
            for claim, verdict in zip(claims, report["verdicts"], strict=True)
        ],
        "shares": sorted(SHARES),
        "effects": report["effects"],
        "placebos": report["placebos"],
        "tokens": report["exposure"]["tokens"],
        "exposed_in": report["exposure"]["stage"],
        "scores": report["scores"],
        "curves": report["curves"],
        "tuning": report["post_training"]["fine_tuning"]["curves"],
        "reward": report["post_training"]["reward"]["curves"],
    }


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _template(name: str) -> str:
    return (resources.files("vocablab.analysis") / "templates" / name).read_text(encoding="utf-8")

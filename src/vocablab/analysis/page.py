"""The report as one HTML file that opens anywhere, offline, and as Markdown beside it."""

from pathlib import Path
from typing import Any

from vocablab.analysis import (
    evidence_fragments,
    fragments,
    post_training_fragments,
    probe_report_fragments,
    record_fragments,
    verdict_fragments,
)
from vocablab.analysis.effects import SHARES
from vocablab.analysis.html_page import html_page
from vocablab.analysis.markdown import markdown
from vocablab.analysis.report_data import build_report
from vocablab.base.files import write_bytes_atomically, write_json_atomically


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
    """The page of a report."""
    slots = {
        "header": verdict_fragments.header(report),
        "verdicts": verdict_fragments.verdicts(report),
        "arms": verdict_fragments.arms(report),
        "effects": verdict_fragments.effects(report),
        "placebos": verdict_fragments.placebos(report),
        "scores": verdict_fragments.scores(report),
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
    return html_page("report.html", "report.js", report["study"]["title"], _plotted(report), slots)


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

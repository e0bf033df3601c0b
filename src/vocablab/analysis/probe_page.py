"""What the probes found in one or more models, as one HTML file that opens anywhere, offline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocablab.analysis import probe_fragments as fragments
from vocablab.analysis.fragments import text
from vocablab.analysis.html_page import html_page
from vocablab.analysis.probe_figures import plotly_figure, shared_range
from vocablab.analysis.probe_fragments import OCCASIONAL, PROBES, Model
from vocablab.base.files import write_bytes_atomically

PAGE = "probe.html"
_FIGURES = {"pca": "geometry", "text-linear": "linear", "spectrum": "fourier"}
"""The probe of a figure whose name does not begin with it."""

_NOTES = {
    "linear": "A cell that says ≤ 0 may lie far below it: figures cut what is worse than a guess of the mean.",
    "fourier": "A peak is no evidence of a period: rows that only grow with the number have one too. Only "
    "remainders (kappa) count.",
    "attention": "Masses of one token and of a longer text compare through what even attention would give each.",
}


def write_probe_page(findings: list[dict[str, Any]], directory: Path) -> Path:
    """Write `PAGE` into `directory` and return its path.

    Args:
        findings: of each model, as `findings.json` holds them. Two models get a column of differences, the first minus
            the second.
        directory: is made if need be; an earlier page in it is replaced.
    """
    path = directory / PAGE
    write_bytes_atomically(path, render(findings).encode("utf-8"))
    return path


def render(findings: Sequence[dict[str, Any]]) -> str:
    """The page."""
    models = fragments.models_of(findings)
    figures: dict[str, Any] = {}
    named = " and ".join(model.label for model in models)
    counted = "; ".join(f"{len(model.measures)} measures of {model.label}" for model in models)
    slots = {
        "facts": text(f"{counted}. A pointer over a figure reads it; dragging zooms, a double click zooms back."),
        "summary": fragments.summary(models),
        "answers": fragments.answers_table(models),
        "rules": fragments.rules(),
        "headlines": fragments.headlines(models),
        "probes": "".join(_section(models, probe, title, figures) for probe, title in _probes(models).items()),
        "notes": fragments.notes(models),
    }
    title = f"What the probes found in {named}" if models else "What the probes found"
    return html_page("probe.html", "curves.js", title, figures, slots)


def _probes(models: Sequence[Model]) -> dict[str, str]:
    """The known probes, and after them whatever else was measured or drawn."""
    others = [row["probe"] for model in models for row in model.measures]
    others += [probe_of(figure["name"]) for model in models for figure in model.findings["figures"]]
    known = {name: title for name, title in PROBES.items() if name not in OCCASIONAL or name in others}
    return known | {name: name.capitalize() for name in others if name not in PROBES}


def probe_of(figure: str) -> str:
    """The probe that drew a figure, by the figure's name."""
    for head, probe in _FIGURES.items():
        if figure.startswith(head):
            return probe
    return figure.split("-", maxsplit=1)[0]


def _section(models: Sequence[Model], probe: str, title: str, figures: dict[str, Any]) -> str:
    """One probe: its figures, models beside each other, and every measure. Fills `figures` by the plots' ids."""
    drawn = [{f["name"]: f for f in model.findings["figures"] if probe_of(f["name"]) == probe} for model in models]
    pairs: list[str] = []
    single: list[str] = []
    for name in dict.fromkeys(name for one in drawn for name in one):
        chips = len(models) > 1
        mine = [(model, one[name]) for model, one in zip(models, drawn, strict=True) if name in one]
        span = shared_range([figure for _, figure in mine]) if len(mine) > 1 else None
        plots = [_plot(model, figure, figures, chips, span) for model, figure in mine]
        # Only what every model has is compared, row by row.
        (pairs if chips and len(plots) == len(models) else single).append("".join(plots))
    shown = "".join(f'<div class="pair">{pair}</div>' for pair in pairs)
    shown += f'<div class="plots">{"".join(single)}</div>' if single else ""
    absent = [m for m, one in zip(models, drawn, strict=True) if not one and not _measured(m, probe)]
    said = "".join(f'<p>{model.chip} <span class="missing">not measured</span></p>' for model in absent)
    every = fragments.every_measure(models, probe) if any(_measured(model, probe) for model in models) else ""
    note = f'<p class="note">{text(_NOTES[probe])}</p>' if probe in _NOTES and shown else ""
    return f'<section id="{text(probe)}"><h2>{text(title)}</h2>{note}{said}{shown}{every}</section>'


def _measured(model: Model, probe: str) -> bool:
    return any(row["probe"] == probe for row in model.measures)


def _plot(model: Model, figure: dict[str, Any], figures: dict[str, Any], chip: bool, span: list[float] | None) -> str:
    key = f"plot-{len(figures)}"
    figures[key] = plotly_figure(figure, model.colour)
    if span:
        figures[key]["layout"]["yaxis"]["range"] = span
    title = (f"{model.chip} " if chip else "") + text(figure["title"])
    return f'<div><p class="plot-title">{title}</p><div class="plot" data-figure="{key}"></div></div>'

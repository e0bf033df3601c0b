"""Figures of probes for plotly, from the data that `findings.json` holds."""

import html
import re
import textwrap
from typing import Any

from vocablab.analysis.fragments import COLOURS, CONTROL_COLOUR

_GREY, _LIGHT = "#8a93a0", "#c3cad4"
"""Of the second of two series, the latter beside the grey of a control arm."""
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_TEXT_CELLS = 150
"""A heatmap with more cells than this has no room for their numbers."""
_DISTINCT = 10
"""So many values of a group have a colour name each in the colour bar."""

Figure = dict[str, Any]


def plotly_figure(figure: Figure, colour: str) -> Figure:
    """One figure as plotly's ``data`` and ``layout``, and the ``height`` that it needs.

    Args:
        figure: as in `findings.json`.
        colour: of the model, which its first series takes.
    """
    draw = {"scatter": _scatter, "heatmap": _heatmap, "lines": _lines, "bars": _bars}[figure["kind"]]
    drawn = draw(figure["data"], colour)
    axes = {f"{axis}axis": {"title": {"text": _text(figure[axis]), "standoff": 14}} for axis in "xy"}
    layout = axes | drawn.pop("layout", {})
    for axis in "xy":
        layout[f"{axis}axis"] = axes[f"{axis}axis"] | layout[f"{axis}axis"]
    return {"height": 400, "panels": 1} | drawn | {"layout": layout}


def groups_of(data: dict[str, Any]) -> list[str]:
    """By what the points of a scatter can be coloured: only what every point has."""
    return [name for name in data["colour_by"] if all(name in point["groups"] for point in data["points"])]


def levels(values: list[Any]) -> tuple[list[float], dict[float, str] | None]:
    """Values of a group as numbers, and names for the colour bar if they are few or no numbers."""
    numbers = all(isinstance(value, int | float) for value in values)
    distinct = sorted(set(values)) if numbers else sorted({str(value) for value in values})
    if numbers and len(distinct) > _DISTINCT:
        return [float(value) for value in values], None
    if numbers:
        return [float(value) for value in values], {float(value): f"{value:g}" for value in distinct}
    place = {name: float(number) for number, name in enumerate(distinct)}
    return [place[str(value)] for value in values], {number: name for name, number in place.items()}


def _text(value: Any) -> str:
    """Plotly reads some HTML in every text; names must stay text."""
    return html.escape(str(value), quote=False)


def _scatter(data: dict[str, Any], colour: str) -> Figure:
    """One trace per group, of which a menu shows one."""
    points, groups = data["points"], groups_of(data)
    traces = []
    for number, name in enumerate(groups or [""]):
        marker: dict[str, Any] = {"size": 9, "line": {"color": "#fff", "width": 0.8}, "color": colour}
        if name:
            values, named = levels([point["groups"][name] for point in points])
            bar: dict[str, Any] = {"title": {"text": _text(name)}, "thickness": 12, "outlinewidth": 0}
            if named:
                bar |= {"tickvals": list(named), "ticktext": [_text(said) for said in named.values()]}
            marker |= {"color": values, "colorscale": "Viridis", "colorbar": bar}
        traces.append(
            {
                "type": "scatter", "mode": "markers", "x": [p["x"] for p in points], "y": [p["y"] for p in points],
                "text": [_point(point) for point in points], "hovertemplate": "%{text}<extra></extra>",
                "marker": marker, "visible": number == 0, "showlegend": False,
            }
        )  # fmt: skip
    menu = {
        "type": "dropdown", "direction": "down", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom",
        "bgcolor": "#fff", "font": {"size": 12},
        "buttons": [
            {"label": f"colour: {_text(name)}", "method": "restyle", "args": ["visible", [g == name for g in groups]]}
            for name in groups
        ],
    }  # fmt: skip
    many = len(groups) > 1
    # Room above the plot for the menu, which plotly does not count.
    return {
        "data": traces,
        "layout": {"updatemenus": [menu], "margin": {"l": 10, "r": 14, "t": 46, "b": 44}} if many else {},
    }


def _point(point: dict[str, Any]) -> str:
    said = [f"{_text(name)} {_text(value)}" for name, value in point["groups"].items()]
    return "<br>".join([f"<b>{_text(point['label'])}</b>", *said])


def _heatmap(data: dict[str, Any], _: str) -> Figure:
    values = data["values"]
    cells = sum(map(len, values))
    trace: dict[str, Any] = {
        "type": "heatmap", "z": values, "x": [wrapped(x) for x in data["x"]], "y": [_text(y) for y in data["y"]],
        "colorscale": [[0, "#f5f9fd"], [0.5, "#5b9bd0"], [1, "#063a66"]], "xgap": 2, "ygap": 2,
        "colorbar": {"thickness": 12, "outlinewidth": 0},
        "hovertemplate": "%{y}, %{x}: %{z:.3f}<extra></extra>",
    }  # fmt: skip
    if data.get("low") is not None and data.get("high") is not None:
        # Fixed ends, so that the same colour is the same number in every model.
        trace |= {"zmin": data["low"], "zmax": data["high"]}
    if cells <= _TEXT_CELLS:
        told = [[cell_text(value, data.get("low")) for value in row] for row in values]
        trace |= {"text": told, "texttemplate": "%{text}", "textfont": {"size": 11}}
    # Names such as "1" are names, not numbers: heads lie beside each other, layers above each other.
    category = {"type": "category", "showgrid": False}
    height = min(900, 190 + 34 * max(4, len(values)))
    small = category | {"tickfont": {"size": 11}}
    return {"data": [trace], "layout": {"xaxis": small, "yaxis": category}, "height": height}


def cell_text(value: float, low: float | None) -> str:
    """A cell's number; what lies at the lower end of the scale may have been cut there."""
    return f"≤ {low:g}" if low is not None and value <= low else f"{value:.2f}"


def wrapped(label: Any) -> str:
    """A long label on several lines, so that it need not be turned."""
    return "<br>".join(_text(line) for line in textwrap.wrap(str(label), 11)) or " "


def _lines(data: dict[str, Any], colour: str) -> Figure:
    traces = []
    for number, series in enumerate(data["series"]):
        few = len(series["x"]) <= 25
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers" if few else "lines", "x": series["x"], "y": series["y"],
                "name": _text(series["name"]), "marker": {"size": 6},
                "line": {"color": series_colour(number, len(data["series"]), colour), "width": 1.8,
                         "dash": _DASHES[number % len(_DASHES)]},
                "hovertemplate": f"{_text(series['name'])}: %{{y:.3f}} at %{{x}}<extra></extra>",
                "showlegend": len(data["series"]) > 1,
            }
        )  # fmt: skip
    whole = all(isinstance(x, int) for series in data["series"] for x in series["x"])
    most = max((x for series in data["series"] for x in series["x"] if whole), default=0)
    return {"data": traces, "layout": {"xaxis": {"dtick": 1} if whole and most <= 16 else {}}}


def _bars(data: dict[str, Any], colour: str) -> Figure:
    count = len(data["series"])
    named = wrapped if len({x for series in data["series"] for x in series["x"]}) <= 8 else _text
    traces = [
        {
            "type": "bar", "x": [named(x) for x in series["x"]], "y": series["y"], "name": _text(series["name"]),
            "marker": {"color": series_colour(number, count, colour)}, "showlegend": count > 1,
            "hovertemplate": f"%{{x}}, {_text(series['name'])}: %{{y:.3f}}<extra></extra>",
        }
        for number, series in enumerate(data["series"])
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": {"barmode": "group", "xaxis": {"type": "category"}, "yaxis": {"rangemode": "tozero"}},
    }


def shared_range(figures: list[Figure]) -> list[float] | None:
    """One y axis for lines or bars that stand beside each other; None for other kinds."""
    if any(figure["kind"] not in ("lines", "bars") for figure in figures):
        return None
    values = [y for figure in figures for series in figure["data"]["series"] for y in series["y"]]
    if not values:
        return None
    low, high = min(values), max(values)
    if any(figure["kind"] == "bars" for figure in figures):
        low, high = min(0.0, low), max(0.0, high)
    pad = 0.05 * (high - low) or 0.05
    return [low - pad if low else 0.0, high + pad]


def series_colour(number: int, count: int, colour: str) -> str:
    """The model's own for the first series; grey for the one it is compared with; a fixed set beyond two."""
    if number == 0:
        return colour
    others = [one for one in COLOURS if one.lower() != colour.lower()]
    if count == 2:
        return _LIGHT if colour == CONTROL_COLOUR else _GREY
    return others[(number - 1) % len(others)]


def slug(name: str) -> str:
    """A figure's name as a part of a file name or an id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "figure"

"""The training pictures as one HTML file that opens anywhere, offline; and all files of `vocablab curves`."""

import html
from pathlib import Path
from typing import Any

from vocablab.analysis import fragments
from vocablab.analysis.curve_figures import REFERENCES, X_LABELS, hellaswag_png, line_name, loss_png, seeds_said, short
from vocablab.analysis.curves import MADE_BY, loss_range
from vocablab.analysis.html_page import html_page
from vocablab.base.errors import UserError
from vocablab.base.files import read_json, write_bytes_atomically, write_json_atomically

NUMBERS, PAGE, LOSS, HELLASWAG = "curves.json", "curves.html", "loss.png", "hellaswag.png"
_SOFT, _BYTES = "#566072", "source_bytes"
_X_TICKS = {
    "source_bytes": {"tickformat": "~s", "ticksuffix": "B"},
    "tokens": {"exponentformat": "B"},
    "steps": {"tickformat": ","},
}


def write_curves(value: dict[str, Any], out: Path) -> list[Path]:
    """Write numbers, page and pictures into `out` and return their paths; pictures of an earlier call are replaced.

    Raises:
        UserError: if files of these names are there that no earlier call wrote.
    """
    ours = _refuse_foreign(out)
    files = [NUMBERS, PAGE, LOSS, *([HELLASWAG] if value["hellaswag"] else [])]
    # The numbers first: they are what tells a later call, should this one be killed, that the rest is ours.
    write_json_atomically(out / NUMBERS, value)
    write_bytes_atomically(out / PAGE, render(value).encode("utf-8"))
    write_bytes_atomically(out / LOSS, loss_png(value))
    if value["hellaswag"]:
        write_bytes_atomically(out / HELLASWAG, hellaswag_png(value))
    elif ours:
        # A picture of other runs beside this page would be taken for a part of it.
        (out / HELLASWAG).unlink(missing_ok=True)
    return [out / name for name in files]


def _refuse_foreign(out: Path) -> bool:
    """Whether `out` holds pictures of an earlier call."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: it is no directory.")
    there = [name for name in (NUMBERS, PAGE, LOSS, HELLASWAG) if (out / name).exists()]
    if not there:
        return False
    known = read_json(out / NUMBERS, "the numbers of earlier pictures") if NUMBERS in there else None
    if not isinstance(known, dict) or known.get("made_by") != MADE_BY:
        raise UserError(f"{out / there[0]} was not written by `{MADE_BY}`; nothing is overwritten: use another --out.")
    return True


def render(value: dict[str, Any]) -> str:
    """The page."""
    figures = {"loss": loss_figure(value)}
    if value["hellaswag"]:
        figures["hellaswag"] = hellaswag_figure(value)
    slots = {
        "loss_caption": fragments.text(value["captions"]["loss"]),
        "hellaswag_caption": fragments.text(value["captions"]["hellaswag"]),
        "hellaswag_plot": '<div class="plot" data-figure="hellaswag"></div>' if value["hellaswag"] else "",
        "table": _table(value),
    }
    return html_page("curves.html", "curves.js", "Training curves", figures, slots)


def loss_figure(value: dict[str, Any]) -> dict[str, Any]:
    """Plotly's figure of the loss: training and validation as panels that zoom and hide together."""
    panels = [(name, value["loss"][name]) for name in ("train", "validation") if value["loss"][name]]
    low, high = loss_range(value["loss"])
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": []}
    for number, (name, curves) in enumerate(panels):
        mark = "" if number == 0 else str(number + 1)
        words = {"train": "training", "validation": "validation"}[name]
        traces += _traces(curves, value, words, axis=mark, markers=name == "validation", digits=4)
        linked = {"matches": "x"} if mark else {}
        layout[f"xaxis{mark}"] = _x_axis(value) | linked
        layout[f"yaxis{mark}"] = {"range": [low, high], "title": {"text": "bits per byte"}} | (
            {"matches": "y"} if mark else {}
        )
        layout["annotations"].append(
            {"text": f"<b>{words.capitalize()}</b>", "xref": f"x{mark} domain", "yref": f"y{mark} domain", "x": 0.98,
             "y": 0.97, "xanchor": "right", "yanchor": "top", "showarrow": False}
        )  # fmt: skip
    return {"data": _one_legend(traces), "layout": layout, "panels": len(panels)}


def hellaswag_figure(value: dict[str, Any]) -> dict[str, Any]:
    """Plotly's figure of HellaSwag over training."""
    found = value["hellaswag"]
    traces = _traces(found["curves"], value, found["metric"], axis="", markers=True, digits=2, scale=100)
    lines = [(label, side, 100 * found[key]) for key, (label, side) in REFERENCES.items() if found[key] is not None]
    shapes = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "layer": "below",
         "line": {"color": _SOFT, "width": 1.2, "dash": "dot"}}
        for *_, y in lines
    ]  # fmt: skip
    notes = [
        {"text": f"{label}, {y:.4g} %", "xref": "paper", "x": int(side == "right"), "y": y, "xanchor": side,
         "yanchor": "bottom", "showarrow": False, "font": {"size": 12, "color": _SOFT}}
        for label, side, y in lines
    ]  # fmt: skip
    drawn = [curve[key] or [] for curve in found["curves"] for key in ("mean", "low", "high")]
    every = [*(100 * y for values in drawn for y in values), *(y for *_, y in lines)]
    pad = 0.06 * (max(every) - min(every)) or 1.0
    y_axis = {"title": {"text": f"{found['metric']}, per cent"}, "range": [min(every) - pad, max(every) + pad]}
    layout = {"xaxis": _x_axis(value), "yaxis": y_axis, "shapes": shapes, "annotations": notes}
    return {"data": _one_legend(traces), "layout": layout, "panels": 1}


def _x_axis(value: dict[str, Any]) -> dict[str, Any]:
    return _X_TICKS[value["x"]] | {"title": {"text": X_LABELS[value["x"]]}, "nticks": 7}


def _traces(
    curves: list[dict[str, Any]], value: dict[str, Any], words: str, *, axis: str, markers: bool, digits: int,
    scale: float = 1,
) -> list[dict[str, Any]]:  # fmt: skip
    """A line per curve, under it its band; all of an arm hide together."""
    styles = {arm["name"]: arm | {"rank": rank} for rank, arm in enumerate(value["arms"], start=1)}
    traces: list[dict[str, Any]] = []
    unit = "bits per byte" if scale == 1 else "%"
    for curve in curves:
        style = styles[curve["arm"]]
        name = line_name(curve["arm"], unfinished=curve["unfinished"])
        # Plotly reads some HTML in names and hovers; the names of directories must stay text.
        plain = html.escape(name, quote=False)
        common = {"x": curve["x"], "xaxis": f"x{axis}", "yaxis": f"y{axis}", "legendgroup": name, "name": plain}
        hover = f"{plain}, {words}<br>%{{y:.{digits}f}} {unit} at %{{text}}"
        if curve["low"]:
            edge = common | {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
            low, high = ([scale * y for y in curve[end]] for end in ("low", "high"))
            traces.append(edge | {"y": low})
            traces.append(edge | {"y": high, "fill": "tonexty", "fillcolor": _faint(style["color"])})
            hover += f"<br>seeds: %{{customdata[0]:.{digits}f}} to %{{customdata[1]:.{digits}f}}"
            common["customdata"] = [list(pair) for pair in zip(low, high, strict=True)]
        dots = markers or len(curve["x"]) == 1
        traces.append(
            common
            | {
                "y": [scale * y for y in curve["mean"]],
                "text": [short(x, value["x"]) for x in curve["x"]],
                "mode": "lines+markers" if dots else "lines",
                "line": {
                    "color": style["color"],
                    "width": 1.8,
                    "dash": "dash" if curve["unfinished"] else style["dash"],
                },
                "marker": {"symbol": style["symbol"], "size": 6, "color": style["color"]},
                "hovertemplate": hover + "<extra></extra>",
                "showlegend": True,
                "legendrank": style["rank"],
            }
        )
    return traces


def _one_legend(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry per arm: its last line, which has the marker if any has."""
    last = {trace["legendgroup"]: id(trace) for trace in traces if trace["showlegend"]}
    return [trace | {"showlegend": last[trace["legendgroup"]] == id(trace)} for trace in traces]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _table(value: dict[str, Any]) -> str:
    colours = {arm["name"]: arm["color"] for arm in value["arms"]}
    rows = []
    for row in value["table"]:
        chip = f'<span class="arm"><i style="background:{colours[row["arm"]]}"></i>{fragments.text(row["arm"])}</span>'
        status = "<b>unfinished</b>" if row["unfinished"] else "finished"
        bits = [_value(row[key], "{:.4f}") for key in ("train_bits_per_byte", "val_bits_per_byte")]
        sizes = [_size(row[key], x) for x, key in (("steps", "step"), ("tokens", "tokens"), (_BYTES, _BYTES))]
        rows.append(
            [chip, seeds_said(row["seeds"]) or "–", status, *bits, _value(row["hellaswag"], "{:.2f} %", 100), *sizes]
        )
    head = ["Arm", "Seeds", "Status", "Training, bits/byte", "Validation, bits/byte", "HellaSwag", "Steps", "Tokens",
            "Source text"]  # fmt: skip
    return fragments.table(head, rows, numeric_from=3, name="where the runs ended")


def _size(spread: dict[str, float] | None, x: str) -> str:
    if spread is None:
        return "–"
    low, high = short(spread["low"], x), short(spread["high"], x)
    return low if low == high else f"{low} to {high}"


def _value(spread: dict[str, float] | None, form: str, scale: float = 1) -> str:
    """The mean, and in small print from where to where the seeds reach if they differ."""
    if spread is None:
        return "–"
    mean, low, high = (form.format(scale * spread[key]) for key in ("mean", "low", "high"))
    return mean if low == high else f"{mean}<small>{low} to {high}</small>"

"""The training pictures as PNG, drawn by matplotlib."""

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any, Literal

from vocablab.analysis.curves import loss_range

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

X_LABELS = {"source_bytes": "source text read", "tokens": "tokens read", "steps": "optimiser steps"}
REFERENCES = {"chance": ("chance", "right"), "gpt2_124m": ("GPT-2 124M as published", "left")}
"""Horizontal lines of the HellaSwag picture by key: label, and the end where a rising curve leaves room for it."""
_MARKERS = {
    "circle": "o", "diamond": "D", "square": "s", "triangle-up": "^", "cross": "P", "star": "*", "pentagon": "p",
}  # fmt: skip
"""matplotlib's marker for each of plotly's."""
_INK, _SOFT, _LINE = "#1b2330", "#566072", "#dde2ea"
_STYLE: dict[Any, Any] = {
    "font.size": 12, "text.color": _INK, "axes.labelcolor": _SOFT, "axes.edgecolor": _LINE, "axes.grid": True,
    "grid.color": _LINE, "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "xtick.color": _SOFT, "ytick.color": _SOFT, "xtick.major.size": 0,
    "ytick.major.size": 0, "axes.unicode_minus": False, "text.parse_math": False,
}  # fmt: skip
_DPI = 200


def loss_png(value: dict[str, Any]) -> bytes:
    """Training and validation loss side by side on one y axis, as a PNG of the numbers in `value`."""
    import matplotlib

    panels = [(name, value["loss"][name]) for name in ("train", "validation") if value["loss"][name]]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(len(panels), 9.6 if len(panels) > 1 else 7.2)
        for ax, (name, curves) in zip(axes, panels, strict=True):
            _draw(ax, curves, value, markers=name == "validation", scale=1)
            # A falling curve leaves this corner free.
            title = {"train": "Training", "validation": "Validation"}[name]
            ax.text(0.98, 0.97, title, transform=ax.transAxes, ha="right", va="top", weight="bold")
        axes[0].set_ylim(*loss_range(value["loss"]))
        axes[0].set_ylabel("bits per byte")
        lines = [curve for _, curves in panels for curve in curves]
        return _finished(figure, axes, value, lines, "Pretraining loss", value["captions"]["loss"])


def hellaswag_png(value: dict[str, Any]) -> bytes:
    """HellaSwag over training, as a PNG of the numbers in `value`."""
    import matplotlib

    found = value["hellaswag"]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(1, 7.2)
        (ax,) = axes
        _draw(ax, found["curves"], value, markers=True, scale=100)
        for key, (label, side) in REFERENCES.items():
            if found[key] is not None:
                y = 100 * found[key]
                ax.axhline(y, color=_SOFT, linewidth=1.2, linestyle=":", zorder=1)
                ax.annotate(
                    f"{label}, {y:.4g} %", (float(side == "right"), y), (0, 3), xycoords=("axes fraction", "data"),
                    textcoords="offset points", color=_SOFT, fontsize=10, ha=side,
                )  # fmt: skip
        ax.set_ylabel(f"{found['metric']}, per cent")
        return _finished(
            figure, axes, value, found["curves"], "HellaSwag during pretraining", value["captions"]["hellaswag"]
        )


def _figure(panels: int, width: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Without pyplot: no global state, no window, and any thread may draw.
    figure = Figure(figsize=(width, 5.0), dpi=_DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, sharex=True, sharey=True, squeeze=False)[0])


def _draw(ax: "Axes", curves: list[dict[str, Any]], value: dict[str, Any], *, markers: bool, scale: float) -> None:
    styles = {arm["name"]: arm for arm in value["arms"]}
    for curve in curves:
        style = styles[curve["arm"]]
        mean = [scale * y for y in curve["mean"]]
        if curve["low"]:
            low, high = ([scale * y for y in curve[end]] for end in ("low", "high"))
            ax.fill_between(curve["x"], low, high, color=style["color"], alpha=0.18, linewidth=0)
        # One reading alone is no line: it needs its marker.
        marker = _MARKERS[style["symbol"]] if markers or len(mean) == 1 else None
        ax.plot(
            curve["x"], mean, color=style["color"], linewidth=1.6, linestyle=_dash(style, curve["unfinished"]),
            marker=marker, markersize=5,
        )  # fmt: skip


def _finished(
    figure: "Figure", axes: "list[Axes]", value: dict[str, Any], curves: list[dict[str, Any]], title: str, caption: str
) -> bytes:
    """Axis labels, legend, title and caption; then the picture's bytes."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for ax in axes:
        ax.set_xlabel(X_LABELS[value["x"]])
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda at, _: short(at, value["x"])))
    _legend(figure, value, curves, title)
    wrapped = textwrap.fill(caption, int(13.6 * figure.get_figwidth()))
    figure.supxlabel(wrapped, x=0.012, ha="left", fontsize=9.5, color=_SOFT, linespacing=1.35)
    buffer = io.BytesIO()
    # No version in the file: the same numbers make the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _legend(figure: "Figure", value: dict[str, Any], curves: list[dict[str, Any]], title: str) -> None:
    """The arms above the axes, and above them the picture's title: as one block, neither covers the other."""
    from matplotlib.lines import Line2D

    styles = {arm["name"]: arm for arm in value["arms"]}
    entries = list(dict.fromkeys((curve["arm"], curve["unfinished"]) for curve in curves))
    entries.sort(key=lambda entry: list(styles).index(entry[0]))
    handles: list[Artist] = [
        Line2D([], [], color=styles[arm]["color"], marker=_MARKERS[styles[arm]["symbol"]], markersize=5,
               linewidth=1.6, linestyle=_dash(styles[arm], unfinished))
        for arm, unfinished in entries
    ]  # fmt: skip
    names = [line_name(_shortened(arm), unfinished=unfinished) for arm, unfinished in entries]
    longest = max(map(len, names)) + 7
    columns = max(1, min(len(names), int(12.5 * figure.get_figwidth() / longest)))
    figure.set_figheight(figure.get_figheight() + 0.28 * math.ceil(len(names) / columns))
    # matplotlib would leave out a name that begins with "_", so names are put in afterwards.
    legend = figure.legend(
        handles, [str(i) for i in range(len(names))], loc="outside upper left", ncols=columns, frameon=False,
        handlelength=2.4, columnspacing=1.6, borderaxespad=0.3, title=title, alignment="left",
        title_fontproperties={"weight": "bold", "size": 14},
    )  # fmt: skip
    for entry, name in zip(legend.get_texts(), names, strict=True):
        entry.set_text(name)


def _dash(style: dict[str, str], unfinished: bool) -> Literal["--", ":", "-"]:
    return "--" if unfinished else ":" if style["dash"] == "dot" else "-"


def _shortened(name: str) -> str:
    """A long name without its middle; the page has it in full."""
    return name if len(name) <= 32 else f"{name[:16]}…{name[-15:]}"


def line_name(arm: str, *, unfinished: bool) -> str:
    """What the legend calls a line."""
    return f"{arm} (unfinished)" if unfinished else arm


def seeds_said(seeds: list[int]) -> str:
    """Seeds in few characters: ``0 to 7``, or one by one."""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def short(value: float, x: str) -> str:
    """A position on the x axis in few characters: ``40 GB``, ``1.5B`` tokens, ``2,000`` steps."""
    if x == "steps" or value == 0:
        return f"{value:,.0f}"
    units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
    if x == "tokens":
        units = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")]
    size, unit = next(((size, unit) for size, unit in units if abs(value) >= size), (1.0, ""))
    return f"{value / size:.4g}{' ' if x == 'source_bytes' and unit else ''}{unit}"

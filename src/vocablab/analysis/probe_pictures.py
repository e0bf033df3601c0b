"""The main figures of the probes as PNG by matplotlib, for people without a browser and for the study's report."""

import io
import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocablab.analysis.fragments import COLOURS
from vocablab.analysis.probe_figures import cell_text, groups_of, levels, series_colour, slug
from vocablab.base.files import write_bytes_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAIN = (
    "pca", "linear-by-layer", "attention", "causal-reliance", "causal-layers", "retrieval", "composed", "untaught",
    "lens-rank", "text-linear",
)  # fmt: skip
"""Beginnings of the names of the figures that are drawn, the most telling first. No spectrum: alone it misleads."""
LARGEST = 150_000
"""Bytes of a picture; a larger one is drawn with fewer dots."""
_DOTS = (130, 90, 60)
"""Per inch, tried in this order."""
_INK, _SOFT, _LINE = "#1b2330", "#566072", "#dde2ea"
_STYLE: dict[Any, Any] = {
    "font.size": 10, "text.color": _INK, "axes.labelcolor": _SOFT, "axes.edgecolor": _LINE, "axes.grid": True,
    "grid.color": _LINE, "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "xtick.color": _SOFT, "ytick.color": _SOFT, "xtick.major.size": 0,
    "ytick.major.size": 0, "axes.unicode_minus": False, "text.parse_math": False,
}  # fmt: skip
_MOST_BARS = 60
"""More labels than this cannot be read below bars."""
_DASHES = ("-", "--", ":", "-.")


def write_pictures(findings: dict[str, Any], directory: Path) -> list[Path]:
    """Write the main figures of one model into `directory`, each as a PNG named after the figure.

    Args:
        findings: as in `findings.json`.
        directory: is made if need be.

    Returns:
        The paths, the most telling picture first.
    """
    chosen = [
        figure
        for head in MAIN
        for figure in findings["figures"]
        if figure["name"].startswith(head) and _drawable(figure)
    ]
    paths: dict[Path, None] = {}
    for figure in chosen:
        path = directory / f"{slug(figure['name'])}.png"
        if path not in paths:
            write_bytes_atomically(path, picture(figure))
            paths[path] = None
    return list(paths)


def _drawable(figure: dict[str, Any]) -> bool:
    data = figure["data"]
    return bool(data.get("points") or data.get("values") or data.get("series"))


def picture(figure: dict[str, Any]) -> bytes:
    """One figure as a PNG of at most `LARGEST` bytes."""
    data = b""
    for dots in _DOTS:
        data = _png(figure, dots)
        if len(data) <= LARGEST:
            break
    return data


def _png(figure: dict[str, Any], dots: int) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = groups_of(figure["data"]) if figure["kind"] == "scatter" else []
    panels = max(1, len(groups))
    columns = min(2, panels)
    rows = math.ceil(panels / columns)
    with matplotlib.rc_context(_STYLE):
        # Without pyplot: no global state, no window, and any thread may draw.
        drawn = Figure(figsize=(7.2, 0.6 + 3.6 * (1 if rows == 1 else 0.75 * rows)), dpi=dots, layout="constrained")
        FigureCanvasAgg(drawn)
        axes = list(drawn.subplots(rows, columns, squeeze=False).flat)
        for ax in axes[panels:]:
            ax.set_visible(False)
        title = "\n".join(textwrap.wrap(figure["title"], 88))
        drawn.suptitle(title, fontsize=10.5, fontweight="bold", ha="left", x=0.01)
        for number, ax in enumerate(axes[:panels]):
            if figure["kind"] == "scatter":
                _scatter(drawn, ax, figure["data"], groups[number] if groups else "")
            elif figure["kind"] == "heatmap":
                _heatmap(drawn, ax, figure["data"])
            else:
                (_lines if figure["kind"] == "lines" else _bars)(ax, figure["data"])
            ax.set_xlabel(figure["x"])
            ax.set_ylabel(figure["y"])
        buffer = io.BytesIO()
        # No version in the file: the same numbers make the same bytes.
        drawn.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _scatter(drawn: "Figure", ax: "Axes", data: dict[str, Any], group: str) -> None:
    x, y = ([point[axis] for point in data["points"]] for axis in "xy")
    if not group:
        ax.scatter(x, y, s=22, color=COLOURS[0])
        return
    values, named = levels([point["groups"][group] for point in data["points"]])
    dots = ax.scatter(x, y, c=values, s=22, cmap="viridis", linewidths=0.4, edgecolors="white")
    bar = drawn.colorbar(dots, ax=ax)
    bar.set_label(group)
    if named:
        bar.set_ticks(list(named), labels=list(named.values()))


def _heatmap(drawn: "Figure", ax: "Axes", data: dict[str, Any]) -> None:
    low, high = data.get("low"), data.get("high")
    image = ax.imshow(data["values"], origin="lower", aspect="auto", cmap="Blues", vmin=low, vmax=high)
    ax.grid(False)
    # Names, not numbers; a long one on several lines.
    ax.set_xticks(range(len(data["x"])), labels=["\n".join(textwrap.wrap(str(x), 11)) for x in data["x"]], fontsize=8)
    ax.set_yticks(range(len(data["y"])), labels=[str(y) for y in data["y"]], fontsize=8)
    drawn.colorbar(image, ax=ax)
    if sum(map(len, data["values"])) > 150:
        return
    for row, values in enumerate(data["values"]):
        for column, value in enumerate(values):
            dark = float(image.norm(float(value))) > 0.55  # type: ignore[arg-type]
            colour = "white" if dark else _INK
            ax.text(column, row, cell_text(value, low), ha="center", va="center", fontsize=8, color=colour)


def _lines(ax: "Axes", data: dict[str, Any]) -> None:
    for number, series in enumerate(data["series"]):
        marker = "o" if len(series["x"]) <= 25 else None
        colour = series_colour(number, len(data["series"]), COLOURS[0])
        ax.plot(series["x"], series["y"], color=colour, marker=marker, markersize=4, linewidth=1.5,
                linestyle=_DASHES[number % len(_DASHES)])  # fmt: skip
    _legend(ax, data)
    xs = [x for series in data["series"] for x in series["x"]]
    if all(isinstance(x, int) for x in xs) and len(set(xs)) <= 16:
        ax.set_xticks(sorted(set(xs)))


def _bars(ax: "Axes", data: dict[str, Any]) -> None:
    names = list(dict.fromkeys(str(x) for series in data["series"] for x in series["x"]))
    width = 0.8 / len(data["series"])
    for number, series in enumerate(data["series"]):
        shift = (number - (len(data["series"]) - 1) / 2) * width
        places = [names.index(str(x)) + shift for x in series["x"]]
        ax.bar(places, series["y"], width, color=series_colour(number, len(data["series"]), COLOURS[0]))
    if len(names) <= _MOST_BARS:
        upright = len(names) <= 8
        labels = ["\n".join(textwrap.wrap(name, 22)) if upright else name for name in names]
        ax.set_xticks(range(len(names)), labels=labels, rotation=0 if upright else 90, fontsize=9 if upright else 6)
    else:
        ax.set_xticks([])
    ax.grid(False, axis="x")
    _legend(ax, data)


def _legend(ax: "Axes", data: dict[str, Any]) -> None:
    """Below the title, above the axes; matplotlib would leave out a name that begins with "_"."""
    handles: list[Any] = [*ax.get_lines(), *ax.containers]
    if len(handles) < 2:
        return
    names = [series["name"] for series in data["series"]]
    columns = max(1, min(len(names), 90 // (max(map(len, names)) + 8)))
    legend = ax.legend(
        handles, [str(i) for i in range(len(names))], loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns,
        frameon=False, fontsize=9, borderaxespad=0.2,
    )  # fmt: skip
    for entry, name in zip(legend.get_texts(), names, strict=True):
        entry.set_text(name)

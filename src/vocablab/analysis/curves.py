"""The numbers of the training pictures: bits per byte and HellaSwag over training, seeds as mean and band."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vocablab.analysis import fragments
from vocablab.analysis.arrays import Floats
from vocablab.analysis.curve_runs import Row, TrainingRun, in_order, names_of, study_around
from vocablab.base.errors import UserError

X_KEYS = {"source_bytes": "source_bytes", "tokens": "tokens", "steps": "step"}
"""What the x axis may be, and its key in `metrics.jsonl`."""
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star", "pentagon")
"""Markers, by plotly's names."""
MADE_BY = "vocablab curves"
SMOOTHED_SHARE = 0.05
"""Share of a run's training readings that one point of the smoothed curve is the mean of."""
CHANCE = 0.25
HELLASWAG_ITEMS = 10042
GPT2_124M = 0.2955
"""`acc_norm` of the published GPT-2 124M, scored as a completion over all items."""
_MOST_POINTS = 1000
_TRAIN, _VALIDATION = "train_bits_per_byte", "val_bits_per_byte"

Points = tuple[Floats, Floats]
"""x, strictly increasing, and y."""


def build_curves(runs: Sequence[TrainingRun], x: str = "source_bytes") -> dict[str, Any]:
    """Everything that is drawn and said, as JSON values.

    Finished seeds of an arm become one line with a band; an unfinished run is a line of its own and joins no mean.

    Raises:
        UserError: if no run has readings over `x`.
    """
    arms = in_order(run.arm for run in runs)
    styled = _styles(arms)
    groups = [group for arm in arms for group in _groups([run for run in runs if run.arm == arm])]
    names = names_of(arms)
    lines = [(_line(group, names), group) for group in groups]
    train = _curves(lines, x, _TRAIN, smoothed=True)
    validation = _curves(lines, x, _VALIDATION)
    hellaswag = _hellaswag(lines, x)
    if not train and not validation:
        raise UserError(f"{runs[0].path} {_lacks(runs, x)}." if runs else "there is no run to draw.")
    value: dict[str, Any] = {
        "made_by": MADE_BY,
        "x": x,
        "arms": [{"name": names[arm]} | styled[arm] for arm in arms],
        "loss": {"unit": "bits per byte", "train": train, "validation": validation},
        "hellaswag": hellaswag,
        "table": [_table_row(line, group, hellaswag) for line, group in lines],
    }
    return value | {"captions": _captions(value)}


def _lacks(runs: Sequence[TrainingRun], x: str) -> str:
    others = "and the other runs have" if len(runs) > 1 else "has"
    return f"{others} no line with both {X_KEYS[x]} and {_TRAIN} or {_VALIDATION}"


def _styles(arms: list[Any]) -> dict[Any, dict[str, str]]:
    """A colour and a marker per arm: the report's own where all arms are of one study."""
    names = names_of(arms)
    study = study_around(arms[0]) if len({arm.parent for arm in arms}) == 1 else None
    if study is not None and all(arm.name in study.names for arm in arms):
        keys = {arm: arm.name for arm in arms}
        declared, control, treatment = list(study.names), study.control, study.treatment
    else:
        keys, declared = names, [names[arm] for arm in arms]
        controls = [names[arm] for arm in arms if arm.name == "control"]
        control = controls[0] if len(controls) == 1 else ""
        treatment = next((name for name in declared if name != control), "")
    facts = {"arms": [{"name": name} for name in declared], "control": control, "treatment": treatment}
    styles: dict[Any, dict[str, str]] = {}
    taken: set[tuple[str, str]] = set()
    for arm, style in fragments.arm_styles({"study": facts}):
        # Where colours begin again, another marker and a dotted line tell the arms apart.
        dash = "dot" if any(color == style["color"] for color, _ in taken) else "solid"
        free = [s for s in (style["symbol"], *SYMBOLS) if (style["color"], s) not in taken]
        symbol = free[0] if free else style["symbol"]
        taken.add((style["color"], symbol))
        styles[arm["name"]] = {"color": style["color"], "symbol": symbol, "dash": dash}
    return {arm: styles[keys[arm]] for arm in arms}


def _groups(runs: list[TrainingRun]) -> list[list[TrainingRun]]:
    """The finished seeds of an arm together, then each unfinished run."""
    ordered = sorted(runs, key=lambda run: (-1 if run.seed is None else run.seed, run.path))
    finished = [run for run in ordered if not run.unfinished]
    return ([finished] if finished else []) + [[run] for run in ordered if run.unfinished]


def _line(group: list[TrainingRun], names: dict[Any, str]) -> dict[str, Any]:
    seeds = [run.seed for run in group if run.seed is not None]
    return {"arm": names[group[0].arm], "seeds": seeds, "unfinished": group[0].unfinished}


def points(rows: Sequence[Row], x: str, key: str) -> Points:
    """The readings of `key` over `x`, by rising x; of two at the same x the later one."""
    found = {row[X_KEYS[x]]: row[key] for row in rows if key in row and X_KEYS[x] in row}
    at = sorted(found)
    return np.array(at, dtype=np.float64), np.array([found[value] for value in at], dtype=np.float64)


def smooth(readings: Points) -> Points:
    """The mean of the readings around each, `SMOOTHED_SHARE` of all; at the ends, of those that there are.

    x is averaged as y is: so a falling curve is not shifted where a window has more on one side.
    """
    count = len(readings[0])
    half, index = int(count * SMOOTHED_SHARE / 2), np.arange(count)
    first, end = np.maximum(0, index - half), np.minimum(count, index + half + 1)
    sums = [np.concatenate([[0.0], np.cumsum(values)]) for values in readings]
    x, y = ((total[end] - total[first]) / (end - first) for total in sums)
    return x, y


def combine(seeds: Sequence[Points]) -> tuple[Floats, Floats]:
    """The common x (G,) of the seeds and their values there (S, G).

    Seeds that were read at the same x stay as they are. Otherwise they are interpolated linearly at the x of the
    seed with the fewest readings, over the stretch that all of them cover, both its ends included.
    """
    if all(np.array_equal(x, seeds[0][0]) for x, _ in seeds):
        return seeds[0][0], np.stack([y for _, y in seeds])
    low, high = max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds)
    if low > high:
        # Nothing in common, as with one validation reading each: what remains comparable is where they ended.
        return np.array([np.mean([x[-1] for x, _ in seeds])]), np.stack([y[-1:] for _, y in seeds])
    fewest = min((x for x, _ in seeds), key=lambda x: (len(x), tuple(x)))
    grid = np.unique(np.clip(fewest, low, high))
    return grid, np.stack([np.interp(grid, x, y) for x, y in seeds])


def _curves(
    lines: list[tuple[dict[str, Any], list[TrainingRun]]], x: str, key: str, *, smoothed: bool = False
) -> list[dict[str, Any]]:
    curves = []
    for line, group in lines:
        have = [(run, points(run.rows, x, key)) for run in group]
        have = [(run, found) for run, found in have if len(found[0])]
        if not have:
            continue
        grid, values = combine([smooth(found) if smoothed else found for _, found in have])
        # A screen shows no more; the ends are always kept.
        kept = np.unique(np.round(np.linspace(0, len(grid) - 1, min(len(grid), _MOST_POINTS))).astype(int))
        grid, values = grid[kept], values[:, kept]
        several = len(have) > 1
        curves.append(
            line
            | {
                "seeds": [run.seed for run, _ in have if run.seed is not None],
                "x": grid.tolist(),
                "mean": values.mean(axis=0).tolist(),
                "low": values.min(axis=0).tolist() if several else None,
                "high": values.max(axis=0).tolist() if several else None,
            }
        )
    return curves


def _hellaswag(lines: list[tuple[dict[str, Any], list[TrainingRun]]], x: str) -> dict[str, Any] | None:
    for metric in ("acc_norm", "acc"):
        curves = _curves(lines, x, f"hellaswag.{metric}")
        if curves:
            break
    else:
        return None
    rows = [row for _, group in lines for run in group for row in run.rows if f"hellaswag.{metric}" in row]
    items = {int(row["hellaswag.items"]) if "hellaswag.items" in row else None for row in rows}
    known = sorted(count for count in items if count)
    # The published model's score belongs beside scores of the same kind on the same items only.
    same = items == {HELLASWAG_ITEMS} and metric == "acc_norm"
    return {
        "metric": metric,
        "items": [known[0], known[-1]] if known else None,
        "chance": CHANCE,
        "gpt2_124m": GPT2_124M if same else None,
        "curves": curves,
    }


def _table_row(line: dict[str, Any], group: list[TrainingRun], hellaswag: dict[str, Any] | None) -> dict[str, Any]:
    """Where the runs of a line ended; each value as mean, least and most over its seeds."""
    every = [dict(itertools.chain.from_iterable(row.items() for row in run.rows)) for run in group]
    tails = []
    for run in group:
        losses = [row[_TRAIN] for row in run.rows if _TRAIN in row]
        if losses:
            tails.append(float(np.mean(losses[-max(1, int(len(losses) * SMOOTHED_SHARE)) :])))
    metric = f"hellaswag.{hellaswag['metric']}" if hellaswag else ""
    return line | {
        "runs": len(group),
        **{key: _spread([last[key] for last in every if key in last]) for key in ("step", "tokens", "source_bytes")},
        "train_bits_per_byte": _spread(tails),
        **{
            name: _spread([last[key] for last in every if key in last])
            for name, key in (("val_bits_per_byte", _VALIDATION), ("hellaswag", metric))
        },
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"mean": math.fsum(values) / len(values), "low": min(values), "high": max(values)}


def _captions(value: dict[str, Any]) -> dict[str, str]:
    loss = value["loss"]
    swag = value["hellaswag"]
    parts = [
        "Bits per byte of raw text, so that vocabularies compare.",
        f"Training is smoothed: each point is the mean of the {100 * SMOOTHED_SHARE:g} % of its run's readings "
        "around it." if loss["train"] else "",
        *_common(value, loss["train"] + loss["validation"]),
    ]  # fmt: skip
    captions = {"loss": " ".join(part for part in parts if part)}
    if swag is None:
        captions["hellaswag"] = (
            "No run evaluated HellaSwag during training: vocablab pretrain does with --hellaswag 1000, a study with "
            "Evaluation(during_pretraining=(HellaSwag(limit=1000),))."
        )
        return captions
    first = f"Share of items answered right ({swag['metric']}){_items(swag['items'])}."
    captions["hellaswag"] = " ".join([first, *_common(value, swag["curves"])])
    return captions


def _common(value: dict[str, Any], curves: list[dict[str, Any]]) -> list[str]:
    parts = []
    if any(curve["low"] for curve in curves):
        parts.append("Lines are means over seeds; bands reach from the lowest seed to the highest.")
    if any(curve["unfinished"] for curve in curves):
        parts.append("Dashed: a run that is not finished, alone.")
    if value["x"] != "source_bytes" and len({curve["arm"] for curve in curves}) > 1:
        parts.append(f"At the same number of {value['x']}, arms may have read different amounts of text.")
    return parts


def _items(items: list[int] | None) -> str:
    if items is None:
        return ""
    few, many = items
    counted = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    error = 100 * math.sqrt(CHANCE * (1 - CHANCE) / few)
    return f", {counted} items: one standard error of a run is about {error:.1f} points"


def loss_range(loss: dict[str, Any]) -> tuple[float, float]:
    """The stretch of the y axis that shows what there is to see: without the first tenth, where every loss falls."""
    curves = loss["train"] + loss["validation"]
    begin = 0.1 * max(curve["x"][-1] for curve in curves)
    shown = []
    for curve in curves:
        # A run that has only begun still shows where it is.
        late = [i for i, x in enumerate(curve["x"]) if x >= begin] or [-1]
        shown += [values[i] for values in (curve["mean"], curve["low"], curve["high"]) if values for i in late]
    pad = 0.04 * (max(shown) - min(shown)) or 0.05
    return min(shown) - pad, max(shown) + pad

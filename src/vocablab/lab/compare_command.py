"""`vocablab compare`: two sets of score files, item by item, with the statistics of a study."""

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vocablab.base.errors import UserError

if TYPE_CHECKING:
    from vocablab.analysis.comparison import Comparison

WHAT = "A scores.parquet, a directory with one per seed, or lm-eval's --log_samples output."


def compare_command(
    a: Annotated[Path, typer.Argument(metavar="A", help=f"What B is compared with. {WHAT}")],
    b: Annotated[Path, typer.Argument(metavar="B", help=f"The other. {WHAT}")],
    metric: Annotated[str | None, typer.Option("--metric", help="Only this metric.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only this task, also task.split or task:way.")] = None,
    delta: Annotated[float | None, typer.Option("--delta", help="Smallest improvement of B worth claiming.")] = None,
    margin: Annotated[float | None, typer.Option("--margin", help="Largest worsening of B that is tolerated.")] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Leave out seeds and items that only one side has, and say how many.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Compare any two sets of scores: B minus A per task and metric, with interval, p and a verdict.

    Items are paired by id (of lm-eval also by the hash of the document), seeds by name; both count as random samples.
    """
    # Imported here: tables and statistics take their time, and the other commands do without.
    from vocablab.analysis.comparison import compare
    from vocablab.analysis.score_sets import read_scores

    if delta is not None and margin is not None:
        raise UserError("--delta asks for a benefit, --margin for no harm: give one of them.")
    for name, value in (("--delta", delta), ("--margin", margin)):
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} {value:g}: give a number above 0, in the metric's own unit.")
    found, notes = compare(
        read_scores(a), read_scores(b), metric=metric, task=task, delta=delta, margin=margin, common=common
    )
    if len(found) > 1:
        notes.append(f"{len(found)} measures, each at its own 95 %: about one in twenty differs by chance alone.")
    if as_json:
        print(json.dumps({"a": str(a), "b": str(b), "measures": [one.to_json() for one in found], "notes": notes}))
        return
    _print(a, b, found, notes)


def _print(a: Path, b: Path, found: "list[Comparison]", notes: list[str]) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=150)
    table = Table(title=f"B minus A\nA: {a}\nB: {b}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for head in ("measure", "metric", "items", "seeds", "A", "B", "B - A", "95 % interval", "p", "verdict"):
        table.add_column(head, no_wrap=True, justify="left" if head in ("measure", "metric", "verdict") else "right")
    for one in found:
        value = one.to_json()
        interval = "" if value["low"] is None else f"{value['low']:+.4f} .. {value['high']:+.4f}"
        p = "" if value["p_value"] is None else f"{value['p_value']:.2g}"
        table.add_row(
            Text(one.target), one.metric, f"{value['n_items']:,}", str(len(one.seeds)), f"{value['a_mean']:.4f}",
            f"{value['b_mean']:.4f}", f"{value['difference']:+.4f}", interval, p, one.word,
        )  # fmt: skip
    console.print(table)
    for one in found:
        print(one.sentence + (f" {one.left_out} items that only one side has are left out." if one.left_out else ""))
    for note in notes:
        print(note)

"""`vocablab curves`: the loss and HellaSwag over training, as pictures."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vocablab.base.errors import UserError


def curves_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="A study (runs/quickstart), an arm, a run, or a directory with metrics.jsonl, also a .partial one; "
            "directories NAME-seed0, NAME-seed1 are seeds of one arm.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where the pictures go; else `curves` in the first RUN, or beside it if it holds the metrics."
        ),
    ] = None,
    x: Annotated[str, typer.Option("--x", help="source_bytes, tokens or steps.")] = "source_bytes",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON for programs.")] = False,
) -> None:
    """Draw training and validation loss and HellaSwag over training, per arm, with seeds as a band.

    Writes curves.html, loss.png, hellaswag.png (if any run evaluated it) and curves.json, which holds what is drawn.
    """
    # Imported here: statistics and tables take their time, and the other commands do without.
    from vocablab.analysis.curve_page import write_curves
    from vocablab.analysis.curve_runs import distinct, find_runs
    from vocablab.analysis.curves import X_KEYS, build_curves

    if x not in X_KEYS:
        raise UserError(f"--x {x}: it is {', '.join(X_KEYS)}.")
    value = build_curves(distinct(run for path in runs for run in find_runs(path)), x)
    files = write_curves(value, out or default_out(runs[0]))
    if as_json:
        print(json.dumps(value | {"files": [str(path) for path in files]}))
        return
    _print(value, files)


def default_out(first: Path) -> Path:
    """`curves` inside a study, an arm or a run of a study; beside a directory that itself holds the metrics.

    Such a directory is an artifact, whole and with a record of its files: nothing is put into it.
    """
    from vocablab.analysis.curve_runs import METRICS

    first = first.resolve()
    inside = first.is_dir() and not (first / METRICS).exists()
    return (first if inside else first.parent) / "curves"


def _print(value: dict[str, Any], files: list[Path]) -> None:
    from vocablab.analysis.curve_figures import line_name, seeds_said

    console = Console() if sys.stdout.isatty() else Console(width=118)
    table = Table(title="Where the runs ended")
    for head in ("arm", "seeds", "steps", "train bits/byte", "validation bits/byte", "HellaSwag"):
        table.add_column(head, justify="left" if head in ("arm", "seeds") else "right")
    for row in value["table"]:
        name = line_name(row["arm"], unfinished=row["unfinished"])
        table.add_row(
            Text(name), seeds_said(row["seeds"]), _mean(row["step"], ",.0f"),
            _mean(row["train_bits_per_byte"], ".4f"), _mean(row["val_bits_per_byte"], ".4f"),
            _mean(row["hellaswag"], ".2%"),
        )  # fmt: skip
    console.print(table)
    if value["hellaswag"] is None:
        print(value["captions"]["hellaswag"])
    for path in files:
        print(path)


def _mean(spread: dict[str, float] | None, form: str) -> str:
    return "" if spread is None else format(spread["mean"], form)

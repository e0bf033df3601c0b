"""`vocablab calibrate`: are the statistics as often wrong as they say, on simulated studies?"""

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from vocablab.analysis.calibration import Calibration, Cell


def calibrate_command(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A few designs and studies, in seconds; thresholds yield to the rougher count."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON for programs.")] = False,
) -> None:
    """Simulate studies whose truth is known, and count how often intervals and verdicts are wrong about them.

    Prints error rates against thresholds; exit status 1 if any is missed. About 5 minutes, with --quick 10 seconds.
    """
    # Imported here: the other commands do without it.
    from vocablab.analysis.calibration import QUICK_STUDIES, STUDIES, calibrate

    def progress(cells: Sequence["Cell"]) -> Iterable["Cell"]:
        return track(cells, "simulating", console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)

    found = calibrate(QUICK_STUDIES if quick else STUDIES, quick, progress)
    if as_json:
        print(json.dumps(_as_json(found)))
    else:
        _print(found)
    if not found.passed:
        raise typer.Exit(1)


def _as_json(found: "Calibration") -> dict[str, Any]:
    cells = [{"kind": cell.kind, "family": cell.family} | dataclasses.asdict(rates) for cell, rates in found.cells]
    return {"passed": found.passed, "checks": [dataclasses.asdict(check) for check in found.checks], "cells": cells}


def _print(found: "Calibration") -> None:
    console = Console() if sys.stdout.isatty() else Console(width=118)
    table = Table(title="Percentage of simulated studies, by design")
    for head in ("", "design", "S x N", "missed", "wrong SUPP.", "wrong REF.", "within 2 SE", "items only"):
        table.add_column(head, justify="left" if head in ("", "design") else "right", overflow="fold")
    for cell, rates in found.cells:
        shares = rates.missed, rates.wrong_supported, rates.wrong_refuted, rates.within_two_errors
        row = [f"{100 * share:.2f}" for share in (*shares, rates.items_only_missed)]
        table.add_row(cell.kind, rates.design, f"{rates.seeds} x {rates.items}", *row)
    console.print(table)
    checks = Table(title=f"Thresholds, {found.cells[0][1].studies:,} studies per design")
    for head in ("", "share, in the worst design", "%", "allowed", "design"):
        checks.add_column(head, justify="right" if head in ("%", "allowed") else "left", overflow="fold")
    for check in found.checks:
        allowed = f"{100 * check.least:g} to {100 * check.most:g}"
        mark = "ok" if check.passed else "[bold red]MISSED[/]"
        checks.add_row(mark, check.name, f"{100 * check.value:.2f}", allowed, check.where)
    console.print(checks)

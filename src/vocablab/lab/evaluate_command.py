"""`vocablab evaluate`: any model on any tasks, one row per item, and a table with intervals."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from vocablab.base.errors import UserError

TASK_NAMES = (
    "arithmetic, gsm8k, svamp, gpt3_arithmetic, hellaswag (both ways; or hellaswag:harness, hellaswag:karpathy), "
    "drills, one_step, ape210k, math23k, cmath, text, forced_prefix"
)


def evaluate_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An exported or Hugging Face directory, owner/name, a run of a study, or a directory of `pretrain`.",
        ),
    ],
    tasks: Annotated[str, typer.Option("--tasks", help=f"Separated by commas: {TASK_NAMES}.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where scores go; else a new directory in `evaluations` beside MODEL.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Local data directory (else VOCABLAB_DATA).")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Items per task, evenly spaced.")] = None,
    shots: Annotated[int, typer.Option("--shots", min=0, help="Worked examples before a question (gsm8k).")] = 0,
    decoding: Annotated[
        str, typer.Option("--decoding", help="Separated by commas: free, sampled, banned, forced, counterfactual.")
    ] = "free",
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Longest answer. Default: 256, or half the context.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Answers per item of `sampled`.")] = 4,
    temperature: Annotated[float, typer.Option("--temperature", help="Of `sampled`.")] = 0.7,
    text: Annotated[
        Path | None, typer.Option("--text", help="Documents of the task text; else OpenStax's validation set.")
    ] = None,
    text_modes: Annotated[
        str, typer.Option("--text-modes", help="Separated by commas: native, plain, outside.")
    ] = "native,plain,outside",
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Score every kept checkpoint of a run of `pretrain`.")
    ] = False,
    revision: Annotated[str, typer.Option("--revision", help="Of a model on the hub.")] = "main",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Prompts at a time; changes no score beyond rounding.")
    ] = 64,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Score a model: scores.parquet with one row per item, and a table with n, score and interval."""
    # Imported here: they take seconds, and the other commands do without.
    from vocablab.base.data import data_directory
    from vocablab.evaluate.answering import Answering
    from vocablab.lab.devices import chosen_device
    from vocablab.lab.evaluations import LONGEST, evaluate_and_record, wanted
    from vocablab.lab.models import checkpoints_of, model_source

    directory, where = data_directory(data), chosen_device(device)
    answering = Answering(_split(decoding), max_new_tokens or LONGEST, temperature, samples)
    asked = wanted(_split(tasks), limit, shots, answering, text, _split(text_modes), directory)
    source = model_source(model, revision, directory)
    sources = checkpoints_of(source) if checkpoints else [source]
    shortens = max_new_tokens is None
    done = [evaluate_and_record(one, asked, directory, out, where, batch_size, shortens, _said) for one in sources]
    if as_json:
        found = [{"model": e.source.name, "step": e.source.step, "out": str(e.directory), **e.report} for e in done]
        print(json.dumps(found if checkpoints else found[0]))
        return
    if checkpoints:
        _print_curve(done)
        return
    _print_table(done[0].report, done[0].source.name)
    print(f"Scores: {done[0].directory / 'scores.parquet'}")


def _split(names: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    if not found:
        raise UserError("an empty list of names; give at least one.")
    return found


def _said(stage: str, done: float, total: float, note: str = "") -> None:
    if note:
        print(f"{done:.0f} of {total:.0f}: {note}", file=sys.stderr, flush=True)


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=150)


OTHERS = {
    "acc": "acc", "acc_flexible": "flexible", "acc_norm": "acc_norm", "acc_bytes": "per byte", "p_correct": "P(right)",
    "margin_bits": "margin", "recomputed": "right in spite", "ended_share": "ended", "repetition": "repeats",
}  # fmt: skip
"""Scores beside the first one, and how the table calls them."""


def _print_table(report: dict[str, Any], name: str) -> None:
    table = Table(title=f"Scores of {name}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for head in ("task", "way", "split", "n", "metric", "score", "95 % interval", "bits/byte"):
        table.add_column(head, no_wrap=True, justify="right" if head in ("n", "score", "bits/byte") else "left")
    table.add_column("other scores")
    for line in report["table"]:
        interval = "" if line["low"] is None else f"{line['low']:.3f} .. {line['high']:.3f}"
        others = [
            f"{said} {line['means'][key]:.3f}" for key, said in OTHERS.items()
            if key in line["means"] and key != line["metric"]
        ]  # fmt: skip
        table.add_row(
            line["task"], line["way"], line["split"], f"{line['n']:,}", line["metric"], _number(line["score"]),
            interval, _number(line["bits_per_byte"]["value"]), ", ".join(others),
        )  # fmt: skip
    _console().print(table)
    for note in report["notes"]:
        print(note)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _print_curve(done: list[Any]) -> None:
    name = done[0].source.name.removesuffix(f" step {done[0].source.step}")
    table = Table(title=f"Scores over training of {name}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for head in ("task", "way", "split", "metric"):
        table.add_column(head, no_wrap=True)
    for one in done:
        table.add_column(f"step {one.source.step:,}", justify="right")
    for lines in zip(*(one.report["table"] for one in done), strict=True):
        first = [lines[0][key] for key in ("task", "way", "split")]
        table.add_row(*first, lines[0]["metric"], *(_number(line["score"]) for line in lines))
        if lines[0]["metric"] != "bits_per_byte":
            table.add_row("", "", "", "bits/byte", *(_number(line["bits_per_byte"]["value"]) for line in lines))
    _console().print(table)
    for one in done:
        print(f"Scores: {one.directory / 'scores.parquet'}")

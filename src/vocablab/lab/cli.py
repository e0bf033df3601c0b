"""The command line. Exit status 0 on success, 2 for what the user must change, 1 for a run that failed."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vocablab.base.data import data_directory
from vocablab.base.errors import RunError, UserError
from vocablab.lab.calibrate_command import calibrate_command
from vocablab.lab.compare_command import compare_command
from vocablab.lab.coverage_command import coverage_command, mine_command
from vocablab.lab.curves_command import curves_command
from vocablab.lab.devices import chosen_device
from vocablab.lab.evaluate_command import evaluate_command
from vocablab.lab.export_command import export_command
from vocablab.lab.import_command import import_command
from vocablab.lab.inject_command import inject_command
from vocablab.lab.post_training_commands import rl_command, sft_command
from vocablab.lab.prepare_command import prepare_command
from vocablab.lab.pretrain_command import pretrain_command
from vocablab.lab.probe_command import probe_command
from vocablab.lab.sample_command import sample_command
from vocablab.lab.shards_command import app as shards_app

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

StudyName = Annotated[str, typer.Argument(help="A built-in study's name, or a path to a study file.")]
Runs = Annotated[Path, typer.Option("--runs", help="Directory of all runs.")]
Data = Annotated[str | None, typer.Option("--data", help="Local data directory (else VOCABLAB_DATA, else the hub).")]
Preset = Annotated[str | None, typer.Option("--preset", help="Size of the study; the first one it declares otherwise.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Runs at a time; one per core otherwise.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="field.path=value; marks the run exploratory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def studies(as_json: AsJson = False) -> None:
    """List the built-in studies and those in ./*.py, one line each."""
    from vocablab.lab.catalog import built_in_names, choose

    rows = [(name, choose(name).docstring.split("\n")[0]) for name in built_in_names()]
    for path in sorted(Path().glob("*.py")):
        if "def study(" in path.read_text(encoding="utf-8", errors="replace"):
            rows.append((f"./{path.name}", choose(f"./{path.name}").docstring.split("\n")[0]))
    if as_json:
        print(json.dumps([{"name": name, "summary": summary} for name, summary in rows]))
        return
    width = max(len(name) for name, _ in rows)
    for name, summary in rows:
        print(f"{name:<{width}}  {summary}")


@app.command()
def plan(
    study: Annotated[str | None, typer.Argument(help="A built-in study's name, or a path to a study file.")] = None,
    data: Data = None, preset: Preset = None, device: Device = "auto", jobs: Jobs = None,
    pilot: Annotated[
        Path | None, typer.Option("--pilot", help="A finished study (runs/STUDY) whose variances the plan uses.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="minimal, publishable, rigorous or exploratory: what to run at all.")
    ] = None,
    overrides: Overrides = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what would run: arms x seeds x stages, FLOPs, time, disk, coverage ceiling, detectable effect."""
    if (study is None) == (budget is None):
        raise UserError("give a study to plan, or --budget to be told which studies to run.")
    if budget is not None:
        from vocablab.lab.budgets import answer, print_answer

        told = answer(budget)
        if as_json:
            print(json.dumps(told))
        else:
            print_answer(told, Console() if sys.stdout.isatty() else Console(width=150))
        return
    from vocablab.lab import plan as planning
    from vocablab.lab.catalog import choose

    chosen, where = choose(str(study), preset, tuple(overrides or ())), chosen_device(device)
    workers = jobs or planning.default_jobs(where)
    found = planning.plan(chosen.study, data_directory(data), where, workers, pilot)
    if as_json:
        print(json.dumps(found))
        return
    _print_plan(found, workers)


@app.command()
def run(
    study: StudyName, arm: Annotated[str | None, typer.Option(help="Only this arm.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
    stage: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    jobs: Jobs = None, device: Device = "auto", runs: Runs = Path("runs"), data: Data = None, preset: Preset = None,
    overrides: Overrides = None,
    pilot: Annotated[
        Path | None, typer.Option("--pilot", help="Finished runs whose variances a confirmatory study is planned with.")
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run what is missing of a study, resume what was interrupted, and write the report."""
    from vocablab.base.files import read_json
    from vocablab.lab.catalog import choose
    from vocablab.lab.plan import default_jobs
    from vocablab.lab.run_context import Place
    from vocablab.lab.run_study import run_study, selected_jobs

    chosen, where = choose(study, preset, tuple(overrides or ())), chosen_device(device)
    place = Place(runs.resolve(), data_directory(data), where)
    wanted = selected_jobs(chosen.study, arm, seed, stage)
    outcome = run_study(chosen, place, wanted, jobs or default_jobs(where), quiet=as_json, pilot=pilot)
    report = read_json(outcome.report.with_suffix(".json"), "the report") if outcome.report else None
    if as_json:
        path = str(outcome.report) if outcome.report else None
        print(
            json.dumps({"stages_run": outcome.stages_run, "seconds": outcome.seconds, "html": path, "report": report})
        )
        return
    if outcome.stages_run:
        print(f"{outcome.stages_run} stages ran in {outcome.seconds:.0f} s.")
    else:
        print("Nothing to do: valid records cover every stage.")
    _print_report(report, outcome.report)


@app.command()
def report(
    study: StudyName, runs: Runs = Path("runs"),
    csv: Annotated[bool, typer.Option("--csv", help="Write the tables as CSV, too, into `tables`.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Rebuild report.html, report.json and report.md from the records."""
    from vocablab.analysis.csv_tables import write_csv_tables
    from vocablab.analysis.page import write_report
    from vocablab.base.files import read_json
    from vocablab.lab.run_study import STUDY_FILE

    name = Path(study).stem if study.endswith(".py") else study
    directory = runs.resolve() / name
    if not (directory / STUDY_FILE).exists():
        raise UserError(f"there are no runs of study '{study}' in {runs}; run it first, or give --runs.")
    path = write_report(directory)
    found = read_json(path.with_suffix(".json"), "the report")
    tables = write_csv_tables(directory, found) if csv else []
    if as_json:
        print(json.dumps(found))
        return
    _print_report(found, path)
    for table in tables:
        print(f"Table: {table}")


@app.command()
def doctor(runs: Runs = Path("runs"), data: Data = None, as_json: AsJson = False) -> None:
    """Check machine, versions, data and disk before any long job."""
    from vocablab.lab.doctor import examine

    checks = examine(data_directory(data), runs)
    if as_json:
        print(json.dumps([{"name": c.name, "passed": c.passed, "detail": c.detail} for c in checks]))
    else:
        for check in checks:
            print(f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.detail}")
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


app.command("inject")(inject_command)
app.command("coverage")(coverage_command)
app.command("mine")(mine_command)
app.command("prepare")(prepare_command)
app.command("pretrain")(pretrain_command)
app.command("export")(export_command)
app.command("import")(import_command)
app.command("sft")(sft_command)
app.command("rl")(rl_command)
app.command("evaluate")(evaluate_command)
app.command("sample")(sample_command)
app.command("probe")(probe_command)
app.command("calibrate")(calibrate_command)
app.command("compare")(compare_command)
app.command("curves")(curves_command)
app.add_typer(shards_app, name="shards")


def _print_plan(found: dict[str, Any], workers: int) -> None:
    console = Console()
    table = Table(title=f"Plan of {found['study']}", show_header=False)
    rows = {
        "runs": f"{found['runs']}: arms {', '.join(found['arms'])}; {len(found['seeds'])} seeds each",
        "stages": " -> ".join(found["stages"]),
        "model": f"{found['parameters'] / 1e6:.2f} M parameters",
        "tokens per run": f"about {found['tokens_per_run']:,}",
        "FLOPs per run": f"{found['flops_per_run']:.2e} ({found['head_share_of_flops']:.0%} in the head)",
        "speed here": f"{found['flops_per_second_measured'] / 1e9:.0f} GFLOP/s per worker (measured now)",
        "pretraining": f"about {found['pretraining_hours'] * 60:.1f} min with {workers} workers, plus other stages",
        "on an H200": f"about {found['h200_hours']:.2g} h at {found['h200_assumes']}",
        "disk": f"about {found['disk_gigabytes']:.2f} GB",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for key, count in found["items"].items():
        share = found["coverage_ceiling"].get(key)
        table.add_row(f"items of {key}", f"{count}" + (f", coverage ceiling {share:.0%}" if share is not None else ""))
    for claim in found["claims"]:
        mde, needed = claim["minimum_detectable_effect"], claim["seeds_needed"]
        seeds = f"needs {needed} seeds" if needed else "needs more items, whatever the seeds"
        table.add_row(
            f"{claim['claim']} {claim['target']} {claim['metric']}",
            f"asks for {claim['wanted']:g} and {seeds}; detects {'?' if mde is None else f'{mde:.3f}'} at 80 % power, "
            f"by the {claim['basis']}",
        )
    if found["confirmatory"]:
        table.add_row("confirmatory", "is refused where it cannot detect what a benefit claims")
    console.print(table)


def _print_report(found: dict[str, Any] | None, path: Path | None) -> None:
    if found is None:
        print("No run has been evaluated yet, so there is no report.")
        return
    for verdict in found["verdicts"]:
        print(verdict["sentence"])
    print(f"Report: {path}")


def main() -> None:
    """Entry point: turns the two kinds of error into one sentence and an exit status."""
    try:
        app()
    except (UserError, RunError) as error:
        print(f"vocablab: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("vocablab: stopped; run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        print(f"vocablab: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        sys.exit(1)

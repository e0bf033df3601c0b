"""`vocablab probe`: were a model's added tokens learned, and are they used?"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vocablab.base.errors import UserError


def probe_command(
    model: Annotated[
        str, typer.Argument(metavar="RUN_OR_MODEL", help="A run of a study (STUDY/ARM/seedN), or an exported model.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where probe.html, Parquet, JSON and pictures go.")],
    against: Annotated[str | None, typer.Option("--against", help="Another run or model, beside it.")] = None,
    initial: Annotated[
        Path | None,
        typer.Option("--initial", help="An exported model whose rows are those before training; runs know theirs."),
    ] = None,
    least_exposures: Annotated[
        int, typer.Option("--least-exposures", min=0, help="Below this dose a token is named as under-trained.")
    ] = 100,
    permutations: Annotated[int, typer.Option("--permutations", min=20, help="Of labels, for p.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of permutations and samples.")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")] = "auto",
    data: Annotated[str | None, typer.Option("--data", help="Local data directory (else VOCABLAB_DATA).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Probe a model: geometry of its rows, linear probes, attention, causes, layers, retrieval, exposures."""
    from vocablab.base.config import to_json
    from vocablab.base.data import data_directory
    from vocablab.lab.artifacts import FORMATS, publish_once
    from vocablab.lab.devices import chosen_device
    from vocablab.lab.models import model_source
    from vocablab.lab.probes import probe_models
    from vocablab.probe.config import Probing

    where, directory = chosen_device(device), data_directory(data)
    layers = min(permutations, Probing().layer_permutations)
    config = Probing(permutations, layers, least_exposures, seed)
    names = [model] + ([against] if against is not None else [])
    sources = [model_source(name, "main", directory) for name in names]
    for source in sources:
        if source.trained:
            raise UserError(f"{source.directory} is not exported yet: vocablab export makes a model of it.")
    identity = {
        "stage": "probe",
        "format": FORMATS["probe"],
        "models": [source.identity() for source in sources],
        "initial": None if initial is None else model_source(str(initial), "main", directory).identity(),
        "probe": to_json(config, identity_only=True),
    }

    def work(partial: Path) -> dict[str, Any]:
        subjects = [_subject(source, where, directory, initial if i == 0 else None) for i, source in enumerate(sources)]
        found = probe_models(subjects, config, partial, _said)
        return {"models": [{"model": one["model"], "measures": len(one["measures"])} for one in found]}

    publish_once(out, identity, work, where, resumes=False)
    places = [out] if len(sources) == 1 else [out / str(number + 1) for number in range(len(sources))]
    _print(places, out, as_json)


def _print(places: list[Path], out: Path, as_json: bool) -> None:
    """The word on each question and why, model by model; or everything as JSON."""
    from vocablab.analysis.probe_questions import answers, read_findings, reasons

    found = [read_findings(place / "findings.json") for place in places]
    if as_json:
        print(json.dumps(found))
        return
    for one in found:
        print(one["model"])
        for answer in (answer for answer in answers(one["measures"]) if answer["told"]):
            print(f"  {answer['question']} {answer['word'].upper()}")
            for reason in reasons(answer):
                print(f"      {reason}")
    print(f"Page: {out / 'probe.html'}")


def _subject(source: Any, device: str, data: Path | None, initial: Path | None) -> Any:
    """The model with all that is known of its making."""
    from vocablab.lab.probes import exported_tables, run_at, subject_of_run
    from vocablab.probe.subject import load_subject

    run = run_at(source.directory, device, data)
    if run is not None and initial is None and source.directory == run.path(run.finished).resolve():
        return subject_of_run(run, source.name, device)
    return load_subject(source.directory, source.name, device, None if initial is None else exported_tables(initial))


def _said(stage: str, done: float, total: float, note: str = "") -> None:
    if note:
        print(f"{done:.0f} of {total:.0f}: {note}", file=sys.stderr, flush=True)

"""Probing a run: its finished model, the rows it started from, and how often its tokens were shown."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from vocablab.base.config import from_json
from vocablab.base.errors import UserError
from vocablab.base.files import read_json
from vocablab.base.progress import Progress
from vocablab.base.records import read_record
from vocablab.lab.run_context import Place, RunContext
from vocablab.lab.study import Study
from vocablab.probe.config import Probing
from vocablab.probe.subject import Subject

STUDY_FILE = "study.json"


def probe_run(run: RunContext, directory: Path) -> dict[str, Any]:
    """The stage `probe`."""
    from vocablab.analysis.probe_page import write_probe_page
    from vocablab.analysis.probe_pictures import write_pictures

    config = run.arm.recipe.probe
    assert config is not None
    name = f"{run.arm.name}, seed {run.seed}"
    subject = subject_of_run(run, name, run.place.device)
    found = _probed(subject, config, directory, lambda done, total, note: run.progress("probe", done, total, note))
    write_pictures(found, directory)
    write_probe_page([found], directory)
    return {"measures": len(found["measures"]), "figures": len(found["figures"]), "notes": found["notes"]}


def _probed(subject: Subject, config: Probing, directory: Path, told: Any) -> dict[str, Any]:
    from vocablab.probe.run import probe, write_findings

    return write_findings(subject.name, probe(subject, config, told), directory)


def probe_models(subjects: list[Subject], config: Probing, directory: Path, progress: Progress) -> list[dict[str, Any]]:
    """Probe one or two models into `directory`; of two, each has a folder of its own beside the page of both."""
    from vocablab.analysis.probe_page import write_probe_page
    from vocablab.analysis.probe_pictures import write_pictures

    found = []
    for number, subject in enumerate(subjects):
        place = directory if len(subjects) == 1 else directory / f"{number + 1}"
        place.mkdir(exist_ok=True)

        def told(done: float, total: float, note: str, number: int = number, name: str = subject.name) -> None:
            progress("probe", number * total + done, len(subjects) * total, f"{name}: {note}" if note else "")

        found.append(_probed(subject, config, place, told))
        write_pictures(found[-1], place)
    write_probe_page(found, directory)
    return found


def subject_of_run(run: RunContext, name: str, device: str) -> Subject:
    """The finished model of a study's run, with all that is known of its making."""
    from vocablab.probe.subject import load_subject

    codec = run.codec()
    return load_subject(
        run.path(run.finished), name, device, initial_tables(run), exposures(run, codec.vocabulary.added),
        updates(run, codec.vocabulary.added),
    )  # fmt: skip


def exposures(run: RunContext, tokens: tuple[str, ...]) -> np.ndarray | None:
    """How often training showed each token, pretraining's epochs and fine-tuning's passes together; None if the
    records do not say."""
    counts = {stage: _counts(run, stage) for stage in ("prepare", "pretrain", "sft")}
    found = np.zeros(len(tokens))
    known = False
    for seen, times in (
        (counts["prepare"].get("exposures"), counts["pretrain"].get("epochs", 1.0)),
        (counts["sft"].get("exposures"), 1.0),
    ):
        if isinstance(seen, dict) and any(token in seen for token in tokens):
            found += np.array([seen.get(token, 0) for token in tokens]) * float(times)
            known = True
    return np.rint(found).astype(np.int64) if known else None


def updates(run: RunContext, tokens: tuple[str, ...]) -> np.ndarray | None:
    """In how many optimiser steps of pretraining and fine-tuning each token was read; None if no record says."""
    told = [seen for stage in ("pretrain", "sft") if (seen := _counts(run, stage).get("updates"))]
    if not told:
        return None
    return np.array([sum(seen.get(token, 0) for seen in told) for token in tokens], dtype=np.int64)


def _counts(run: RunContext, stage: str) -> dict[str, Any]:
    record = read_record(run.path(stage))
    return {} if record is None else record.counts


def initial_tables(run: RunContext) -> dict[str, np.ndarray]:
    """Tables of rows as they were before training: drawn again from the seed, or those that fine-tuning began with."""
    from vocablab.pretrain.start import read_checkpoint, start

    if run.arm.tokens_from == "sft":
        return exported_tables(run.path("export"))
    codec, recipe = run.codec(), run.arm.recipe
    config = recipe.pretrain
    checkpoint = None
    if config.init_from:
        checkpoint = read_checkpoint(config.init_from, config.init_revision, run.place.data, codec.vocabulary)
    network, _ = start(recipe.model, codec, config.new_rows, run.arm.drawn_seed(run.seed), checkpoint)
    rows_in, rows_out = (table.detach().float().numpy() for table in network.tables())
    return {"input": rows_in, "output": rows_out}


def exported_tables(directory: Path) -> dict[str, np.ndarray]:
    """The tables of rows of an exported model.

    Raises:
        UserError: if it has no weights, or names none of them as a table.
    """
    file = directory / "model.safetensors"
    if not file.exists():
        raise UserError(f"{directory} has no model.safetensors, so its rows are unknown.")
    state = load_file(file)
    inputs = next((t for n, t in state.items() if n.endswith(("wte.weight", "embed_tokens.weight"))), None)
    if inputs is None:
        raise UserError(f"{file} has no table of input rows under a name that is known.")
    outputs = state.get("lm_head.weight", inputs)
    return {"input": inputs.float().numpy(), "output": outputs.float().numpy()}


def run_at(path: Path, device: str, data: Path | None) -> RunContext | None:
    """The run of a study that a path ``STUDY/ARM/seedN`` (or a stage in it) names; None if it is none.

    A study whose classes are declared in a file of its own is not read: its models are probed as models.
    """
    for place in (path, path.parent):
        study_file = place.parent.parent / STUDY_FILE
        if not re.fullmatch(r"seed\d+", place.name) or not study_file.exists():
            continue
        try:
            study: Study = from_json(Study, read_json(study_file, "the study's file").get("study"), str(study_file))
            arm = study.arm(place.parent.name)
        except UserError:
            return None
        runs = study_file.parent.parent
        return RunContext(study, arm, int(place.name.removeprefix("seed")), Place(runs, data, device))
    return None

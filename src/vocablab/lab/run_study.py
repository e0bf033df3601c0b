"""Running a study: what is missing, then the report."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocablab.analysis.page import write_report
from vocablab.base.config import to_json
from vocablab.base.errors import UserError
from vocablab.base.files import exclusive, read_json, write_json_atomically
from vocablab.lab.catalog import Chosen
from vocablab.lab.display import Display
from vocablab.lab.engine import Job, make_shared, run_jobs
from vocablab.lab.stages import STAGES, Place, identities, is_done
from vocablab.lab.study import Study

STUDY_FILE = "study.json"


@dataclass(frozen=True)
class Outcome:
    """What a call of `run_study` did."""

    stages_run: int
    """How many stages ran; 0 when records covered everything."""
    seconds: float
    """Wall-clock time."""
    report: Path | None
    """`report.html`, if the study has scores."""


def selected_jobs(study: Study, arm: str | None, seed: int | None, stage: str | None) -> list[Job]:
    """The runs that the options name: seed by seed, so that a comparison is whole as early as possible.

    Raises:
        UserError: for an arm, seed or stage the study does not have.
    """
    if arm is not None:
        study.arm(arm)
    if seed is not None and seed not in study.seeds:
        raise UserError(f"--seed {seed}: study {study.name} has the seeds {list(study.seeds)}.")
    if stage is not None and stage not in STAGES:
        raise UserError(f"--stage {stage}: the stages are {', '.join(STAGES)}.")
    return [
        Job(a.name, s, stage or STAGES[-1])
        for s in study.seeds
        if seed in (None, s)
        for a in study.arms
        if arm in (None, a.name)
    ]


def run_study(chosen: Chosen, place: Place, jobs: list[Job], workers: int, *, quiet: bool) -> Outcome:
    """Run what is missing of `jobs`, then write the report if there are scores."""
    started = time.monotonic()
    study, directory = chosen.study, place.study(chosen.study)
    with exclusive(directory / ".lock"):
        # A refused run must not touch the study's file: so the records are looked at first.
        missing = [job for job in jobs if not _covered(study, place, job)]
        write_study_file(chosen, directory)
        stages = 0
        if missing:
            make_shared(study, chosen.source, place)
            with Display(missing, quiet) as display:
                ran = run_jobs(study, chosen.source, place, missing, min(workers, len(missing)), display)
            stages = sum(len(names) for names in ran.values())
        report = write_report(directory) if has_scores(directory) else None
    return Outcome(stages, time.monotonic() - started, report)


def has_scores(directory: Path) -> bool:
    """Whether any run of the study has been evaluated."""
    return any(directory.glob("*/seed*/evaluate/scores.parquet"))


def _covered(study: Study, place: Place, job: Job) -> bool:
    known = identities(study, study.arm(job.arm), job.seed)
    stages = STAGES[: STAGES.index(job.until) + 1]
    return all(is_done(place.stage(study, job.arm, job.seed, stage), known[stage]) for stage in stages)


def write_study_file(chosen: Chosen, directory: Path) -> None:
    """Write `study.json`, from which the report is built; claims edited after the first run are said to be so."""
    study = chosen.study
    claims = [to_json(claim) for claim in study.primary]
    notes = [f"overrides were used ({', '.join(chosen.overrides)})"] if chosen.overrides else []
    registered = claims
    if (directory / STUDY_FILE).exists():
        registered = read_json(directory / STUDY_FILE, "the study's file")["registered_claims"]
        if registered != claims and has_scores(directory):
            notes.append("the claims were edited after the first run")
        elif registered != claims:
            registered = claims
    value: dict[str, Any] = {
        "name": study.name,
        "title": chosen.docstring.split("\n")[0],
        "docstring": chosen.docstring,
        "preset": chosen.preset,
        "control": study.control,
        "treatment": study.treatment,
        "arms": [{"name": arm.name, "description": arm.description} for arm in study.arms],
        "seeds": list(study.seeds),
        "claims": claims,
        "registered_claims": registered,
        "exploratory": "; ".join(notes) or None,
        "study": to_json(study),
    }
    write_json_atomically(directory / STUDY_FILE, value)

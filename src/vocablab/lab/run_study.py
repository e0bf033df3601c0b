"""Running a study: what is missing, then the report."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocablab.analysis.page import write_report
from vocablab.base.config import to_json
from vocablab.base.errors import UserError
from vocablab.base.files import exclusive, read_json, write_json_atomically
from vocablab.lab.artifacts import is_done
from vocablab.lab.catalog import Chosen
from vocablab.lab.display import Display
from vocablab.lab.engine import Job, make_shared, run_jobs
from vocablab.lab.plan import designed, require_detectable
from vocablab.lab.registration import COUNTED_AS, edits, has_records, registered
from vocablab.lab.run_context import Place
from vocablab.lab.stages import STAGES, identities, makers, stages_of, until
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

    Where arms share early stages, the first of them comes first for all seeds: workers that begin at the same stage of
    the same seed would all do it.

    Raises:
        UserError: for an arm, seed or stage the study does not have.
    """
    if arm is not None:
        study.arm(arm)
    if seed is not None and seed not in study.seeds:
        raise UserError(f"--seed {seed}: study {study.name} has the seeds {list(study.seeds)}.")
    if stage is not None and stage not in STAGES:
        raise UserError(f"--stage {stage}: the stages are {', '.join(STAGES)}.")
    jobs = [
        Job(a.name, s, stage or STAGES[-1])
        for s in study.seeds
        if seed in (None, s)
        for a in study.arms
        if arm in (None, a.name)
    ]
    first = makers(study)
    return sorted(jobs, key=lambda job: job.arm not in first) if len(first) < len(study.arms) else jobs


def run_study(
    chosen: Chosen, place: Place, jobs: list[Job], workers: int, *, quiet: bool, pilot: Path | None = None
) -> Outcome:
    """Run what is missing of `jobs`, then write the report if there are scores.

    Args:
        chosen: the study.
        place: where and how it runs.
        jobs: the runs that are wanted.
        workers: how many at a time.
        quiet: whether to say nothing on the way.
        pilot: a finished study whose variances the plan uses, instead of assumed ones.

    Raises:
        UserError: before anything runs, if a confirmatory study cannot detect what it claims.
    """
    started = time.monotonic()
    study, directory = chosen.study, place.study(chosen.study)
    with exclusive(directory / ".lock"):
        # A refused run must not touch the study's file: so the records are looked at first.
        missing = [job for job in jobs if not _covered(study, place, job)]
        planned = planned_once(chosen, place, pilot)
        if study.confirmatory and not chosen.overrides:
            require_detectable(study, planned)
        write_study_file(chosen, directory, planned)
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
    arm = study.arm(job.arm)
    known = identities(study, arm, job.seed)
    return all(is_done(place.stage(study, arm.name, job.seed, one), known[one]) for one in until(arm, job.until))


def planned_once(chosen: Chosen, place: Place, pilot: Path | None = None) -> dict[str, Any]:
    """The plan with which the study started: what it promised to detect does not change while it runs.

    Times are left out, since they say something about a machine, and the report is to be the same on every one.
    """
    directory = place.study(chosen.study)
    if has_records(directory) and (directory / STUDY_FILE).exists():
        stored: dict[str, Any] | None = read_json(directory / STUDY_FILE, "the study's file").get("plan")
        if stored is not None:
            return stored
    return designed(chosen.study, place.data, pilot)


def write_study_file(chosen: Chosen, directory: Path, planned: dict[str, Any] | None = None) -> None:
    """Write `study.json`, from which the report is built; what was edited after the first run is said in words."""
    study, path = chosen.study, directory / STUDY_FILE
    notes = [f"overrides were used ({', '.join(chosen.overrides)})"] if chosen.overrides else []
    registration = registered(study, directory, read_json(path, "the study's file") if path.exists() else None)
    changed = edits(study, registration, directory)
    if changed:
        notes.append(f"the study was edited after its first run: {', '.join(changed)}")
    value: dict[str, Any] = {
        "name": study.name,
        "title": chosen.docstring.split("\n")[0],
        "docstring": chosen.docstring,
        "preset": chosen.preset,
        "control": study.control,
        "treatment": study.treatment,
        "arms": [
            {"name": arm.name, "description": arm.description, "stages": list(stages_of(arm))} for arm in study.arms
        ],
        "seeds": list(study.seeds),
        "claims": [to_json(claim) for claim in study.primary],
        "registered_claims": registration["promised"]["claims"],
        COUNTED_AS: registration,
        "exploratory": "; ".join(notes) or None,
        "plan": planned,
        "study": to_json(study),
    }
    write_json_atomically(path, value)

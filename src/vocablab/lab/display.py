"""What a person sees while a study runs: progress bars on a terminal, one line per stage elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vocablab.lab.engine import Event, Job
from vocablab.lab.stages import STAGES

SHARE = {"prepare": 0.05, "pretrain": 0.5, "export": 0.02, "sft": 0.15, "rl": 0.1, "probe": 0.05, "evaluate": 0.13}
"""Rough share of a run's time by stage, for the overall bar only."""


class Display:
    """Listens to a study's events; writes to standard error so that standard output stays machine-readable."""

    def __init__(self, jobs: list[Job], quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._bars = self._console.is_terminal and not quiet
        self._quiet = quiet
        self._jobs = jobs
        self._through: dict[Job, float] = dict.fromkeys(jobs, 0.0)
        self._started: dict[tuple[Job, str], float] = {}
        self._finished = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=self._console,
            disable=not self._bars,
        )
        self._overall = self._progress.add_task(f"{len(jobs)} runs", total=float(len(jobs)), note="")
        self._tasks: dict[Job, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        job, stage = event.job, event.stage
        before = sum(SHARE[s] for s in STAGES[: STAGES.index(stage)])
        self._through[job] = before + SHARE[stage] * event.done / max(event.total, 1e-9)
        label = f"{job.arm} seed{job.seed}"
        if event.done == 0:
            self._started.setdefault((job, stage), time.monotonic())
        if self._bars:
            if job not in self._tasks:
                self._tasks[job] = self._progress.add_task(label, total=1.0, note="")
            note = f"{stage} {event.note}".strip()
            self._progress.update(self._tasks[job], completed=self._through[job], note=note)  # type: ignore[arg-type]
            self._progress.update(self._overall, completed=sum(self._through.values()))
            if stage == STAGES[-1] and event.done >= event.total == 1:
                self._progress.remove_task(self._tasks.pop(job))  # type: ignore[arg-type]
        # A stage's own last reading has its own total; its end is one of one.
        elif not self._quiet and event.done >= event.total == 1 and (started := self._started.pop((job, stage), None)):
            index = self._jobs.index(job) + 1
            seconds = time.monotonic() - started
            print(
                f"[{index}/{len(self._jobs)}] {label}: {stage} done in {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )

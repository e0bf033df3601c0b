"""The local engine: runs go to worker processes, progress comes back, a dead parent takes its workers along."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any

from vocablab.base.config import from_json, to_json
from vocablab.base.errors import RunError
from vocablab.base.files import exclusive
from vocablab.lab.catalog import declared
from vocablab.lab.run_context import Place, RunContext
from vocablab.lab.stages import make_vocabulary, run_stages
from vocablab.lab.study import Study


@dataclass(frozen=True)
class Job:
    """One run to do."""

    arm: str
    """Name of the arm."""
    seed: int
    """Seed of the run."""
    until: str
    """Last stage to run."""


@dataclass(frozen=True)
class Event:
    """What a worker says."""

    job: Job
    """Which run."""
    stage: str
    """Which of its stages."""
    done: float
    """Units through."""
    total: float
    """All units."""
    note: str
    """A short reading."""


_events: Any = None
_source: str = ""


def run_jobs(
    study: Study, source: str, place: Place, jobs: list[Job], workers: int, listen: Callable[[Event], None]
) -> dict[Job, list[str]]:
    """Run jobs in `workers` processes.

    Returns:
        For each job the stages that ran (empty where records covered everything).

    Raises:
        UserError, RunError: what the first failing job raised; jobs not yet begun are dropped.
    """
    context = multiprocessing.get_context("spawn")
    results: dict[Job, list[str]] = {}
    queue = context.Queue()
    listener = threading.Thread(target=_forward, args=(queue, listen), daemon=True)
    listener.start()
    threads = max(1, (os.cpu_count() or 1) // workers)
    setup = (queue, source, threads, os.getpid())
    packed = to_json(study)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=setup) as pool:
        pending: dict[Future[list[str]], Job] = {}
        waiting = iter(jobs)
        try:
            # As many at a time as there are workers: what the pool has queued it would run even after a failure.
            while pending or len(results) < len(jobs):
                for job in islice(waiting, workers - len(pending)):
                    pending[pool.submit(_work, packed, place, job)] = job
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    results[pending.pop(future)] = future.result()
        except BrokenProcessPool:
            raise RunError(
                "a worker process was killed (out of memory?); run the same command again to go on, "
                "with a lower --jobs if it repeats."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            queue.put(None)
            listener.join(timeout=5)
    return results


def _forward(queue: Any, listen: Callable[[Event], None]) -> None:
    while (event := queue.get()) is not None:
        listen(event)


def _start_worker(queue: Any, source: str, threads: int, parent: int) -> None:
    global _events, _source
    _events, _source = queue, source
    # A worker must be able to end although nobody reads its last words.
    queue.cancel_join_thread()
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _die_with(parent: int) -> None:
    """End this process when its parent is gone, so that a killed study leaves nobody writing into its runs."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _work(packed: dict[str, Any], place: Place, job: Job) -> list[str]:
    declared(_source)
    study: Study = from_json(Study, packed)
    report = _Reporter(job)
    context = RunContext(study, study.arm(job.arm), job.seed, place, report)
    with exclusive(place.study(study) / job.arm / f"seed{job.seed}" / ".lock"):
        return run_stages(context, job.until)


class _Reporter:
    """Sends progress to the parent, at most a few times a second but always the end of a stage."""

    def __init__(self, job: Job) -> None:
        self._job, self._last = job, 0.0

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        now = time.monotonic()
        if done >= total or done == 0 or now - self._last > 0.3:
            self._last = now
            _events.put(Event(self._job, stage, done, total, note))


def make_shared(study: Study, source: str, place: Place) -> None:
    """Make what all runs of a study share, in this process."""
    declared(source)
    make_vocabulary(study, place)

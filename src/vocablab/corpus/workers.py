"""Who does the work: this process, or worker processes on this machine. `vocablab.lab.ray_engine` is a cluster's.

What they produce is the same to the byte: documents are put in order by their keys, never by who was first.
"""

import multiprocessing
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

from vocablab.base.errors import RunError
from vocablab.corpus.assembly import assemble
from vocablab.corpus.encoding import encode_block, workplace
from vocablab.corpus.parts import Part
from vocablab.corpus.runs import Summary

NumberedPart = tuple[int, Part]
"""A part and its number in its source."""


class Engine(ABC):
    """Encodes blocks and assembles shards, results in the order of the work."""

    @abstractmethod
    def encode(self, directory: str, source: int, parts: list[NumberedPart]) -> Iterator[list[Summary]]:
        """`encode_block` for every block of `parts`, in order. The caller may stop early.

        Work that was handed out ahead may then still be going on where this engine cannot wait for it; what it finds
        is lost.
        """

    @abstractmethod
    def assemble(self, directory: str, wanted: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
        """`assemble` for every (split, number), in order."""


def blocks_of(directory: str, source: int, parts: list[NumberedPart]) -> Iterator[tuple[Any, ...]]:
    """The arguments of `encode_block`, one block after another."""
    for number, part in parts:
        for block in part.blocks(number):
            yield directory, source, part.name, block


class InProcess(Engine):
    """One after another, here."""

    def encode(self, directory: str, source: int, parts: list[NumberedPart]) -> Iterator[list[Summary]]:
        for arguments in blocks_of(directory, source, parts):
            yield encode_block(*arguments)

    def assemble(self, directory: str, wanted: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
        for split, number in wanted:
            yield assemble(directory, split, number)


class LocalWorkers(Engine):
    """Worker processes on this machine, for use in a ``with`` statement."""

    def __init__(self, jobs: int) -> None:
        """Start `jobs` workers when there is work."""
        self._jobs = jobs
        # A server forks workers that have imported everything already. To fork this process itself is not safe once any
        # library here runs threads.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["vocablab.corpus.assembly"])
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "LocalWorkers":
        self._pool = ProcessPoolExecutor(self._jobs, mp_context=self._context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._pool is not None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def warm_up(self, directory: str) -> None:
        """Have every worker read the job, as the first block would (a benchmark times blocks, not imports)."""
        assert self._pool is not None
        barrier = [self._pool.submit(_read_job, directory) for _ in range(4 * self._jobs)]
        for future in barrier:
            future.result()

    def encode(self, directory: str, source: int, parts: list[NumberedPart]) -> Iterator[list[Summary]]:
        yield from self._ordered(encode_block, blocks_of(directory, source, parts))

    def assemble(self, directory: str, wanted: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
        yield from self._ordered(assemble, ((directory, split, number) for split, number in wanted))

    def _ordered(self, function: Callable[..., Any], work: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Results in the order of `work`, of which only a few are handed out at a time: memory stays bounded."""
        assert self._pool is not None
        waiting: deque[Future[Any]] = deque()
        try:
            for arguments in work:
                waiting.append(self._pool.submit(function, *arguments))
                if len(waiting) > self._jobs + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise RunError(
                "a worker process was killed (is there enough memory?); the same command goes on from here."
            ) from None
        finally:
            # Work that has begun cannot be called back. It ends before anybody goes on: nothing is written to the job's
            # directory behind the back of a caller who removes it.
            wait([future for future in waiting if not future.cancel()])


def _read_job(directory: str) -> None:
    workplace(directory)

"""The problems of the DeepMind Mathematics data set (Saxton et al. 2019), generated here.

The package `mathematics-dataset` (github.com/google-deepmind/mathematics_dataset) draws from Python's and numpy's
global generators, which are seeded for every document and put back afterwards.
"""

import importlib
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from vocablab.base.errors import UserError
from vocablab.base.random_streams import stream_seed
from vocablab.corpus.sources import Written

LEVELS = ("easy", "medium", "hard")
"""Thirds of the range of entropy that the package calls train-easy, train-medium and train-hard."""
MAX_QUESTION, MAX_ANSWER = 160, 30
"""Longer problems are drawn again, as in the published set (`generate_settings` of the package)."""


@dataclass(frozen=True)
class MathematicsProblems(Written):
    """Documents of problems with their answers: ``Let k = ... What is k? 4``, one problem per line."""

    documents_count: int
    """How many documents."""
    problems_per_document: int = 10
    """Problems in a document, each from a module and a level drawn at random."""
    modules: tuple[str, ...] = ()
    """Beginnings of the names of the modules to draw from (``arithmetic``, ``numbers__gcd``); none: all of them."""

    @property
    def label(self) -> str:
        return "mathematics"

    @property
    def number(self) -> int:
        return self.documents_count

    def write(self, seed: int, index: int) -> str:
        chosen = self._chosen()
        rng = np.random.Generator(np.random.PCG64(stream_seed(seed, "mathematics", index)))
        lines = []
        with _seeded(stream_seed(seed, "mathematics problems", index)):
            for _ in range(self.problems_per_document):
                name = chosen[int(rng.integers(len(chosen)))]
                question, answer = _problem(all_modules()[name])
                lines.append(f"{question} {answer}")
        return "\n".join(lines) + "\n"

    def _chosen(self) -> list[str]:
        names = [n for n in all_modules() if not self.modules or n.partition("/")[2].startswith(self.modules)]
        if not names:
            raise UserError(f"MathematicsProblems.modules: no module begins with {' or '.join(self.modules)}.")
        return names


def _problem(module: Callable[[], Any]) -> tuple[str, str]:
    while True:
        problem = module()
        question, answer = str(problem.question), str(problem.answer)
        if len(question) <= MAX_QUESTION and len(answer) <= MAX_ANSWER:
            return question, answer


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generators of Python, numpy and sympy with a seed of their own for the block."""
    from sympy.core.random import rng as sympy_rng

    before, numpy_before, sympy_before = random.getstate(), np.random.get_state(), sympy_rng.getstate()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    sympy_rng.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
        sympy_rng.setstate(sympy_before)


@lru_cache(maxsize=1)
def all_modules() -> dict[str, Callable[[], Any]]:
    """Every training module by level and name: ``easy/arithmetic__add_or_sub``.

    Raises:
        UserError: if the package is not installed.
    """
    _mend()
    try:
        package = importlib.import_module("mathematics_dataset.modules.modules")
    except ImportError as error:
        raise UserError(
            f"the source mathematics needs the package mathematics-dataset ({error}): pip install 'vocablab[math]'."
        ) from None
    found: dict[str, Callable[[], Any]] = {}
    for number, level in enumerate(LEVELS):
        for name, module in _flat(package.train(partial(_third, number))):
            found[f"{level}/{name}"] = module
    return dict(sorted(found.items()))


def _third(number: int, entropy: tuple[float, float]) -> tuple[float, float]:
    low, high = entropy
    step = (high - low) / len(LEVELS)
    return low + number * step, low + (number + 1) * step


def _flat(modules: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, module in modules.items():
        if isinstance(module, dict):
            yield from _flat(module, f"{prefix}{name}__")
        else:
            yield prefix + name, module


def _mend() -> None:
    """Let release 1.0.1 run with sympy 1.14 and numpy 2, which moved or dropped three names that it uses, and let a
    seed decide what it draws: it shuffles the members of sets, whose order changes from process to process."""
    try:
        old, new = (importlib.import_module(f"sympy.solvers.diophantine{m}") for m in ("", ".diophantine"))
    except ImportError:
        return
    if not hasattr(old, "base_solution_linear"):
        old.base_solution_linear = new.base_solution_linear  # type: ignore[attr-defined]
    try:
        polynomials = importlib.import_module("mathematics_dataset.sample.polynomials")
    except ImportError:
        return
    if not isinstance(polynomials.np, _OldNumpy):
        polynomials.np = _OldNumpy()  # type: ignore[attr-defined]
        composition = importlib.import_module("mathematics_dataset.util.composition")
        composition.set = _OrderedSet  # type: ignore[attr-defined]
        composition._ALLOWED_SYMBOLS = _OrderedSet(sorted(composition._ALLOWED_SYMBOLS))  # type: ignore[attr-defined]


class _OrderedSet(set[Any]):
    """A set that lists its members in the order in which they came."""

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._order = dict.fromkeys(members)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def add(self, member: Any) -> None:
        self._order.setdefault(member)
        super().add(member)

    def update(self, *others: Iterable[Any]) -> None:
        for other in others:
            for member in other:
                self.add(member)

    def copy(self) -> "_OrderedSet":
        return _OrderedSet(self._order)

    def union(self, *others: Iterable[Any]) -> "_OrderedSet":
        found = self.copy()
        found.update(*others)
        return found

    def difference(self, *others: Iterable[Any]) -> "_OrderedSet":
        gone = set().union(*others)
        return _OrderedSet(member for member in self._order if member not in gone)


class _Settable(np.ndarray):
    """An array with the method `itemset` that numpy 2 dropped."""

    def itemset(self, index: Any, value: Any) -> None:
        self[index] = value


class _OldNumpy:
    """numpy as one module of the package expects it."""

    object = object

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def zeros(shape: Any, dtype: Any = float) -> np.ndarray:
        return np.zeros(shape, dtype).view(_Settable)

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> np.ndarray:
        return np.empty(shape, dtype).view(_Settable)

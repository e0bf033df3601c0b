"""Wrong answers that are nearly right, for the probability of the right one among them."""

from collections.abc import Callable, Iterable

from vocablab.base.random_streams import numpy_stream

RIVALS = 3
"""Wrong choices beside the right one."""


def near_answers(answer: int, neighbours: Iterable[int], key: str) -> tuple[int, ...]:
    """`RIVALS` wrong answers near the right one, the same for every question with this `key`.

    Drawn from `neighbours` (of the table), one, two or ten off, and the digits swapped; never the answer itself, and
    never negative where the answer is not.
    """
    digits = str(abs(answer))
    swapped = int(digits[:-2] + digits[-1] + digits[-2]) if len(digits) > 1 else answer
    # Two more, so that even 0 with no neighbours has three.
    offsets = (answer + offset for offset in (-10, -1, 1, 2, 10))
    candidates = [*neighbours, *offsets, swapped if answer >= 0 else -swapped]
    usable = [rival for rival in sorted(set(candidates)) if rival != answer and (rival >= 0 or answer < 0)]
    order = numpy_stream(0, "rivals", key).permutation(len(usable))
    return tuple(usable[int(i)] for i in order[:RIVALS])


def choices(write: Callable[[int], str], answer: int, rivals: tuple[int, ...], key: str) -> tuple[tuple[str, ...], int]:
    """The right continuation among its rivals, and its index: random, but always the same for a `key`.

    Args:
        write: the full continuation that ends in a given answer.
    """
    label = int(numpy_stream(0, "label", key).integers(len(rivals) + 1))
    answers = [*rivals[:label], answer, *rivals[label:]]
    return tuple(write(number) for number in answers), label


def table_neighbours(a: int, b: int) -> tuple[int, ...]:
    """The products next to ``a * b`` in the table."""
    return ((a - 1) * b, (a + 1) * b, a * (b - 1), a * (b + 1))

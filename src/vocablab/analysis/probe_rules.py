"""The words a probe page answers with, and the declared rules by which one measure earns its word.

A rule sees one measure (a row as in `findings.json`, with ``adjusted``, its p after Holm) and all measures of the same
model. It never sees a spectrum: rows that only grow with the answer have a peak too.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
Rule = Callable[[Row, Sequence[Row]], str]

YES, PART, UNCLEAR, NO, ABSENT = "yes", "in part", "not clear", "no", "not measured"
WORDS = (YES, PART, UNCLEAR, NO, ABSENT)
LEVEL = 0.05
HALF = 0.5
EVEN_TIMES = 1.5
"""So many times even attention is more than a little: masses have neither a test nor an interval."""
SAME_ROWS = 0.9
"""A CKA with the initial rows above this: training left them about as they were drawn."""

DECLARED = (
    (
        "Tests",
        "yes: the value is beyond its control and the p-value is below 0.05 after Holm’s adjustment over the headline "
        "measures of the same probe; not clear: below 0.05 only before it; no: neither, which means not found with so "
        "many rows, not proven absent. R2 and kappa must also exceed 0, a reciprocal rank also chance.",
    ),
    (
        "Shares of answers",
        "yes: the 95 % interval (Wilson, not adjusted) lies above a half and above the control; in part: above the "
        "control only; no: the share is not above the control; not clear: the rest.",
    ),
    (
        "Remainders",
        "only kappa counts, of the answer’s remainder with operands held out; with tokens held out at random, rows "
        "that hold operands tell the remainder too, so that alone is “not clear”. A spectrum never counts.",
    ),
    (
        "Training",
        "yes: no row is indistinguishable from the never-seen ones, and CKA with the initial rows is below 0.9; "
        "no: half of the rows or more are, or CKA is 0.9 or more.",
    ),
    (
        "Attention",
        "no test: the mass from the answer to the fact token, a mean over heads and over all layers after the first. "
        "yes: at least 1.5 times what even attention gives, and above the mass on the same text spelled; no: no more "
        "than even attention; not clear: the rest.",
    ),
    (
        "Composed rows, and tokens that stood in no text",
        "as tests, against the mean row, or, of tokens that stood in no text, against one another’s rows; yes only if "
        "at least half of the way from there to the trained row, or to what taught tokens reach, is covered, else in "
        "part.",
    ),
    (
        "Free, banned, forced",
        "as tests, of the same questions answered with tokens and without: an exact McNemar test of the questions that "
        "only one of the two gets right.",
    ),
    (
        "Several measures",
        "operands and answers are asked for one by one: yes if all say yes, no if all say no, in part if some say yes. "
        "Of kinds of grouping, of remainders and of tables of rows one is enough, since Holm accounts for the choice.",
    ),
)
"""Name and text of each rule, as the page states them."""

_CHANCE = re.compile(r"Chance: (-?\d+\.\d+)")
_EVEN = re.compile(r"even attention gives (\d+\.\d+)")


def even_of(note: str) -> float | None:
    """What even attention would give, as a note states it."""
    found = _EVEN.search(note)
    return float(found[1]) if found else None


def chance_of(note: str) -> float | None:
    """What chance would give, as a note states it."""
    found = _CHANCE.search(note)
    return float(found[1]) if found else None


def tested(row: Row, _: Sequence[Row]) -> str:
    """A test: beyond the control, and significant after the adjustment."""
    return _tested(row, row["control"])


def tested_above_zero(row: Row, _: Sequence[Row]) -> str:
    """The same of a number that is 0 where there is nothing: less than that is not found, whatever the control."""
    return _tested(row, max(0.0, row["control"] or 0.0))


def _tested(row: Row, floor: float | None, *, lower: bool = False) -> str:
    if floor is None or row["p"] is None:
        return UNCLEAR
    beyond = row["value"] < floor if lower else row["value"] > floor
    if not beyond or row["p"] >= LEVEL:
        return NO
    return YES if row["adjusted"] < LEVEL else UNCLEAR


def share(row: Row, _: Sequence[Row]) -> str:
    """A share of answers with its interval."""
    control = row["control"] or 0.0
    if row["value"] <= control:
        return NO
    if row["low"] is None or row["low"] <= control:
        return UNCLEAR
    return YES if row["low"] > HALF else PART


def none_untrained(row: Row, _: Sequence[Row]) -> str:
    """The share of rows that cannot be told from never-seen ones."""
    return YES if row["value"] == 0 else NO if row["value"] >= HALF else PART


def changed(row: Row, _: Sequence[Row]) -> str:
    """CKA with the rows that training started from."""
    return YES if row["value"] < SAME_ROWS else NO


def attended(row: Row, _: Sequence[Row]) -> str:
    """Attention mass beside even attention and the same text spelled."""
    even = even_of(row["note"])
    if even is None or row["control"] is None:
        return UNCLEAR
    if row["value"] <= even:
        return NO
    return YES if row["value"] >= EVEN_TIMES * even and row["value"] > row["control"] else UNCLEAR


def composed(row: Row, every: Sequence[Row]) -> str:
    """A composed row, or one that was never taught, beside the mean row (its control) and the trained row."""
    lower = row["metric"] == "answer bits"
    chance, floor = chance_of(row["note"]), row["control"]
    if floor is not None and chance is not None:
        floor = max(floor, chance)
    word = _tested(row, floor, lower=lower)
    if word != YES:
        return word
    trained = _trained(row, every)
    way = None if trained is None else trained["value"] - row["control"]
    return YES if way and (row["value"] - row["control"]) / way >= HALF else PART


def _trained(row: Row, every: Sequence[Row]) -> Row | None:
    """The measure of the trained rows: of the same facts, or, of facts that were never taught, of the others."""
    target = row["target"].replace("composed row", "trained row").replace(*_UNTAUGHT)
    keys = ("probe", "place", "metric")
    return next((one for one in every if one["target"] == target and all(one[k] == row[k] for k in keys)), None)


_UNTAUGHT = ("own row of untaught facts", "taught row of taught facts")

TESTS = (tested, tested_above_zero, composed)
"""The rules that look at a p-value; no other measure belongs to a family of tests."""


def all_of(words: Sequence[str]) -> str:
    """The word of several questions asked one by one; what was not measured is left out."""
    known = [word for word in words if word != ABSENT]
    if not known:
        return ABSENT
    if len(set(known)) == 1:
        return known[0]
    return PART if {YES, PART} & set(known) else UNCLEAR


def any_of(words: Sequence[str]) -> str:
    """The word of several chances to find the same thing."""
    return next((word for word in (YES, PART, UNCLEAR, NO) if word in words), ABSENT)

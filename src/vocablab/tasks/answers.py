"""The one answer extractor. It reads rendered text only, so the digits of a token's name can never be an answer.

There are three demanded places, each with a strict and a flexible reading:

- a worked answer: after the last mark (``####``, ``The answer is``, ``答案是``), else the last number;
- a bare continuation (``6 * 9 =``): what it starts with, else the first number, because a base model goes on with
  the next question;
- a bare continuation in words (``six times nine is``): the same, also in English words.

Fractions, mixed numbers and percents are read only where `fractions` asks for them: in English, ``5/6`` at the end of
a solution is two numbers, and is read as such.
"""

import re
from fractions import Fraction

from vocablab.facts.numerals import SCRIPTS, read_english

EXTRACTOR_VERSION = "2"
"""Raised when any answer could be read differently; stands in every score row."""

_UNSIGNED = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?"
_NUMBER = rf"-?\$?{_UNSIGNED}"
# Digits are bounded: beyond 30 it is no answer but a loop, and Python refuses to read very long numbers.
_PART = r"\(?[0-9]{1,30}\)?"
_RATIONAL = (
    r"(?:(?<![0-9)%])-)?(?:"
    rf"(?<![0-9./])[0-9]{{1,30}}\({_PART}/{_PART}\)"  # mixed: 1(5/6)
    rf"|\({_PART}/{_PART}\)"  # (5/6), ((5)/(6))
    r"|(?<![0-9./])[0-9]{1,30}/[0-9]{1,30}(?![0-9]|[./][0-9])"  # 5/6
    rf"|{_UNSIGNED}%?)"
)
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
_MARK = re.compile(r"####|The answer is|答案(?:是|为|(?=[:：]))")
_FRACTION = re.compile(r"(?:([0-9]+)(?=\())?\(*([0-9]+)\)?/\(?([0-9]+)\)*")
_RESTATED = re.compile(rf"\s*{_NUMBER}\s*[*×·+/÷−-]\s*{_NUMBER}\s*(?:=|is|equals)\s*")
_IN_WORDS = re.compile(rf"{_NUMBER}|{SCRIPTS['words']}")
_WITHOUT_SIGN = re.compile(rf"{_UNSIGNED}|{SCRIPTS['words']}")
_WIDE = str.maketrans("０１２３４５６７８９．％－（）／＄", "0123456789.%-()/$")
# A wide comma is punctuation, except between groups of wide digits.
_WIDE_GROUP = re.compile("(?<=[０-９])，(?=[０-９]{3}(?![０-９]))")


def normalise(number: str) -> str:
    """One spelling per number: no separators, currency, leading or trailing zeros: ``$1,080.50`` is ``1080.5``.

    Fractions are reduced (``1(5/6)`` is ``11/6``), a percent keeps its sign (``15.0%`` is ``15%``). Empty for a
    fraction over zero and for an empty text, which are no numbers.
    """
    plain = re.sub(r"[,$\s]", "", _narrow(number))
    sign, digits = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    if fraction := _FRACTION.fullmatch(digits):
        whole, over, under = (int(part or 0) for part in fraction.groups())
        return sign + str(Fraction(over, under) + whole) if under else ""
    if not digits:
        return ""
    digits, percent = digits.removesuffix("%"), "%" if digits.endswith("%") else ""
    before, _, after = digits.partition(".")
    after = after.rstrip("0")
    before = before.lstrip("0") or "0"
    text = f"{before}.{after}" if after else before
    return (text if text == "0" else sign + text) + percent


def strict_answer(text: str, *, fractions: bool = False) -> str:
    """The number right after the last ``####``, ``The answer is`` or ``答案是``; empty if there is none."""
    cleaned = _cleaned(text)
    marks = list(_MARK.finditer(cleaned))
    if not marks:
        return ""
    found = re.compile(rf"[\s:：]*({_RATIONAL if fractions else _NUMBER})").match(cleaned, marks[-1].end())
    return normalise(found.group(1)) if found else ""


def flexible_answer(text: str, *, fractions: bool = False) -> str:
    """The last number in the text; empty if there is none."""
    found = re.findall(_RATIONAL if fractions else _NUMBER, _cleaned(text))
    return normalise(found[-1]) if found else ""


def single_answer(text: str) -> str:
    """The number, fraction, mixed number or percent that is the whole of the text; empty if it is something else."""
    narrow = _narrow(text).strip()
    return normalise(narrow) if re.fullmatch(_RATIONAL, narrow) else ""


def leading_answer(text: str) -> str:
    """The number that a bare continuation starts with, nothing but space before it; empty if there is none."""
    found = re.match(rf"\s*({_NUMBER})", _cleaned(text))
    return normalise(found.group(1)) if found else ""


def first_answer(text: str) -> str:
    """The first number of a bare continuation; of an equation that it starts with (a fact token, rendered), the result.

    Empty if there is none.
    """
    cleaned = _cleaned(text)
    restated = _RESTATED.match(cleaned)
    found = re.compile(_NUMBER).search(cleaned, restated.end() if restated else 0)
    return normalise(found.group()) if found else ""


def leading_spelled(text: str) -> str:
    """As `leading_answer`, in digits or English words: `` fifty-four.`` is ``54``."""
    found = re.compile(rf"\s*({_IN_WORDS.pattern})").match(_cleaned(text))
    return _spelled(found.group(1)) if found else ""


def first_spelled(text: str) -> str:
    """As `first_answer`, in digits or English words."""
    cleaned = _cleaned(text)
    restated = _RESTATED.match(cleaned)
    found = _IN_WORDS.search(cleaned, restated.end() if restated else 0)
    return _spelled(found.group()) if found else ""


def numbers(text: str) -> list[str]:
    """Every number of a text in normal form and in order, in digits or English words, signs left out."""
    return [spelled for found in _WITHOUT_SIGN.findall(_narrow(text)) if (spelled := _spelled(found))]


def value(answer: str) -> Fraction | None:
    """What an answer in normal form is worth, exactly; None if it is no number."""
    digits = answer.removesuffix("%")
    if len(digits) > 200 or not re.fullmatch(r"-?[0-9]+(?:\.[0-9]+|/[0-9]*[1-9][0-9]*)?", digits):
        return None
    return Fraction(digits) / (100 if answer.endswith("%") else 1)


def same_answer(given: str, wanted: str) -> bool:
    """Whether two extracted answers agree in value; an empty one agrees with nothing, not even another."""
    if not given or not wanted:
        return False
    worth = value(given)
    return given == wanted or (worth is not None and worth == value(wanted))


def _cleaned(text: str) -> str:
    return _narrow(_ANNOTATION.sub("", text))


def _narrow(text: str) -> str:
    return _WIDE_GROUP.sub(",", text).translate(_WIDE)


def _spelled(found: str) -> str:
    if found[0].isalpha():
        # The pattern takes all number words in a row; the answer is the longest start that is one number.
        ends = [place.start() for place in re.finditer(r"[ -]|$", found)]
        numbers = (read_english(found[:end]) for end in reversed(ends))
        return next((str(number) for number in numbers if number is not None), "")
    return normalise(found)

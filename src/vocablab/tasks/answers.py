"""The one answer extractor. It reads rendered text only, so the digits of a token's name can never be an answer."""

import re

EXTRACTOR_VERSION = "1"
"""Raised when any answer could be read differently; stands in every score row."""

_NUMBER = re.compile(r"-?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
_MARKS = ("####", "The answer is")


def normalise(number: str) -> str:
    """One spelling per number: no separators, currency, leading or trailing zeros: ``$1,080.50`` is ``1080.5``."""
    plain = number.replace(",", "").replace("$", "")
    sign, digits = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    whole, _, fraction = digits.partition(".")
    fraction = fraction.rstrip("0")
    whole = whole.lstrip("0") or "0"
    text = f"{whole}.{fraction}" if fraction else whole
    return text if text == "0" else sign + text


def strict_answer(text: str) -> str:
    """The number right after the last ``####`` or ``The answer is``; empty if there is none."""
    cleaned = _ANNOTATION.sub("", text)
    place = max((cleaned.rfind(mark) + len(mark) for mark in _MARKS if mark in cleaned), default=-1)
    if place < 0:
        return ""
    match = re.match(rf"[\s:]*({_NUMBER.pattern})", cleaned[place:])
    return normalise(match.group(1)) if match else ""


def flexible_answer(text: str) -> str:
    """The last number in the text; empty if there is none."""
    found = _NUMBER.findall(_ANNOTATION.sub("", text))
    return normalise(found[-1]) if found else ""


def same_answer(given: str, wanted: str) -> bool:
    """Whether two extracted answers agree; an empty one agrees with nothing, not even another."""
    return bool(given) and given == wanted

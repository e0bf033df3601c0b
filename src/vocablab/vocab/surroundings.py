"""Whether a candidate stands by itself, or is part of something else: rule 2's right to refuse.

It would rather miss a site than take a wrong one: a candidate next to an operator, a unit, a longer number or an
identifier is left alone, and the reason is told.
"""

import re
from string import ascii_letters
from unicodedata import category

from vocablab.facts.numerals import ONES, TENS

OPERATORS = frozenset("+-*/·^=%‐‑‒–—―﹣:!°－＊")
"""Signs that join a number to an expression, beside the mathematical symbols of Unicode."""
_GLUE_BEFORE = frozenset(".,#@\\_'’~&|§¶№")
_GLUE_AFTER = frozenset("#@\\_&|([{°′″‰‱℃℉")
_ARROWS = range(0x2190, 0x2200)
_GLUED_CATEGORIES = frozenset(("Sc", "Mn", "Me", "Mc", "Cf", "Pc"))
"""Unicode's currency signs, combining marks, invisible characters and low lines: what touches a number changes it."""
_THOUSANDS = frozenset(" \u00a0\u2009\u202f")
_NUMERALS_ZH = frozenset("零〇一二三四五六七八九十百千万亿两第负点")
_SCALES_ZH = _NUMERALS_ZH | frozenset("分倍多几余")
_WORDS_BEFORE = frozenset("times plus minus by of over mod divided multiplied squared cubed negative point x".split())
_NUMBERS_BEFORE = frozenset([*ONES, *TENS[2:], "hundred", "thousand", "million"])
_WORDS_AFTER = re.compile(
    r"[ \t]*(?:times|plus|minus|divided|multiplied|squared|cubed|mod|over|percent|point|x"
    r"|hundred|thousand|million|billion|trillion|dozen|tenths?|hundredths?|thirds?|halves)\b"
    r"|[ \t]*x[0-9]|[ \t]+and[ \t]+(?:a|one|two|three)[ \t-]+(?:half|third|quarter|fourth|fifth)",
    re.I,
)
_ZH_BEFORE = re.compile("(?:[乘除加减]|[乘除]以)\\Z")
_ZH_AFTER = re.compile("[乘除加减]")
_DIGIT_TOKEN = r"\[[0-9]:[a-z_]+\]|<N_[0-9]+>"
_TOKEN = rf"(?:{_DIGIT_TOKEN}|<PAUSE>|<[A-Z]+(?:_[^\s<>]+)+>)"
"""The name of an added token. It stands for what may be why its neighbour was refused: a second pass refuses it too."""
_TOKEN_BEFORE, _TOKEN_AFTER = re.compile(rf"{_TOKEN}\Z"), re.compile(_TOKEN)
_DIGIT_BEFORE = re.compile(rf"(?:[0-9]|{_TOKEN})\Z")
"""Whatever token it is: the text that it stands for may end in a digit."""
_MORE_DIGITS = re.compile(r"[ \u00a0\u2009\u202f](?:[0-9]{3}(?![0-9]|[ ]*[-+*×/=])|[0-9]+[/⁄][0-9]+(?![0-9 ]*=))")
"""After an answer: the next group of ``54 000``, the fraction of ``54 1/2``."""
_DIMENSION = re.compile(
    r"[ \t]*-?(?:in|inch|inches|ft|foot|feet|yd|yards?|mm|cm|dm|m|km|met(?:er|re)s?|px|pixels?|grid|matrix|matrices|"
    r"board|table|square|truck|tiles?|array)\b",
    re.I,
)
# A comparison, where a tag (<b>6*9=54</b>) would be prose.
_COMPARED_BEFORE = re.compile(r"<\Z|(?:[\w)\]>]|[ \t]|\A)>\Z")
_COMPARED_AFTER = re.compile(rf"[<>](?:[0-9(= \t]|{_TOKEN}|\Z)")
_TAG_BEFORE = re.compile(r"<[A-Za-z/][^<>]*>\Z")
_NEAR = 40
"""Characters looked at on each side: longer than any word of the lists with the spaces around it."""


def refusal(text: str, start: int, end: int, *, is_annotation: bool, is_question: bool) -> str | None:
    """Why ``text[start:end]`` does not stand by itself; None if it does.

    Args:
        text: the raw text.
        start: first character of the candidate.
        end: one past its last.
        is_annotation: whether it is a calculator annotation ``<<6*9=54>>54``, which may follow a currency sign.
        is_question: whether it has no answer (``6 * 9``): then a unit after it makes it a dimension.
    """
    if _in_math_mode(text, start, end):
        return None
    if is_annotation:
        before = "inside a longer run of <" if text[start - 1 : start] == "<" else None
    else:
        before = _before(text, start)
    return before or _after(text, start, end, is_question)


def _in_math_mode(text: str, start: int, end: int) -> bool:
    """``$6 \\times 9 = 54$`` or ``\\(6 \\times 9 = 54\\)``: the candidate is all there is between the marks."""
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if text.endswith(opening, 0, start) and text.startswith(closing, end):
            first, last = start - len(opening), end + len(closing)
            if _TOKEN_BEFORE.search(text[max(0, first - _NEAR) : first]) or _TOKEN_AFTER.match(text, last):
                return False
            outside = text[max(0, first - 1) : first] + text[last : last + 1]
            return not any(c.isalnum() or c in "$\\" for c in outside)
    return False


def _before(text: str, start: int) -> str | None:
    line = text[max(0, start - _NEAR) : start]
    line = line[max(line.rfind("\n"), line.rfind("\r")) + 1 :]
    if not line:
        return None
    near = line[-1]
    if near in _NUMERALS_ZH:
        return f"part of a number after {near}"
    inches = near == '"' and _DIGIT_BEFORE.search(line[:-1])
    if _touches(near) or near in _GLUE_BEFORE or line.endswith("<<") or inches:
        return f"glued to {near} before it"
    if near in _THOUSANDS and line[-2:-1].isdigit() and re.match("[0-9]{3}(?![0-9])", text[start : start + 4]):
        return "part of a number in groups of three"
    if near in "([{":
        # f(6*9=54) is code or a function, a parenthesis after a space is prose.
        outside = line[:-1]
        return None if not outside or outside[-1].isspace() or _is_ideograph(outside[-1]) else "an argument in brackets"
    stripped = line.rstrip(" \t\u00a0\u2009\u202f")
    if _TOKEN_BEFORE.search(stripped):
        return "beside a token"
    if stripped and _is_operator_before(stripped):
        return f"part of an expression after {stripped[-1]}"
    if _ZH_BEFORE.search(line):
        return f"part of an expression after {near}"
    tail = line.rstrip(" \t-")
    word = tail[len(tail.rstrip(ascii_letters)) :]
    if word.lower() in _NUMBERS_BEFORE and text[start].isalpha():
        return f"part of a number after {word}"
    return f"part of an expression after {word}" if word.lower() in _WORDS_BEFORE else None


def _is_operator_before(line: str) -> bool:
    if _COMPARED_BEFORE.search(line):
        return not _TAG_BEFORE.search(line)
    return _is_operator(line[-1]) and not _ends_a_clause(line)


def _ends_a_clause(line: str) -> bool:
    """A colon after a word introduces a fact; a time or a ratio has a digit before it. Likewise ``wow!``, and the
    end of a bold heading (``**Answer:**``)."""
    if line.endswith((":**", ".**", "!**")):
        line = line[:-2]
        return line[-2:-1].isalpha()
    return line[-1] in ":!" and len(line) > 1 and line[-2].isalpha()


def _after(text: str, start: int, end: int, is_question: bool) -> str | None:
    rest = re.split("[\n\r]", text[end : end + _NEAR], maxsplit=1)[0]
    if not rest:
        return None
    near = rest[0]
    if near in _SCALES_ZH:
        return f"part of a number before {near}"
    if _touches(near) or near in _GLUE_AFTER or rest.startswith(">>"):
        return f"glued to {near} after it"
    if near in "'\"" and near not in text[max(0, start - _NEAR) : start]:
        return "feet, minutes or inches"
    stripped = rest.lstrip(" \t\u00a0\u2009\u202f")
    if _TOKEN_AFTER.match(stripped):
        return "beside a token"
    if near in ".,'’:．" and (_TOKEN_AFTER.match(rest, 1) or (rest[1:2].isalnum() and not _is_ideograph(rest[1]))):
        return f"glued to {rest[:2]} after it"
    if near in ":!" and not (is_question and rest.startswith("!")):
        return None
    if stripped and (_COMPARED_AFTER.match(stripped) or _is_operator(stripped[0])):
        return f"part of an expression before {stripped[0]}"
    if _MORE_DIGITS.match(rest):
        return "part of a longer number"
    word = _WORDS_AFTER.match(rest) or _ZH_AFTER.match(rest) or (_DIMENSION.match(rest) if is_question else None)
    return f"changed by {word.group().strip()} after it" if word else None


def _touches(character: str) -> bool:
    """Whether a character without a space to a number is part of it: a letter, a digit, a currency sign, a mark."""
    if character.isascii():
        return character.isalnum() or character == "$"
    return (character.isalnum() and not _is_ideograph(character)) or category(character) in _GLUED_CATEGORIES


def _is_operator(character: str) -> bool:
    if character.isascii() or character in OPERATORS:
        return character in OPERATORS
    return category(character) == "Sm" and ord(character) not in _ARROWS


def _is_ideograph(character: str) -> bool:
    """Chinese text has no spaces: an ideograph beside a number is a word of its own."""
    return "\u4e00" <= character <= "\u9fff" and character not in _NUMERALS_ZH

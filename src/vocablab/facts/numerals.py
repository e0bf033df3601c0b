"""How a text writes a whole number: digits, English words, full-width digits, Chinese numerals.

Every script has a name, a pattern that finds candidates, a reader that is strict, and writers. A writer's one-letter
style stands in a span's form (``{c:w}``), so that ``fifty-four`` is restored as it was.
"""

import re
from collections.abc import Callable

ONES = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen".split()
)
TENS = tuple("- - twenty thirty forty fifty sixty seventy eighty ninety".split())
CHINESE_DIGITS = "零一二三四五六七八九"
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
HALF_WIDTH = str.maketrans("０１２３４５６７８９", "0123456789")

_WORD = f"(?ai:{'|'.join(sorted([*ONES, *TENS[2:], 'hundred', 'thousand'], key=len, reverse=True))})(?![A-Za-z])"
_NINE = "[一二三四五六七八九]"

# Digits and words are bounded, far above any fact's numbers, so that no text makes the search slow.
SCRIPTS: dict[str, str] = {
    "digits": "[0-9]{1,20}",
    "words": rf"(?<![A-Za-z]){_WORD}(?:(?:-|[ ]|[ ]and[ ]){_WORD}){{0,8}}",
    "full": "[０-９]{1,20}",
    "zh": f"(?:{_NINE}?十{_NINE}?|{_NINE})",
    "zh_digit": _NINE,
    "zh_ten": f"{_NINE}?十{_NINE}?",
}
"""Pattern of each script; only what the reader also accepts is a number."""


def write_english(value: int) -> str:
    """``fifty-four``, ``one hundred twenty-one``; below a million.

    Raises:
        ValueError: outside 0 to 999,999.
    """
    if not 0 <= value < 1_000_000:
        raise ValueError(f"{value} has no English words here")
    if value < 20:
        return ONES[value]
    if value < 100:
        return TENS[value // 10] + (f"-{ONES[value % 10]}" if value % 10 else "")
    unit, name = (1000, "thousand") if value >= 1000 else (100, "hundred")
    rest = f" {write_english(value % unit)}" if value % unit else ""
    return f"{write_english(value // unit)} {name}{rest}"


def read_english(text: str) -> int | None:
    """The number that `text` spells, with or without hyphens and "and"; None if it is no well-formed number."""
    words = [w for w in re.split(r"[ -]", text.lower()) if w != "and"]
    total = group = 0
    for word in words:
        if word in ONES:
            group += ONES.index(word)
        elif word in TENS[2:]:
            group += 10 * TENS.index(word)
        elif word == "hundred":
            group *= 100
        elif word == "thousand":
            total, group = total + 1000 * group, 0
        else:
            return None
    value = total + group
    # Writing it again refuses what only adds up, such as "fifty fifteen".
    return value if value < 1_000_000 and write_english(value).replace("-", " ") == " ".join(words) else None


def write_chinese(value: int) -> str:
    """``五十四``, ``十二``; below a hundred.

    Raises:
        ValueError: outside 0 to 99.
    """
    if not 0 <= value < 100:
        raise ValueError(f"{value} is written below a hundred only")
    if value < 10:
        return CHINESE_DIGITS[value]
    tens = "" if value < 20 else CHINESE_DIGITS[value // 10]
    return f"{tens}十{CHINESE_DIGITS[value % 10] if value % 10 else ''}"


def read(text: str) -> int | None:
    """The whole number that `text` writes in any script; None for leading zeros and malformed numbers."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 20 and (len(text) == 1 or text[0] != "0") else None
    if text[0] in "０１２３４５６７８９":
        return read(text.translate(HALF_WIDTH))
    if text.isascii():
        return read_english(text)
    for value in range(1, 100):
        if text in (write_chinese(value), _one_ten(value)):
            return value
    return None


def _one_ten(value: int) -> str:
    """The rhyme's ten: ``二五一十``."""
    written = write_chinese(value)
    return f"一{written}" if 10 <= value < 20 else written


WRITERS: dict[str, Callable[[int], str]] = {
    "": str,
    "w": write_english,
    "W": lambda value: write_english(value).capitalize(),
    "s": lambda value: write_english(value).replace("-", " "),
    "z": write_chinese,
    "y": _one_ten,
    "f": lambda value: str(value).translate(FULL_WIDTH),
}
"""Ways to write a number, by style."""


def style_of(text: str, value: int) -> str | None:
    """The style that writes `value` as `text`, or None if none does (say, odd capitals)."""
    for style, write in WRITERS.items():
        try:
            if write(value) == text:
                return style
        except ValueError:
            continue
    return None


class Numeral(int):
    """A number that ``format`` writes in a style: ``f"{Numeral(54):w}"`` is ``fifty-four``."""

    def __format__(self, style: str) -> str:
        return WRITERS[style](int(self))

"""Amounts as people write them on a command line: 20M, 10B."""

from vocablab.base.errors import UserError

FACTORS = {"K": 10**3, "M": 10**6, "B": 10**9}


def amount(flag: str, text: str) -> int:
    """The number that `text` says, such as 500000, 1_000, 20M or 10B.

    Raises:
        UserError: naming `flag`, for anything else, and for less than 1.
    """
    cleaned = text.replace("_", "").replace(",", "").upper()
    factor = FACTORS.get(cleaned[-1:], 1)
    try:
        value = float(cleaned[:-1] if factor > 1 else cleaned) * factor
    except ValueError:
        value = 0.0
    if not 1 <= value < 1e15:
        raise UserError(f"{flag} {text}: it is an amount such as 20M or 10B.")
    return round(value)

"""Compiles a family's forms into one pattern, and writes a fact back in the form it was found in."""

import re
from dataclasses import dataclass
from functools import lru_cache

from vocablab.facts.fact import COMMUTATIVE, Fact
from vocablab.facts.families import ANSWER, OPERANDS, Family
from vocablab.facts.numerals import SCRIPTS, Numeral, read, style_of
from vocablab.vocab.region_search import RegionSearch

SPACE = "[ \t\u00a0\u2009\u202f]"
"""White space inside a site: never a line break. No-break and thin spaces are how typesetters write ``6 × 9``."""
_SOME, _ANY = f"{SPACE}{{1,8}}", f"{SPACE}{{0,8}}"
# Bounded: a search must not walk along a page of spaces from every one of them.
_LOOSE_ANY = f"{SPACE}*"
_LOOSE = {
    name: re.sub(r"\(\?<?![^()]*\)", "", pattern).replace("(?ai:", "(?:").replace("{1,20}", "+").replace("{0,8}", "*")
    for name, pattern in SCRIPTS.items()
}
"""The scripts' patterns without look-around and without bounds."""
_ELEMENT = re.compile(r"\{([a-h])(?::(\w+))?\}|\(([^()]*)\)|( +)|([^{}() ]+|.)")


@dataclass(frozen=True)
class _Number:
    letter: str
    script: str | None


@dataclass(frozen=True)
class _Literal:
    alternatives: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A candidate: a stretch of text with the shape of one of a family's forms."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    question_end: int
    """One past the part that names the operands."""
    numbers: tuple[tuple[str, int, int], ...]
    """Placeholder letter, start and end of each number, in text order."""
    form: str
    """The form that matched."""
    is_question: bool
    """Whether it names the operands only."""


@dataclass(frozen=True)
class Forms:
    """All forms of a family in one pattern."""

    search: RegionSearch
    """All forms as alternatives of one pattern."""
    forms: tuple[str, ...]
    """The form of each alternative."""
    letters: tuple[tuple[tuple[str, str], ...], ...]
    """For each alternative, its numbers: group name and placeholder letter, in text order."""
    statements: int
    """How many of the forms state the answer; those after them are questions."""

    def candidates(self, text: str) -> list[Found]:
        """Every stretch of `text` with the shape of a form, from the left, without overlap."""
        found = []
        for match in self.search.finditer(text):
            assert match.lastgroup is not None
            index = int(match.lastgroup[1:])
            numbers = tuple((letter, *match.span(group)) for group, letter in self.letters[index])
            is_question = index >= self.statements
            end = match.end() if is_question else match.start(f"q{index}")
            found.append(Found(*match.span(), end, numbers, self.forms[index], is_question))
        return found


@lru_cache(maxsize=64)
def compiled(family: Family, weak: bool) -> Forms:
    """The forms of a family, and with `weak` its questions after them."""
    written = (*family.forms, *(family.questions if weak else ()))
    parts, letters = [], []
    for index, form in enumerate(written):
        pattern, groups = _alternative(form, index, family.scripts)
        parts.append(f"(?P<f{index}>{pattern})")
        letters.append(groups)
    search = RegionSearch(re.compile("|".join(parts)), _looser(written, family.scripts))
    return Forms(search, written, tuple(letters), len(family.forms))


def _looser(forms: tuple[str, ...], scripts: tuple[str, ...]) -> tuple[str, ...]:
    """Match wherever one of `forms` does: number, literal, number, without what must not stand around them.

    One expression per script of a first number: together they take two thirds of the time of one for all.
    """
    default = "|".join(_LOOSE[s] for s in scripts)
    parts: dict[str, list[str]] = {}
    for form in forms:
        elements, spaced = _elements(form)
        first = elements[0]
        begins = [first.script] if isinstance(first, _Number) and first.script else list(scripts)
        for script in begins if isinstance(first, _Number) else [""]:
            out = []
            for element, space in zip(elements, spaced, strict=True):
                if isinstance(element, _Number):
                    numbers = _LOOSE[script] if element is first else _LOOSE.get(element.script or "", default)
                    out.append(f"{_LOOSE_ANY if space else ''}(?:{numbers})")
                else:
                    options = "|".join(re.escape(text) for text in element.alternatives)
                    out.append(f"{_LOOSE_ANY if space else ''}(?:{options}){_LOOSE_ANY}")
            parts.setdefault(script, []).append("".join(out))
    return tuple(f"(?i)(?:{'|'.join(own)})" for own in parts.values())


def _alternative(form: str, index: int, scripts: tuple[str, ...]) -> tuple[str, tuple[tuple[str, str], ...]]:
    elements, spaced = _elements(form)
    default = "|".join(SCRIPTS[s] for s in scripts)
    answer_at = next((i for i, e in enumerate(elements) if isinstance(e, _Number) and e.letter == ANSWER), None)
    question_before = answer_at
    if answer_at is not None and answer_at and isinstance(elements[answer_at - 1], _Literal):
        question_before = answer_at - 1
    out: list[str] = []
    groups: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for i, element in enumerate(elements):
        before = elements[i - 1] if i else None
        if i == question_before:
            out.append(f"(?P<q{index}>)")
        if isinstance(element, _Literal):
            after_number = i + 1 < len(elements) and isinstance(elements[i + 1], _Number)
            out.append(_literal(element, spaced[i], before, after_number and spaced[i + 1]))
            continue
        if spaced[i] and isinstance(before, _Number):
            out.append(_SOME)
        group = f"n{index}_{len(groups)}"
        if element.letter in seen:
            # The same number again, in the same digits.
            out.append(f"(?P<{group}>(?P={seen[element.letter]}))")
        else:
            digits = SCRIPTS[element.script] if element.script else default
            first = "(?<![0-9])" if not out or out == [f"(?P<q{index}>)"] else ""
            out.append(f"{first}(?P<{group}>{digits})")
            seen[element.letter] = group
        groups.append((group, element.letter))
    return "".join(out), tuple(groups)


def _elements(form: str) -> tuple[list[_Number | _Literal], list[bool]]:
    """The numbers and literals of a form, and for each whether a space stands before it."""
    elements: list[_Number | _Literal] = []
    spaced: list[bool] = []
    space = False
    for letter, script, alternatives, blank, literal in _ELEMENT.findall(form):
        if blank:
            space = True
            continue
        if letter:
            elements.append(_Number(letter, script or None))
        else:
            elements.append(_Literal(tuple(alternatives.split("|")) if not literal else (literal,)))
        spaced.append(space)
        space = False
    return elements, spaced


def _literal(literal: _Literal, space_before: bool, before: _Number | _Literal | None, space_after: bool) -> str:
    options = []
    for text in literal.alternatives:
        # ASCII: the long s of ſix is not the s of six.
        written = f"(?ai:{re.escape(text)})" if _is_word(text[:1], text) else re.escape(text)
        if space_before:
            needed = _is_word(text[:1], text) or (
                isinstance(before, _Literal) and all(_is_word(t[-1:], t) for t in before.alternatives)
            )
            written = f"{_SOME if needed else _ANY}{written}"
        if space_after:
            written += _SOME if _is_word(text[-1:], text) else _ANY
        options.append(written)
    return f"(?:{'|'.join(options)})"


def _is_word(edge: str, text: str) -> bool:
    """Whether a literal is a word at this edge, which must not run into its neighbour. The letter x is a sign."""
    return edge.isascii() and edge.isalpha() and len(text) > 1 and not text.startswith("\\")


def form_of(text: str, start: int, end: int, numbers: tuple[tuple[str, int, int], ...], swap: bool) -> str:
    """The form of ``text[start:end]``: its raw characters, with each number as a placeholder and its style.

    Args:
        text: the raw text.
        start: first character.
        end: one past the last.
        numbers: letter, start and end of each number; those outside the stretch are left out.
        swap: whether the fact has the two operands the other way round.
    """
    out, position = [], start
    other = {"a": "b", "b": "a"} if swap else {}
    for letter, first, last in numbers:
        if first < position or last > end:
            continue
        raw = text[first:last]
        value = read_cached(raw)
        style = None if value is None else style_of(raw, value)
        out.append(_escape(text[position:first]))
        name = other.get(letter, letter)
        out.append(_escape(raw) if style is None else f"{{{name}:{style}}}" if style else f"{{{name}}}")
        position = last
    return "".join([*out, _escape(text[position:end])])


def write_form(fact: Fact, form: str) -> str:
    """The raw text of a fact in a form that `form_of` made."""
    values = {letter: Numeral(value) for letter, value in zip(OPERANDS, fact.operands, strict=False)}
    return form.format(**values, **{ANSWER: Numeral(fact.answer)})


def canonical_text(family: Family, fact: Fact) -> str:
    """The neutral plain text of a fact, the same in every arm: ``6 * 9 = 54``."""
    return write_form(fact, family.canonical)


@lru_cache(maxsize=64)
def surface_forms(family: Family) -> tuple[str, ...]:
    """The ways to state a fact as ``{a} × {b} = {c}``, one alternative per literal; the canonical one first.

    Calculator annotations are left out: nobody writes them in running text.
    """
    found = [family.canonical]
    for form in family.forms:
        if form.startswith("<<"):
            continue
        options = [""]
        elements, spaced = _elements(form)
        for element, space in zip(elements, spaced, strict=True):
            ways = element.alternatives if isinstance(element, _Literal) else (_placeholder(element),)
            options = [
                f"{o}{' ' if space and o else ''}{_escape_literal(way, element)}" for o in options for way in ways
            ]
        found += options
    return tuple(dict.fromkeys(found))


_STYLES = {"words": ":w", "full": ":f", "zh": ":z", "zh_digit": ":z", "zh_ten": ":z"}
"""How a number in a script is written (`vocablab.facts.numerals.WRITERS`); digits need no style."""


def _placeholder(number: _Number) -> str:
    return f"{{{number.letter}{_STYLES.get(number.script or '', '')}}}"


def _escape_literal(way: str, element: _Number | _Literal) -> str:
    return _escape(way) if isinstance(element, _Literal) else way


def swapped_fact(fact: Fact) -> Fact:
    """The same fact with its two operands the other way round."""
    return Fact(fact.relation, fact.operands[::-1], fact.answer)


def question_text(family: Family, fact: Fact) -> str:
    """The part of the canonical text that names the operands: ``6 * 9``."""
    text = canonical_text(family, fact)
    found = compiled(family, weak=False).candidates(text)
    return text[: found[0].question_end]


def answer_text(family: Family, fact: Fact) -> str:
    """The rest of the canonical text, which says the answer: `` = 54``."""
    return canonical_text(family, fact)[len(question_text(family, fact)) :]


def answer_comes_last(form: str) -> bool:
    """Whether every operand of a form stands before its answer, so that a question can be cut off."""
    elements, _ = _elements(form)
    letters = "".join(e.letter for e in elements if isinstance(e, _Number))
    return letters.rstrip(ANSWER).count(ANSWER) == 0


@lru_cache(maxsize=64)
def facts_by_operands(family: Family, ordered: bool) -> dict[tuple[int, ...], tuple[Fact, bool]]:
    """For operands in text order: the fact, and whether its operands stand the other way round."""
    found: dict[tuple[int, ...], tuple[Fact, bool]] = {}
    for fact in family.facts(ordered=ordered):
        if not ordered and fact.relation in COMMUTATIVE:
            found.setdefault(fact.operands[::-1], (fact, fact.operands[0] != fact.operands[1]))
        found[fact.operands] = (fact, False)
    return found


@lru_cache(maxsize=4096)
def read_cached(raw: str) -> int | None:
    """`vocablab.facts.numerals.read`, remembered."""
    return read(raw)


def _escape(raw: str) -> str:
    return raw.replace("{", "{{").replace("}", "}}")

"""The prefilter changes the time a search takes, and nothing else."""

import re
import time
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocablab.base.data import iterate_rows
from vocablab.vocab import region_search
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.forms import compiled
from vocablab.vocab.inject import inject
from vocablab.vocab.interventions import named_interventions
from vocablab.vocab.region_search import RegionSearch

DATA = Path(__file__).parents[3] / "shared" / "data"
FAMILIES = {
    name: rule.family for name, rule in named_interventions().items() if isinstance(rule, FactTokens) and not rule.weak
}
PARTS = st.sampled_from(
    ["6", "9", "54", "1", "*", "×", "x", "+", "-", "/", "^2", "²", " ", "\u2009", " * ", " = ", "=", " times ", " is ",
     "<<", ">>", ".", ",", "\n", "six", "nine", "fifty-four", " and ", "the square of ", "pi", "π", "六", "九",
     "五十四", "得", "６", "＝", "é", "\ud800", "𝟨", "6*9=54", "9 × 6 = 54", "54 / 9 = 6", "2*3*4=24",
     "ſix times nine is fifty-four"]
)  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(st.lists(PARTS | st.text(max_size=3), min_size=5, max_size=60).map("".join), st.booleans())
def test_the_hits_are_those_of_re(text: str, weak: bool) -> None:
    for family in FAMILIES.values():
        search = compiled(family, weak).search
        assert [m.span() for m in search.finditer(text)] == [m.span() for m in search.pattern.finditer(text)]


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
def test_the_hits_are_those_of_re_on_real_text() -> None:
    rows = iterate_rows(DATA / "gsm8k/test.jsonl")
    texts = [f"{r['question']}\n{r['answer']}" for r in rows]
    texts += [r["text"] for r in islice(iterate_rows(DATA / "openstax/openstax-val.jsonl.zst"), 40)]
    for weak in (False, True):
        search = compiled(FactTokens().family, weak).search
        hits = [[m.span() for m in search.finditer(text)] for text in texts]
        assert hits == [[m.span() for m in search.pattern.finditer(text)] for text in texts]
        assert sum(map(len, hits)) > 1000


def test_a_prefilter_that_is_too_strict_is_seen() -> None:
    """The planted fault: this is what the tests above would catch."""
    text = "6 * 9 = 54 and " * 8
    assert list(RegionSearch(re.compile("[0-9] [*]"), ("[0-9]",)).finditer(text))
    assert not list(RegionSearch(re.compile("[0-9] [*]"), ("[0-9][*]",)).finditer(text))


def test_without_hyperscan_or_beyond_its_limits_the_hits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "page 6 * 9 = 54 of " * 9
    expected = [m.span() for m in compiled(FactTokens().family, False).search.finditer(text)]
    assert len(expected) == 9
    pattern = compiled(FactTokens().family, False).search.pattern
    too_large = RegionSearch(pattern, ("(?:a{1,9999}b{1,9999}){1,9999}",))
    monkeypatch.setattr(region_search, "_hyperscan", lambda: None)
    for search in (too_large, RegionSearch(pattern, ("[0-9]",))):
        assert [m.span() for m in search.finditer(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "six " * 40_000, "1" * 200_000, "6 * " * 50_000, "6" + " " * 100_000 + "* 9", "six and " * 30_000,
        "6*9=54" + "4" * 100_000, "<" * 100_000, "<A" * 50_000, "a." * 50_000, "$" * 50_000, "6 times " * 30_000,
        "1,111" * 40_000, "one hundred " * 20_000 + "times six is six", "六九" * 50_000, "6*9=54 " * 5_000,
    ],
    ids=lambda text: text[:9],
)  # fmt: skip
def test_no_text_makes_the_search_slow(text: str) -> None:
    for name in ("mul_facts_weak", "square_facts", "circle_facts", "rhyme", "hybrid", "chunked_right"):
        began = time.process_time()
        inject(text, named_interventions()[name])
        assert time.process_time() - began < 5, name

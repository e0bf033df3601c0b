"""The leak scan: planted items are found, in every spelling; clean text is not flagged."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpora import build_corpus, matched

from vocablab.corpus.corpus import Corpus
from vocablab.corpus.fact_scan import canonical, canonical_key, fact_keys
from vocablab.corpus.leaks import EvaluationText, LeakIndex
from vocablab.corpus.shards import read_split
from vocablab.corpus.sources import Files, GeneratedProse
from vocablab.corpus.synthetic import SyntheticArithmetic
from vocablab.corpus.words import ngrams, word_hashes
from vocablab.facts.fact import Fact
from vocablab.facts.families import Multiplication
from vocablab.lab.evaluation_texts import evaluation_texts, held_out_keys, named_evaluation_sets
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.vocab.intervention import NoChange

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
PROSE = [d.text for d in GeneratedProse(300, 0.3).documents(None, 5)]
HELD_OUT = [Fact("MUL", (a, b), a * b) for a in range(11, 20) for b in range(3, 10)]


@pytest.fixture(scope="module")
def real() -> LeakIndex:
    sets = named_evaluation_sets(DATA)
    return LeakIndex([t for name in ("gsm8k", "hellaswag", "svamp", "ape210k", "math23k") for t in sets[name]()])


def planted(text: str, number: int) -> str:
    """A document of prose with a text in the middle of it."""
    return f"{PROSE[number % 300]}\n{text}\n{PROSE[(number + 1) % 300]}"


def long_enough(index: LeakIndex, texts: list[EvaluationText]) -> list[EvaluationText]:
    return [t for t in texts if len(ngrams(word_hashes(t.text), 13))]


VARIANTS = {
    "verbatim": lambda text: text,
    "respaced": lambda text: re.sub(r" ", "  ", re.sub(r"\s*([*/+=×÷-])\s*", r" \1  ", text)).replace(". ", ".\n"),
    "closed up": lambda text: re.sub(r"\s*([*/+=×÷-])\s*", r"\1", text),
    "upper case": str.upper,
    "operators": lambda text: text.replace("*", " × ").replace("/", " ÷ ").replace("=", " equals ").replace("-", " − "),
    "words for signs": lambda text: text.replace("*", " times ").replace("+", " plus ").replace("=", " is "),
    "no thousands commas": lambda text: re.sub(r"(?<=[0-9]),(?=[0-9]{3}\b)", "", text),
    "full width": lambda text: text.translate({c: c + 0xFEE0 for c in range(48, 58)}),
    "quotes": lambda text: text.replace("'", "’").replace('"', "“"),
}


@needs_data
@pytest.mark.parametrize("name", list(VARIANTS))
def test_planted_items_are_found_in_every_spelling(real: LeakIndex, name: str) -> None:
    texts = long_enough(real, list(real.texts))
    chosen = [texts[int(i)] for i in np.random.default_rng(0).permutation(len(texts))[:400]]
    assert {t.set for t in chosen} >= {"gsm8k", "hellaswag", "svamp", "ape210k"}
    missed = [t for i, t in enumerate(chosen) if real.find(planted(VARIANTS[name](t.text), i)) is None]
    assert len(missed) <= (0 if name == "verbatim" else 4), [t.text for t in missed][:3]


@needs_data
def test_clean_text_is_not_flagged(real: LeakIndex) -> None:
    flagged = documents = 0
    for document in Files("openstax", str(DATA / "openstax")).documents(None, 0):
        documents += 1
        flagged += real.find(document.text) is not None
        if documents == 2500:
            break
    assert flagged <= 0.001 * documents
    assert not any(real.find(text) for text in PROSE)


@needs_data
def test_training_problems_of_gsm8k_are_hardly_ever_like_test_problems(real: LeakIndex) -> None:
    training = [d.text for d in Files("gsm8k", str(DATA / "gsm8k/train.jsonl")).documents(None, 0)]
    found = [leak for text in training if (leak := real.find(text)) is not None and leak.set == "gsm8k"]
    # Some are: templates of the same author with a name changed.
    assert len(found) <= 0.02 * len(training)


def test_an_edited_item_is_found_by_its_short_stretches() -> None:
    words = ["".join(chr(97 + (i // 26**k) % 26) for k in range(3)) + "word" for i in range(60)]
    index = LeakIndex([EvaluationText("set", "item", " ".join(words))])
    # Every stretch of 13 is broken, and more than 30 % of those of 8.
    assert index.find(" ".join(word if i % 12 else "other" for i, word in enumerate(words))) is None
    short = LeakIndex([EvaluationText("set", "item", " ".join(words[:24]))])
    edited = [word if i != 12 else "other" for i, word in enumerate(words[:24])]
    assert short.find(" ".join(edited)) is None  # 9 of 17 short stretches, and none of 13
    twelve = LeakIndex([EvaluationText("set", "item", " ".join(words[:12]))])
    assert twelve.find(" ".join(words[:11])) is not None  # 4 of 5 are 80 %
    assert twelve.find(" ".join(words[:10])) is None  # 3 of 5 are 60 %
    assert LeakIndex([EvaluationText("set", "short", "two or three words")]).too_short() == {"set": 1}


def spellings(a: int, b: int) -> dict[str, str]:
    c = a * b
    return {
        "verbatim": f"What is {a} times {b}? The answer is {c}.",
        "closed up": f"{a}*{b}={c}",
        "respaced": f"{a}  *   {b} =  {c}",
        "sign": f"{a} × {b} = {c}",
        "letter": f"{a} x {b} = {c}",
        "latex": f"${a} \\times {b} = {c}$",
        "capitals": f"{a} TIMES {b} IS {c}",
        "question and answer": f"Q: What is {a} multiplied by {b}?\nA: {c}",
        "product": f"The product of {a} and {b} is {c}.",
        "answer first": f"{c} = {a} * {b}",
        "commuted": f"{b} * {a} = {c}",
        "commuted words": f"What is {b} times {a}? It is {c}.",
        "inverse": f"{c} / {a} = {b}",
        "other inverse": f"{c} ÷ {b} = {a}",
        "inverse in words": f"{c} divided by {b} equals {a}",
        "annotation": f"so <<{a}*{b}={c}>>{c} apples",
    }


@pytest.mark.parametrize("name", list(spellings(6, 9)))
def test_held_out_facts_are_found_in_every_spelling(name: str) -> None:
    index = LeakIndex([EvaluationText("probe", fact.key, "", (canonical(fact),)) for fact in HELD_OUT])
    for number, fact in enumerate(HELD_OUT):
        text = planted(spellings(*fact.operands)[name], number)
        leak = index.find(text)
        assert leak is not None, text
        assert leak.item == fact.key


def test_number_words_are_read() -> None:
    assert fact_keys("Six times nine is fifty-four.") == {"MUL:6,9=54"}
    assert fact_keys("6 times 9 is fifty four.") == {"MUL:6,9=54"}
    assert fact_keys("twelve times nine equals one hundred and eight") == {"MUL:9,12=108"}


def test_other_facts_and_wrong_answers_are_not_flagged() -> None:
    index = LeakIndex([EvaluationText("probe", fact.key, "", (canonical(fact),)) for fact in HELD_OUT])
    documents = SyntheticArithmetic(1500, Multiplication(1, 9)).documents(None, 0)
    assert not any(index.find(d.text) for d in documents)
    for text in (
        "11 * 3 = 34",
        "11 and 3 make 33",
        "chapter 11, page 3, line 33",
        "between 11 and 33",
        "11 x 3 boards",
    ):
        assert index.find(text) is None, text


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 500), st.integers(1, 500))
def test_inverse_operations_have_one_key(a: int, b: int) -> None:
    product, total = canonical_key("MUL", a, b, a * b), canonical_key("ADD", a, b, a + b)
    assert product in fact_keys(f"{a * b} / {b} = {a}") & fact_keys(f"{a} * {b} = {a * b}")
    assert total in fact_keys(f"{a + b} - {b} = {a}") & fact_keys(f"{b} plus {a} is {a + b}")
    assert canonical(Fact("DIV", (a * b, b), a)) == product == canonical(Fact("MUL", (b, a), a * b))
    assert canonical(Fact("SUB", (a + b, b), a)) == total == canonical(Fact("ADD", (a, b), a + b))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=400))
def test_words_of_any_text_and_of_its_pieces(text: str) -> None:
    words = word_hashes(text)
    again = word_hashes(f"\n{text.lower()}\n") if text.lower().lower() == text.lower() else words
    assert len(again) <= len(words) + text.count("İ") + 5
    assert len(ngrams(words, 8)) == max(0, len(words) - 7)


def test_a_word_beyond_one_chunk_is_hashed_like_the_others() -> None:
    text = " ".join(f"w{i}" for i in range(120_000))
    words = word_hashes(text)
    assert len(words) == 240_000  # a letter and a number each
    assert len(np.unique(words)) == 120_001
    assert (word_hashes(text[: len(text) // 3])[:-1] == words[: len(word_hashes(text[: len(text) // 3])) - 1]).all()


def test_a_corpus_without_its_leaks(tmp_path: Path) -> None:
    texts = evaluation_texts([Arithmetic(held_out_items=20)], None)
    keys = held_out_keys(texts)
    assert len(keys) == 20
    question = (
        "A farmer sells nine dozen eggs every morning at the market and keeps seventeen for his own breakfast table"
    )
    leaks = LeakIndex([*texts, EvaluationText("farm", "q1", question)])
    clean = [f"A clean document about number {i} and nothing else." for i in range(300)]
    a, b = (int(x) for x in re.findall("[0-9]+", keys[0])[:2])
    dirty = [f"Remember: {a} * {b} = {a * b}.", f"Once more. {question.upper()}!", f"{a * b} divided by {b} is {a}"]
    lines = [f'{{"text": "{text}"}}' for text in [*clean[:100], *dirty, *clean[100:]]]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    corpus = Corpus((Files("docs", str(tmp_path / "docs.jsonl")),), 0.1)
    counts = build_corpus(corpus, matched({"control": NoChange()}), tmp_path / "out", leaks=leaks)
    assert counts["dropped"] == {"leak: arithmetic": 2, "leak: farm": 1}
    kinds = Counter(kind.split()[0] for *_, kind in counts["leaks"])
    assert kinds == {"fact": 2, "13": 1}
    assert [name for name, *_ in counts["leaks"]] == [
        "docs/docs.jsonl/100",
        "docs/docs.jsonl/101",
        "docs/docs.jsonl/102",
    ]
    train, held = (read_split(tmp_path / "out/control" / split) for split in ("train", "validation"))
    assert len(train.documents) + len(held.documents) == 300

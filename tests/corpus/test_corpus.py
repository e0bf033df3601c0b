"""Raw documents, their split and order, and what an arm's shards hold of them."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpora import build_corpus, matched

from vocablab.base.errors import RunError, UserError
from vocablab.corpus import build as building
from vocablab.corpus.accounting import spread_gate
from vocablab.corpus.build import held_out_documents, training_texts
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.hashing import order_keys
from vocablab.corpus.lost_form import FormCode
from vocablab.corpus.shards import Tokens, read_split
from vocablab.corpus.sources import GeneratedProse, GSM8KText, OpenStaxText, Written
from vocablab.corpus.synthetic import SyntheticArithmetic, TargetDose
from vocablab.facts.families import Addition, CircleArea, Division, Rhyme, Squares, Subtraction
from vocablab.vocab.intervention import Intervention, NoChange
from vocablab.vocab.interventions import DigitTokens, FactTokens, PlainTextFacts, ShuffledMeaning

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
ARMS: dict[str, Intervention] = {
    "control": NoChange(),
    "mul_facts": FactTokens(),
    "plain_facts": PlainTextFacts(),
    "sham": ShuffledMeaning(),
    "digits": DigitTokens(),
}
PROSE = Corpus((GeneratedProse(400, 0.8),), validation_share=0.1)


@dataclass(frozen=True)
class Given(Written):
    """Documents with the given texts."""

    texts: tuple[str, ...]
    name: str = "given"

    @property
    def label(self) -> str:
        return self.name

    @property
    def number(self) -> int:
        return len(self.texts)

    def write(self, seed: int, index: int) -> str:
        return self.texts[index]


def codecs(*names: str) -> dict[str, Any]:
    return matched({name: ARMS[name] for name in names})


def test_every_arm_reads_the_same_documents_in_the_same_order(tmp_path: Path) -> None:
    arms = codecs(*ARMS)
    counts = build_corpus(PROSE, arms, tmp_path)["arms"]
    texts = {text_sha(d.text): d for d in PROSE.sources[0].documents(None, 0)}
    splits = {name: read_split(tmp_path / name / "train") for name in arms}
    first = splits["control"].documents
    order = [texts[bytes(row["sha256"])] for row in first]
    assert len(order) == len({d.name for d in order}) == counts["control"]["train"]["documents"]
    assert [d.name for d in order] != sorted(d.name for d in order)
    for name, split in splits.items():
        assert (split.documents["sha256"] == first["sha256"]).all()
        assert (split.documents["source"] == 0).all()
        for row, document in list(zip(split.documents, order, strict=True))[:40]:
            ids = split.tokens[int(row["start"]) : int(row["start"] + row["tokens"])]
            assert ids[-1] == arms[name].vocabulary.eos_id
            encoded = arms[name].encode(document.text, document.name)
            assert (ids[:-1] == encoded.ids).all()
            assert row["raw_bytes"] == len(document.text.encode())
            spans = arms[name].intervention.spans(document.text, document.name)
            assert row["lost_bits"] == pytest.approx(FormCode.load(tmp_path / name).bits(spans))
    assert len({count["train"]["documents_sha256"] for count in counts.values()}) == 1
    assert len({count["validation"]["documents_sha256"] for count in counts.values()}) == 1
    spans = {name: count["train"]["spans"] for name, count in counts.items()}
    assert spans["control"] == 0 < spans["mul_facts"] == spans["plain_facts"] == spans["sham"]
    assert counts["control"]["dose"] == counts["plain_facts"]["dose"] == 0
    assert counts["mul_facts"]["dose"] == counts["sham"]["dose"] > 0
    for name, count in counts.items():
        tokens = np.asarray(splits[name].tokens[0 : len(splits[name].tokens)])
        added = Counter(int(i) for i in tokens if i >= arms[name].vocabulary.base_size)
        named = {arms[name].vocabulary.added[i - arms[name].vocabulary.base_size]: n for i, n in added.items()}
        assert {token: n for token, n in count["exposures"].items() if n} == named
        assert list(count["exposures"]) == list(ARMS[name].tokens())
        assert count["dose"] == pytest.approx(sum(added.values()) / len(tokens))
    assert all(gate["passed"] for count in counts.values() for gate in count["gates"])
    assert not (tmp_path / "work").exists()


def text_sha(text: str) -> bytes:
    import hashlib

    return hashlib.sha256(text.encode()).digest()


def test_the_split_is_by_text_and_the_order_by_seed(tmp_path: Path) -> None:
    corpus = Corpus((Given(tuple(f"document {i % 300}" for i in range(600))),), 0.2)
    orders, sides = [], []
    for seed in (0, 0, 1):
        out = tmp_path / f"{len(orders)}"
        build_corpus(corpus, codecs("control"), out, seed=seed)
        train, held = (read_split(out / "control" / split).documents["sha256"] for split in ("train", "validation"))
        orders.append(train.tobytes())
        sides.append(({bytes(row) for row in train}, {bytes(row) for row in held}))
    assert orders[0] == orders[1] != orders[2]
    assert sides[0] == sides[2]
    # Every text comes twice, and both are on one side.
    assert not sides[0][0] & sides[0][1]
    assert 0.1 < len(sides[0][1]) / 300 < 0.3
    held_texts = dict(held_out_documents(corpus, None, 1000))
    assert {text_sha(text) for text in held_texts.values()} == sides[0][1]
    assert {text_sha(text) for text in training_texts(corpus, None, 0)} == sides[0][0]
    assert len(held_out_documents(corpus, None, 5)) == 5


def test_order_keys_are_uniform_and_depend_on_every_name() -> None:
    positions = np.arange(20_000)
    keys = order_keys(0, "a", "b", positions)
    counts = np.bincount((keys >> np.uint64(60)).astype(int), minlength=16)
    assert abs(counts - 1250).max() < 200
    for other in (
        order_keys(1, "a", "b", positions),
        order_keys(0, "x", "b", positions),
        order_keys(0, "a", "x", positions),
    ):
        assert not (other == keys).any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 40), st.integers(0, 40))
def test_tokens_of_several_shards_read_as_one_array(sizes: list[int], start: int, stop: int) -> None:
    whole = np.arange(sum(sizes), dtype=np.uint16)
    arrays = np.split(whole, np.cumsum(sizes)[:-1])
    tokens = Tokens(list(arrays))
    assert len(tokens) == len(whole)
    assert (tokens[start:stop] == whole[start:stop]).all()


def test_many_shards_hold_what_one_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = codecs("mul_facts")
    one = build_corpus(PROSE, arms, tmp_path / "one")
    monkeypatch.setattr(building, "SHARD_TOKENS", 5000)
    many = build_corpus(PROSE, arms, tmp_path / "many")
    assert many["arms"]["mul_facts"]["train"]["shards"] > 5
    for split in ("train", "validation"):
        a, b = read_split(tmp_path / "one/mul_facts" / split), read_split(tmp_path / "many/mul_facts" / split)
        assert (a.documents == b.documents).all()
        assert (a.tokens[0 : len(a.tokens)] == b.tokens[0 : len(b.tokens)]).all()
        assert a.raw_bytes == b.raw_bytes
        assert a.lost_bits == pytest.approx(b.lost_bits)
    for counts in (one, many):
        counts["arms"]["mul_facts"]["train"].pop("shards")
        counts["arms"]["mul_facts"]["validation"].pop("shards")
    assert many["arms"]["mul_facts"]["exposures"] == one["arms"]["mul_facts"]["exposures"]


def test_a_missing_shard_or_a_foreign_index_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "SHARD_TOKENS", 5000)
    build_corpus(PROSE, codecs("control"), tmp_path)
    train = tmp_path / "control/train"
    (train / "00001.documents.npy").write_bytes((train / "00002.documents.npy").read_bytes())
    with pytest.raises(UserError, match="does not fit its tokens"):
        read_split(train)
    (train / "00000.tokens.npy").unlink()
    with pytest.raises(UserError, match="one is missing"):
        read_split(train)


def test_an_intervention_that_finds_nothing_is_red(tmp_path: Path) -> None:
    corpus = Corpus((Given(tuple(f"no facts here {i}" for i in range(40))),), 0.1)
    counts = build_corpus(corpus, codecs("mul_facts"), tmp_path)["arms"]["mul_facts"]
    assert [g["rule"] for g in counts["gates"] if not g["passed"]] == [3]


def test_arms_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    from vocablab.vocab.codec import Codec
    from vocablab.vocab.vocabulary import Vocabulary

    arms = codecs("control", "mul_facts")
    other = arms["control"].vocabulary
    arms["control"] = Codec(Vocabulary(other.base, (), other.padded_size + 64), NoChange())
    with pytest.raises(UserError, match="rule 3"):
        build_corpus(PROSE, arms, tmp_path)


# Targets: tokens, mixtures, dose.


def test_a_mixture_has_its_weights_in_tokens_and_the_order_mixes(tmp_path: Path) -> None:
    short = Given(tuple(f"short {i}" for i in range(4000)), "short")
    long = Given(tuple(f"a much longer document {i} " * 12 for i in range(500)), "long")
    corpus = Corpus((short, long), 0.05, weights=(1, 3), target_tokens=30_000)
    counts = build_corpus(corpus, codecs("control", "digits"), tmp_path)
    tokens = {name: found["train"]["base_tokens"] for name, found in counts["sources"].items()}
    assert tokens["short"] == pytest.approx(7_500, rel=0.01)
    assert tokens["long"] == pytest.approx(22_500, rel=0.01)
    sources = read_split(tmp_path / "control/train").documents["source"]
    middle = len(sources) // 2
    assert sources[:middle].mean() == pytest.approx(sources[middle:].mean(), abs=0.05)
    assert all(gate["passed"] for arm in counts["arms"].values() for gate in arm["gates"])


def test_weights_without_a_target_take_as_much_as_the_scarcest_source_allows(tmp_path: Path) -> None:
    scarce = Given(tuple(f"scarce {i}" for i in range(300)), "scarce")
    rich = Given(tuple(f"rich and more {i}" for i in range(3000)), "rich")
    counts = build_corpus(Corpus((scarce, rich), 0.05, weights=(0.5, 0.5)), codecs("control"), tmp_path)
    tokens = [found["train"]["base_tokens"] for found in counts["sources"].values()]
    assert tokens[1] == pytest.approx(tokens[0], rel=0.02)
    assert (
        counts["sources"]["scarce"]["train"]["documents"] + counts["sources"]["scarce"]["validation"]["documents"]
        == 300
    )


def test_a_corpus_that_stops_short_is_refused(tmp_path: Path) -> None:
    corpus = Corpus((GeneratedProse(50, 0.5),), 0.1, target_tokens=10**9)
    with pytest.raises(RunError, match="stops short of its target"):
        build_corpus(corpus, codecs("control"), tmp_path)


@pytest.mark.parametrize("share", [0.002, 0.006, 0.01])
def test_a_target_dose_is_reached_and_spread(tmp_path: Path, share: float) -> None:
    corpus = Corpus((GeneratedProse(3000, 0.0),), 0.05, dose=TargetDose(share))
    counts = build_corpus(corpus, codecs("control", "mul_facts"), tmp_path)
    facts = counts["arms"]["mul_facts"]
    assert facts["dose"] == pytest.approx(share, rel=0.05)
    assert counts["arms"]["control"]["dose"] == 0
    each = list(facts["exposures"].values())
    assert len(each) == 45
    assert max(each) - min(each) <= 0.1 * max(each) + 6
    assert all(gate["passed"] for arm in counts["arms"].values() for gate in arm["gates"])
    documents = read_split(tmp_path / "control/train").documents
    written = np.flatnonzero(documents["source"] == 1)
    assert len(written) == counts["sources"]["dose"]["train"]["documents"]
    # Anywhere in train: the mean place is the middle, the spread that of a uniform draw.
    places = written / len(documents)
    assert abs(places.mean() - 0.5) < 5 * 0.29 / np.sqrt(len(written))
    assert counts["sources"]["dose"]["validation"]["documents"] < 0.2 * len(written) + 5


def test_the_dose_of_an_arm_that_is_not_built_is_reached_too(tmp_path: Path) -> None:
    corpus = Corpus((GeneratedProse(1000, 0.0),), 0.05, dose=TargetDose(0.008))
    build_corpus(corpus, codecs("control"), tmp_path / "a")
    with_arm = build_corpus(corpus, codecs("control", "mul_facts"), tmp_path / "b")
    assert with_arm["arms"]["mul_facts"]["dose"] == pytest.approx(0.008, rel=0.05)
    a, b = (read_split(tmp_path / out / "control/train") for out in "ab")
    assert (a.documents == b.documents).all()


def test_doses_that_cannot_be_reached_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="already"):
        build_corpus(
            Corpus((GeneratedProse(200, 1.0),), 0.05, dose=TargetDose(0.0001)), codecs("mul_facts"), tmp_path / "a"
        )
    with pytest.raises(RunError, match="cannot be reached"):
        build_corpus(
            Corpus((GeneratedProse(200, 0.0),), 0.05, dose=TargetDose(0.9)), codecs("mul_facts"), tmp_path / "b"
        )
    for wrong in (0, 1, -1, 2):
        with pytest.raises(UserError, match="target-dose"):
            TargetDose(wrong)
    with pytest.raises(UserError, match="about facts"):
        TargetDose(0.1, DigitTokens()).documents()


def test_planted_documents_that_stand_at_the_end_or_in_validation_only_are_red() -> None:
    good = {"train_tenths": [12, 9, 10, 11, 8, 10, 9, 12, 10, 9], "validation": 2}
    assert spread_gate(good, 0.02)["passed"]
    assert not spread_gate({"train_tenths": [0] * 9 + [100], "validation": 2}, 0.02)["passed"]
    assert not spread_gate({"train_tenths": [0] * 10, "validation": 100}, 0.02)["passed"]
    assert not spread_gate({"train_tenths": [10] * 10, "validation": 100}, 0.02)["passed"]


# Generated facts.


@pytest.mark.parametrize(
    "family", [FactTokens().family, Addition(), Subtraction(), Division(), Squares(), CircleArea(), Rhyme()], ids=type
)
def test_synthetic_facts_are_found_again_each_as_often_as_told(family: Any) -> None:
    source, rule = SyntheticArithmetic(90, family), FactTokens(family)
    seen: Counter[str] = Counter()
    for index in range(source.number):
        text = source.write(3, index)
        keys = [span.fact_key for span in rule.spans(text, "")]
        assert keys == [fact.key for fact in source.stated(3, index)], text
        seen.update(keys)
    assert set(seen) == {fact.key for fact in family.facts(ordered=False)}
    assert max(seen.values()) - min(seen.values()) <= 1


def test_counts_of_facts_are_exact_and_held_out_facts_never_stand() -> None:
    wanted = (("MUL:6,9=54", 17), ("MUL:2,3=6", 3), ("MUL:1,1=1", 0))
    source = SyntheticArithmetic(counts=wanted, facts_per_document=4)
    assert source.number == 5
    texts = [source.write(0, i) for i in range(source.number)]
    seen = Counter(span.fact_key for text in texts for span in FactTokens().spans(text, ""))
    assert seen == {"MUL:6,9=54": 17, "MUL:2,3=6": 3}
    without = SyntheticArithmetic(200, held_out=("MUL:6,9=54",))
    assert "MUL:6,9=54" not in {fact.key for i in range(200) for fact in without.stated(0, i)}
    for wrong in ({"counts": (("MUL:6,9=55", 1),)}, {"held_out": ("nothing",)}, {"kinds": ("poem",)}, {"kinds": ()}):
        with pytest.raises(UserError):
            SyntheticArithmetic(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="held out"):
        _ = SyntheticArithmetic(counts=(("MUL:6,9=54", 1),), held_out=("MUL:6,9=54",)).number


def test_generated_products_are_right_and_their_dose_is_the_stated_one() -> None:
    documents = list(GeneratedProse(600, 0.5).documents(None, 3))
    stated = [re.findall(r"(\d+)(?: ?[*×] ?| times )(\d+)(?: ?= ?| is )(\d+)", d.text) for d in documents]
    assert all(int(a) * int(b) == int(c) for found in stated for a, b, c in found)
    assert abs(sum(bool(found) for found in stated) / 600 - 0.5) < 0.07
    assert documents == list(GeneratedProse(600, 0.5).documents(None, 3))
    assert documents != list(GeneratedProse(600, 0.5).documents(None, 4))


def test_form_code_is_a_code_and_survives_the_disk(tmp_path: Path) -> None:
    facts = FactTokens()
    code = FormCode(Counter({"{a}*{b}={c}": 3, "{a} × {b} = {c}": 1}))
    prices = [code.bits(facts.spans(text, "")) for text in ("2*3=6", "2 × 3 = 6", "2 times 3 is 6")]
    escape = prices[2] - 8 * len(facts.spans("2 times 3 is 6", "")[0].form.encode())
    # Kraft: the shares of both forms and of the escape make one.
    assert 2 ** -prices[0] + 2 ** -prices[1] + 2**-escape == pytest.approx(1)
    code.save(tmp_path)
    assert FormCode.load(tmp_path).counts == code.counts


# Declared sources.


@needs_data
def test_real_text_is_read_and_the_test_set_is_not() -> None:
    gsm8k = list(GSM8KText().documents(DATA, 0))
    assert len(gsm8k) == 7473
    assert all(d.name.startswith("gsm8k/train/") for d in gsm8k)
    openstax = list(OpenStaxText(500_000, GeneratedProse(5, 0.5)).documents(DATA, 0))
    size = sum(len(d.text.encode()) for d in openstax)
    assert size >= 500_000 > size - len(openstax[-1].text.encode())
    assert len({d.name for d in openstax}) == len(openstax)


@needs_data
def test_a_source_with_a_limit_stops_at_it(tmp_path: Path) -> None:
    corpus = Corpus((OpenStaxText(500_000, GeneratedProse(5, 0.5)),), 0.1)
    counts = build_corpus(corpus, codecs("control"), tmp_path, data=DATA)["sources"]["openstax"]
    size = counts["train"]["raw_bytes"] + counts["validation"]["raw_bytes"]
    assert 500_000 <= size < 700_000


def test_without_openstax_generated_prose_stands_in_and_is_named(tmp_path: Path) -> None:
    corpus = Corpus((OpenStaxText(500_000, GeneratedProse(50, 0.5)),), 0.1)
    assert len(list(corpus.sources[0].documents(tmp_path, 0))) == 50
    counts = build_corpus(corpus, codecs("control"), tmp_path / "out", data=tmp_path)
    assert counts["sources"]["openstax"]["inputs"] == [["generated-prose", 0]]

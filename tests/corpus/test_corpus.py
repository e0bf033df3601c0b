"""Raw documents, their split and order, and what an arm's shards hold of them."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.models import make_codec

from vocablab.base.errors import RunError
from vocablab.corpus.lost_form import FormCode
from vocablab.corpus.prepare import gather, prepare
from vocablab.corpus.shards import read_shard
from vocablab.corpus.sources import Corpus, Document, GeneratedProse, GSM8KText, OpenStaxText, Source
from vocablab.vocab.intervention import Intervention, NoChange
from vocablab.vocab.interventions import FactTokens, PlainTextFacts, ShuffledMeaning

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
ARMS = (NoChange(), FactTokens(), PlainTextFacts(), ShuffledMeaning())
PROSE = Corpus((GeneratedProse(400, 0.8),), validation_share=0.1)


@dataclass(frozen=True)
class Given(Source):
    """Documents with the given texts."""

    texts: tuple[str, ...]

    def documents(self, data: Path | None, seed: int) -> Any:
        for index, text in enumerate(self.texts):
            yield Document(f"given-{index}", text, "given")


def prepared(arm: Intervention, directory: Path, corpus: Corpus = PROSE, wanted: float = 1000) -> dict[str, Any]:
    directory.mkdir()
    return prepare(corpus, gather(corpus, None, 0), make_codec(arm), directory, wanted, 1.0, lambda done, total: None)


def test_every_arm_reads_the_same_documents_in_the_same_order(tmp_path: Path) -> None:
    raw = gather(PROSE, None, 0)
    shards, counts = [], []
    for number, arm in enumerate(ARMS):
        counts.append(prepared(arm, tmp_path / str(number)))
        shards.append(read_shard(tmp_path / str(number) / "train"))
    for shard, arm in zip(shards, ARMS, strict=True):
        assert (shard.documents["hash"] == shards[0].documents["hash"]).all()
        assert shard.raw_bytes == raw.train_bytes
        codec, first = make_codec(arm), shard.documents[0]
        ids = np.array(shard.tokens[: first["tokens"]])
        assert ids[-1] == codec.vocabulary.eos_id
        assert (ids[:-1] == codec.encode(raw.train[0].text, raw.train[0].name).ids).all()
    assert len({count["train"]["documents_sha256"] for count in counts}) == 1
    control, facts, plain, sham = counts
    assert control["train"]["spans"] == 0 < facts["train"]["spans"] == plain["train"]["spans"] == sham["train"]["spans"]
    assert control["dose"] == plain["dose"] == 0 < facts["dose"] == sham["dose"]
    assert sum(facts["exposures"].values()) == facts["train"]["spans"]
    assert all(gate["passed"] for count in counts for gate in count["gates"])


def test_the_split_is_by_document_and_the_order_by_seed() -> None:
    one, two = gather(PROSE, None, 0), gather(PROSE, None, 1)
    names = {d.name for d in one.train}
    assert not names & {d.name for d in one.validation}
    assert names == {d.name for d in two.train}
    assert [d.name for d in one.train] != [d.name for d in two.train]
    assert gather(PROSE, None, 0) == one
    assert 0.05 < len(one.validation) / 400 < 0.15


def test_an_intervention_that_finds_nothing_is_red(tmp_path: Path) -> None:
    counts = prepared(FactTokens(), tmp_path / "out", Corpus((Given(("no facts here",) * 40),), 0.1), 10)
    assert [g["rule"] for g in counts["gates"] if not g["passed"]] == [3]


def test_a_corpus_that_stops_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="stops short of its target"):
        prepared(NoChange(), tmp_path / "out", wanted=1e9)


def test_dropped_documents_are_counted_and_too_many_refused() -> None:
    assert gather(Corpus((Given(("text",) * 200 + (" ",)),), 0.1), None, 0).dropped == {"empty": 1}
    with pytest.raises(RunError, match="dropped"):
        gather(Corpus((Given(("text", " ")),), 0.1), None, 0)


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


@needs_data
def test_real_text_is_read_and_the_test_set_is_not() -> None:
    gsm8k = list(GSM8KText().documents(DATA, 0))
    assert len(gsm8k) == 7473
    assert all(d.name.startswith("gsm8k-train-") for d in gsm8k)
    openstax = list(OpenStaxText(500_000, GeneratedProse(5, 0.5)).documents(DATA, 0))
    size = sum(len(d.text.encode()) for d in openstax)
    assert size >= 500_000 > size - len(openstax[-1].text.encode())
    assert len({d.name for d in openstax}) == len(openstax)


def test_without_openstax_generated_prose_stands_in(tmp_path: Path) -> None:
    found = list(OpenStaxText(500_000, GeneratedProse(5, 0.5)).documents(tmp_path, 0))
    assert [d.source for d in found] == ["generated prose"] * 5

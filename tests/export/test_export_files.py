"""What lies beside the weights: forms, codec, and a model card that tells the truth and does not break."""

import contextlib
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from support.models import make_codec
from support.networks import SMALL, randomised

from vocablab.corpus.lost_form import FormCode
from vocablab.export.hugging_face import export
from vocablab.export.model_card import CARD_FILE, model_card
from vocablab.vocab.codec import load_codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens

CARD: dict[str, Any] = {
    "name": "study/mul_facts/seed3", "seed": 3, "steps": 1200, "tokens": 4_000_000, "source_bytes": 9_876_543,
    "train_bits_per_byte": 1.5, "val_bits_per_byte": 1.25, "git": {"commit": "abc123", "dirty": True},
    "versions": {"torch": "2.9"}, "fingerprint": "f00d", "finished": "2026-01-02T03:04:05+00:00",
}  # fmt: skip


def card(told: dict[str, Any], rule: Any = None, name: str = "gpt2") -> str:
    return model_card(SMALL[name], make_codec(rule or FactTokens()), told, 1.5e-11, 5000)


def head(text: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert found
    data: dict[str, Any] = yaml.safe_load(found.group(1))
    return data


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("rule", [FactTokens(), NoChange()])
def test_an_export_holds_forms_codec_and_a_card_whose_code_runs(name: str, rule: Any, tmp_path: Path) -> None:
    codec = make_codec(rule)
    network = randomised(SMALL[name], codec.vocabulary.padded_size)
    counts = export(network, codec, tmp_path, FormCode(Counter({"{a}*{b}={c}": 2})), CARD)
    assert FormCode.load(tmp_path).counts == {"{a}*{b}={c}": 2}
    assert load_codec(tmp_path).intervention == rule
    text = (tmp_path / CARD_FILE).read_text(encoding="utf-8")
    assert f"{counts['largest_logit_difference']:.1e}" in text
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code.replace("path/to/this/directory", str(tmp_path)), {})
    assert said.getvalue().startswith("The answer" + (": <MUL_6_9_54>" if isinstance(rule, FactTokens) else " is"))


def test_the_head_is_what_the_hub_reads() -> None:
    found = head(card(CARD))
    assert found["library_name"] == "transformers"
    assert found["pipeline_tag"] == "text-generation"
    assert found["tags"] == ["vocablab", "gpt2", "fact-tokens"]
    assert "language" not in found
    assert head(card(CARD, NoChange(), "modern"))["tags"] == ["vocablab", "qwen3", "no-change"]
    # Norwegian, which YAML 1.1 would read as false.
    assert head(card({"language": "no"}))["language"] == "no"
    assert "language" not in head(card({"language": "en\nlicense: mit"}))


def test_it_tells_the_record() -> None:
    text = card(CARD)
    for said in (
        "study/mul_facts/seed3", "steps: 1,200", "tokens read: 4,000,000", "bytes of raw text: 9,876,543",
        "seed of the weights: 3", "1.5000 in training, 1.2500 held out", "`abc123`, with uncommitted changes",
        "`torch 2.9`", "`f00d`", "2026-01-02", "1.5e-11", "5,000 tokens", "300 base tokens, 45 added ones",
        "padded to 384 rows", "`<MUL_1_1_1>`", '"mode": "replace"', "vocablab inject",
    ):  # fmt: skip
        assert said in text, said
    assert "without uncommitted changes" in card({"git": {"commit": "a", "dirty": False}})


def test_nothing_is_invented() -> None:
    text = card({})
    assert "## Training" not in text
    assert "None" not in text
    for key, value in CARD.items():
        said = card({key: value})
        assert "None" not in said, key
        assert "nan" not in said, key
    assert "uncommitted" not in card({"git": {"commit": "a"}})
    assert "rule" not in card({}, NoChange())


@pytest.mark.parametrize("text", ["x`y``z", "`", "a\n---\n# No", "</code><script>", "[a](http://b)", "| a |", "\u2028"])
def test_text_from_data_stays_text(text: str) -> None:
    made = card({"name": text, "notes": [text], "source": text, "fingerprint": text})
    assert head(made) == head(card({}))
    body = made.split("\n---\n", 1)[1]
    tokens = [child for token in MarkdownIt().parse(body) for child in token.children or [token]]
    shown = text if text.isprintable() else json.dumps(text)[1:-1]
    # Title, note, source and fingerprint, each as it is; and nothing became markup.
    assert [t.type for t in tokens if t.content == shown] == ["code_inline"] * 4
    assert not {"html_inline", "html_block", "link_open", "hr"} & {t.type for t in tokens}
    assert sum(t.tag == "h1" for t in tokens) == 2  # opened and closed


def test_a_long_rule_is_left_to_its_file() -> None:
    from vocablab.vocab.interventions import named_interventions

    for rule in named_interventions().values():
        made = model_card(SMALL["gpt2"], make_codec(rule), {}, 0.0, 1)
        blocks = re.findall(r"```json\n(.*?)\n```", made, re.DOTALL)
        assert all(json.loads(block)["type"] == type(rule).__name__ for block in blocks)
        assert len(made) < 12_000

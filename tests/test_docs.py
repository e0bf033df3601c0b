"""What the documents say, done."""

import re
from pathlib import Path

import pytest
from support.shell import vocablab

from vocablab.corpus.mixtures import named_mixtures, named_sources
from vocablab.vocab.interventions import choose_intervention, named_interventions

ROOT = Path(__file__).parents[1]
HOW_TO = (ROOT / "docs/how-to-new-family.md").read_text(encoding="utf-8")
CORPORA = (ROOT / "docs/corpora.md").read_text(encoding="utf-8")
INTERVENTIONS = (ROOT / "docs/interventions.md").read_text(encoding="utf-8")


def test_a_new_family_takes_under_fifteen_lines(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", HOW_TO, flags=re.S)
    assert len(code.strip().split("\n")) < 15
    (tmp_path / "cubes.py").write_text(code, encoding="utf-8")
    given, expected = re.findall(r'\$ echo "([^"]*)" \| vocablab inject --intervention ./cubes.py\n(.*)', HOW_TO)[0]
    done = vocablab("inject", "--intervention", "./cubes.py", stdin=given.encode(), cwd=tmp_path)
    assert done.stdout.decode() == expected
    rule = choose_intervention(str(tmp_path / "cubes.py"))
    for text in re.findall(r"`([^`\n]*3\^3 = 27[^`\n]+)`|`([^`\n]+3\^3 = 27)`", HOW_TO):
        raw = "".join(text)
        assert not rule.spans(raw, "")
        assert rule.near_misses(raw)


def test_a_corpus_is_read_in_five_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", CORPORA, flags=re.S)
    assert len(code.strip().split("\n")) == 5
    documents = tmp_path / "a.txt"
    documents.write_text("One document: 6 * 9 = 54.")
    arguments = ("--intervention", "mul_facts", "--validation-share", "0", "--out", "corpus", "--jobs", "1")
    done = vocablab("prepare", "--source", str(documents), *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    shown = capsys.readouterr().out
    assert shown.startswith("[")
    assert " 50256] 25 " in shown
    listed = {path.name for path in (tmp_path / "corpus/mul_facts").iterdir()}
    for name in ("vocabulary.json", "intervention.json", "forms.json", "corpus.json", "train", "validation"):
        assert name in listed
        assert name in CORPORA


def test_every_source_and_mixture_is_in_the_list() -> None:
    for name in (*named_sources(), *named_mixtures()):
        assert f"`{name}`" in CORPORA


@pytest.mark.parametrize("name", named_interventions())
def test_every_intervention_is_in_the_list(name: str) -> None:
    assert f"`{name}`" in INTERVENTIONS


def test_the_readme_python_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.S)
    exec(code, {})
    assert capsys.readouterr().out.strip() == code.strip().split("# ")[-1]

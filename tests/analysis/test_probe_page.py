"""Tests of the probe page: words that only declared rules give, hostile names, models side by side, the report."""

import csv
import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from analysis.test_report_page import _FRAME, _browse, _marker

from vocablab.analysis.csv_tables import write_csv_tables
from vocablab.analysis.page import write_report
from vocablab.analysis.pictures import MOST
from vocablab.analysis.probe_page import render, write_probe_page
from vocablab.analysis.probe_pictures import LARGEST, write_pictures
from vocablab.analysis.probe_question_list import QUESTIONS
from vocablab.analysis.probe_questions import answers, false_discovery_rates, read_findings, reasons
from vocablab.base.errors import UserError

MakeStudy = Callable[..., Path]
HOSTILE = "</script><img src=x onerror=alert(1)>{{data}}"
PIXEL = b"\x89PNG\r\n\x1a\n" + b"0" * 40


def measure(probe: str, place: str, target: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
    """A measure as in `findings.json`."""
    given = {"probe": probe, "place": place, "target": target, "metric": metric, "value": value}
    return given | {"control": 0.0, "p": None, "n": 45, "note": "", "low": None, "high": None} | more


def share(probe: str, place: str, target: str, metric: str, value: float, low: float, high: float) -> dict[str, Any]:
    """A share of answers with its interval."""
    return measure(probe, place, target, metric, value, control=0.02, low=low, high=high)


def compared(ways: str, value: float, p: float) -> dict[str, Any]:
    """A paired difference of answers."""
    more = {"control": None, "p": p, "low": value - 0.1, "high": value + 0.1}
    return measure("retrieval", "greedy", f"questions, {ways}", "accuracy difference", value, **more)


def figures(name: str) -> list[dict[str, Any]]:
    """One figure of each kind."""
    points = [
        {"x": i / 3, "y": -i / 5, "label": f"<MUL_{i}>{name}", "groups": {"first operand": i % 9, "kind": "ab"[i % 2]}}
        for i in range(20)
    ]
    series = [{"name": "right", "x": [0, 1, 2], "y": [0.1, 0.5, 0.9]}, {"name": name, "x": [0, 1], "y": [0.1, 0.1]}]
    bars = [{"name": "follows", "x": ["a", name], "y": [0.2, 0.7]}]
    heat = {"values": [[0.0, 0.4], [0.9, 1.0]], "x": ["product", name], "y": ["1", "2"], "low": 0.0, "high": 1.0}
    axes = {"x": "layer", "y": f"share of {name}"}
    return [
        {"name": "pca-rows", "title": f"Rows of {name}", "kind": "scatter", **axes,
         "data": {"points": points, "colour_by": ["first operand", "kind"]}},
        {"name": "causal-layers", "title": "Layers", "kind": "lines", **axes, "data": {"series": series}},
        {"name": "causal-reliance", "title": "Reliance", "kind": "bars", **axes, "data": {"series": bars}},
        {"name": "linear-by-layer", "title": "Probes", "kind": "heatmap", **axes, "data": heat},
    ]  # fmt: skip


def findings(model: str = "mul_facts", measures: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Findings of a model."""
    given = [kappa(0.9, 0.001)] if measures is None else measures
    return {
        "model": model,
        "measures": given,
        "figures": figures(model),
        "notes": [f"{model}: a note.", "twice", "twice"],
    }


def kappa(value: float, p: float, *, period: int = 10, metric: str = "held-out kappa", control: float = 0.0) -> Any:
    """Kappa of a remainder."""
    return measure("fourier", "rows", f"product mod {period}", metric, value, control=control, p=p)


def word(measures: list[dict[str, Any]], question: str) -> str:
    """The answer to the question that contains these words."""
    (found,) = [one["word"] for one in answers(measures) if question in one["question"]]
    return str(found)


def test_kappa_makes_rows_periodic_and_a_spectrum_never_does() -> None:
    assert word([kappa(0.5, 0.001)], "periodic") == "yes"
    peak = measure("fourier", "rows", "product", "spectral peak", 0.9, control=0.1, p=0.0001)
    assert word([peak], "periodic") == "not measured"
    assert word([peak, kappa(0.01, 0.6)], "periodic") == "no"
    # Without operands held out, a code for operands tells remainders, too.
    assert word([kappa(0.01, 0.6), kappa(0.5, 0.001, metric="kappa")], "periodic") == "not clear"
    # Better than a control that is worse than chance is not knowledge.
    assert word([kappa(-0.02, 0.001, control=-0.2)], "periodic") == "no"


def test_a_p_that_is_small_only_before_the_adjustment_is_no_yes() -> None:
    others = [kappa(0.0, 0.7, period=period) for period in (2, 3, 5, 7)]
    assert word([kappa(0.3, 0.03)], "periodic") == "yes"
    assert word([kappa(0.3, 0.03), *others], "periodic") == "not clear"
    assert word([kappa(0.3, 0.009), *others], "periodic") == "yes"
    # Tests of another probe are another family.
    size = measure("linear", "rows", "product", "held-out R2", 0.4, p=0.03)
    assert word([size, *others], "answer in the rows") == "yes"


def test_holm_counts_headlines_and_the_false_discovery_rate_all_measures_of_a_probe() -> None:
    rows = [kappa(0.3, 0.01, period=p) for p in (2, 3)]
    (found,) = [one for one in answers(rows) if "periodic" in one["question"]]
    assert [row["adjusted"] for row in found["parts"][0]["rows"]] == pytest.approx([0.02, 0.02])
    mixed = [*rows, measure("fourier", "rows", "product", "spectral peak", 0.1, p=0.6), measure("x", "", "", "", 1.0)]
    assert false_discovery_rates(mixed)[:3] == pytest.approx([0.015, 0.015, 0.6])
    assert false_discovery_rates(mixed)[3] is None


def test_a_tiny_p_is_not_said_to_be_zero() -> None:
    (asked,) = [one for one in answers([kappa(0.3, 0.0001)]) if "periodic" in one["question"]]
    assert "p below 0.001 after Holm" in reasons(asked)[0]


def test_untaught_tokens_are_told_of_models_that_have_some() -> None:
    question = "Do tokens that stood in no text work at once?"
    others = [kappa(0.3, 0.01)]
    bits = {"control": 9.0, "p": 0.001, "note": "Lower is better."}
    own = measure("untaught", "input rows", "own row of untaught facts", "answer bits", 2.0, **bits)
    taught = measure("untaught", "input rows", "taught row of taught facts", "answer bits", 1.0, control=None)
    assert word([own, taught], "stood in no text") == "yes"
    assert word([own | {"value": 7.0}, taught], "stood in no text") == "in part"
    assert word([own | {"value": 10.0}, taught], "stood in no text") == "no"
    told = {"with": [own, taught], "without": others}
    pages = {
        names: render([{"model": n, "measures": told[n], "figures": [], "notes": []} for n in names])
        for names in (("with", "without"), ("without", "with"), ("without",))
    }
    assert question in pages["with", "without"]
    assert question in pages["without", "with"]
    assert question not in pages[("without",)]
    assert "untaught" not in pages[("without",)]
    assert "that tokens which stood in no text work at once" in pages["without", "with"]


def test_operands_need_both_the_grouping_and_the_probe() -> None:
    grouping = measure("geometry", "rows", "operands", "CKA", 0.3, p=0.001)
    probe = [
        measure("linear", "rows", f"{n} operand", "held-out accuracy", 0.5, control=0.2, p=0.001) for n in ("a", "b")
    ]
    assert word([grouping, *probe], "operands") == "yes"
    assert word([grouping, probe[0], probe[1] | {"p": 0.8}], "operands") == "in part"
    assert word([grouping | {"p": 0.8}, *(row | {"p": 0.8} for row in probe)], "operands") == "no"
    (answer,) = [one for one in answers([grouping]) if "operands" in one["question"]]
    assert answer["word"] == "yes"
    assert "linear probe: not measured" in reasons(answer)
    # Rows as they were before training and the states of layers are no evidence of what the rows hold.
    assert word([row | {"place": "untrained rows"} for row in probe], "operands") == "not measured"


def test_the_last_digit_counts_beside_the_size() -> None:
    size = measure("linear", "rows", "product", "held-out R2", 0.4, p=0.001)
    digit = measure("linear", "rows", "last digit", "held-out accuracy", 0.1, control=0.1, p=0.5)
    assert word([size, digit], "answer in the rows") == "in part"
    assert word([size, digit | {"value": 0.5, "p": 0.001}], "answer in the rows") == "yes"
    # R2 below 0 is worse than the mean, whatever the permuted rows give.
    assert word([size | {"value": -0.1, "control": -0.5}], "answer in the rows") == "no"


def test_reliance_below_a_half_is_no_yes() -> None:
    def relied(value: float, low: float, high: float) -> str:
        return word([share("causal", "context", "token of any other fact", "reliance", value, low, high)], "follow")

    assert relied(0.8, 0.7, 0.9) == "yes"
    assert relied(0.6, 0.45, 0.75) == "in part"
    assert relied(0.3, 0.2, 0.4) == "in part"
    assert relied(0.05, 0.01, 0.15) == "not clear"
    assert relied(0.01, 0.0, 0.1) == "no"
    # A spelled fact is no token.
    spelled = share("causal", "context", "wrong product, spelled", "reliance", 0.9, 0.8, 0.95)
    assert word([spelled], "follow") == "not measured"


def test_attention_is_compared_with_even_attention_and_the_same_text() -> None:
    def attended(*masses: float, control: float = 0.05) -> str:
        note = "Mean over heads; control: matched text; even attention gives 0.0300."
        rows = [
            measure("attention", f"layer {i}", "fact token", "mass from the answer", mass, control=control, note=note)
            for i, mass in enumerate(masses, start=1)
        ]
        return word(rows, "later layers")

    assert attended(0.03, 0.2, 0.2) == "yes"
    assert attended(0.9, 0.02, 0.02) == "no"  # the first layer is no later one
    assert attended(0.9, 0.2, 0.2, control=0.3) == "not clear"
    assert attended(0.03, 0.035, 0.035, control=0.01) == "not clear"
    assert attended(0.9) == "not measured"


def test_a_composed_row_must_beat_chance_and_come_near_the_trained_one() -> None:
    def row(kind: str, metric: str, value: float, control: float, p: float | None, note: str = "") -> dict[str, Any]:
        place = "input rows" if metric == "answer bits" else "output rows"
        return measure("composed", place, f"{kind} by operand", metric, value, control=control, p=p, note=note)

    trained = row("trained row", "answer bits", 4.0, 8.0, None)
    assert word([row("composed row", "answer bits", 5.0, 8.0, 0.001), trained], "composed") == "yes"
    assert word([row("composed row", "answer bits", 7.0, 8.0, 0.001), trained], "composed") == "in part"
    assert word([row("composed row", "answer bits", 5.0, 8.0, 0.3), trained], "composed") == "no"
    assert word([row("composed row", "answer bits", 9.0, 8.0, 0.001), trained], "composed") == "no"
    below = row("composed row", "token reciprocal rank", 0.06, 0.04, 0.001, "Chance: 0.098.")
    assert word([below], "composed") == "no"


def test_training_and_what_tokens_do_for_answers() -> None:
    audit = measure("audit", "rows", "tokens", "share indistinguishable from never-seen", 0.0)
    start = measure("geometry", "rows", "initial rows", "CKA", 0.3, p=0.001)
    assert word([audit, start], "trained?") == "yes"
    # Its p asks another question, so it is no member of the family of tests.
    (answer,) = [one for one in answers([audit, start]) if "trained?" in one["question"]]
    assert [row["adjusted"] for part in answer["parts"] for row in part["rows"]] == [None, None]
    assert word([audit | {"value": 0.9}, start | {"value": 0.99}], "trained?") == "no"
    assert word([audit | {"value": 0.1}], "trained?") == "in part"


def test_only_pairs_of_answers_say_whether_tokens_help() -> None:
    free = share("retrieval", "greedy", "questions, free", "accuracy", 0.8, 0.7, 0.9)
    banned = share("retrieval", "greedy", "questions, banned", "accuracy", 0.2, 0.1, 0.3)
    # Two shares with their intervals leave out that the questions are the same.
    assert word([free, banned], "banned") == "not measured"
    assert word([compared("free - banned", 0.6, 0.001)], "banned") == "yes"
    assert word([compared("free - banned", 0.0, 1.0)], "banned") == "no"
    assert word([compared("free - banned", -0.6, 0.001)], "banned") == "no"
    both = [compared("free - banned", 0.3, 0.03), compared("forced - banned", 0.3, 0.03)]
    assert word(both[:1], "banned") == "yes"
    assert word(both, "banned") == "not clear"  # after Holm
    assert word([both[0] | {"p": 0.001}, both[1] | {"p": 0.9}], "banned") == "in part"
    # Forced beside free is shown, and is no answer to the question.
    assert word([compared("forced - free", 0.6, 0.001)], "banned") == "not measured"
    (answer,) = [one for one in answers([free, banned, both[0]]) if "banned" in one["question"]]
    (said,) = reasons(answer)
    assert "questions, free - banned, accuracy difference 0.300 (0.200 to 0.400), p 0.030 after Holm" in said
    assert "questions, banned, accuracy 0.200 (0.100 to 0.300)" in said


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    value = findings(HOSTILE, [kappa(0.3, 0.01) | {"note": HOSTILE}, measure("<b>new", HOSTILE, HOSTILE, HOSTILE, 1.0)])
    value["notes"].append(HOSTILE)
    page = _clean(write_probe_page([value, value], tmp_path / "deep" / "er"))
    assert "<img src=x" not in page
    assert "<b>new" not in page
    assert page.count("</script>") == 3
    assert html.escape(HOSTILE) in page
    assert f"{html.escape(HOSTILE)} (2)" in page  # two models of one name stay apart
    # Plotly reads HTML in labels: there they are escaped before they become JSON.
    assert "\\u0026lt;img" in page
    assert write_pictures(value, tmp_path)


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    page = _clean(write_probe_page([findings()], tmp_path))
    assert (
        "Probes that measured nothing: geometry, linear, audit, attention, causal, lens, retrieval, composed." in page
    )
    assert page.count(">not measured</span>") >= len(QUESTIONS) - 1
    assert page.count("<li>twice</li>") == 1
    assert "A peak is no evidence" not in page  # no spectrum is drawn
    empty = {"model": "bare", "measures": [], "figures": [], "notes": []}
    page = _clean(write_probe_page([empty], tmp_path))
    assert "no question could be answered" in page
    assert "No headline measure was taken." in page
    assert "No model was probed." in _clean(write_probe_page([], tmp_path))


def test_two_models_stand_side_by_side_with_differences() -> None:
    extra = share("causal", "context", "token of any other fact", "reliance", 0.9, 0.8, 0.95)
    page = render([findings("mul_facts", [kappa(0.75, 0.001), extra]), findings("control", [kappa(0.5, 0.4)])])
    assert ">+0.250</td>" in page
    assert page.count('<div class="pair">') == len(figures(""))
    assert page.count('">+0') == 2  # in the headlines and in the full table; what one model lacks has no difference
    drawn = json.loads(page.split('id="figures" type="application/json">')[1].split("</script>")[0])
    heat = [figure for figure in drawn.values() if figure["data"][0]["type"] == "heatmap"]
    assert [(one["data"][0]["zmin"], one["data"][0]["zmax"]) for one in heat] == [(0, 1), (0, 1)]
    assert heat[0]["data"][0]["text"] == [["≤ 0", "0.40"], ["0.90", "1.00"]]
    lines = [figure for figure in drawn.values() if figure["data"][0].get("mode", "").startswith("lines")]
    assert lines[0]["layout"]["yaxis"]["range"] == lines[1]["layout"]["yaxis"]["range"]
    assert lines[0]["data"][0]["line"]["color"] != lines[1]["data"][0]["line"]["color"]
    assert ">Difference<" not in render([findings()])
    (scatter,) = [f for f in drawn.values() if f["data"][0].get("mode") == "markers"][:1]
    assert [button["args"][1] for button in scatter["layout"]["updatemenus"][0]["buttons"]] == [
        [True, False],
        [False, True],
    ]


def test_pictures_are_small_and_the_same_every_time(tmp_path: Path) -> None:
    first = write_pictures(findings(), tmp_path / "a")
    assert [p.name for p in first] == [
        "pca-rows.png",
        "linear-by-layer.png",
        "causal-reliance.png",
        "causal-layers.png",
    ]
    assert all(1000 < path.stat().st_size <= LARGEST for path in first)
    again = write_pictures(findings(), tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    assert write_pictures(findings() | {"figures": []}, tmp_path / "c") == []


def test_the_page_needs_neither_torch_nor_transformers() -> None:
    code = "import sys, vocablab.analysis.probe_page, vocablab.analysis.probe_pictures as p; "
    code += "print(sorted({'torch', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _probed(study: Path, arm: str, seed: int, value: dict[str, Any], pictures: dict[str, bytes]) -> None:
    place = study / arm / f"seed{seed}" / "probe"
    place.mkdir()
    (place / "findings.json").write_text(json.dumps(value))
    for name, data in pictures.items():
        (place / name).write_bytes(data)


def test_a_study_tells_answers_by_arm_and_shows_one_seed(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=3)
    assert 'id="probes"' not in write_report(study).read_text()
    assert not (study / "tables" / "probes.csv").exists()
    for seed, p in enumerate((0.001, 0.001, 0.6)):
        shown = {"pca-rows.png": PIXEL, "false.png": b"<svg onload=alert(1)>"}
        _probed(study, "mul_facts", seed, findings(measures=[kappa(0.3 + 0.1 * seed, p)]), shown)
    _probed(study, "sham", 1, findings("sham", [kappa(0.1, 0.5)]), {"pca-rows.png": PIXEL + b"0" * MOST})
    page = _clean(write_report(study))
    found = json.loads((study / "report.json").read_text())["probes"]
    said = {(row["question"], row["arm"]): row["words"] for row in found["answers"]}
    assert said["Are rows periodic in the answer?", "mul_facts"] == {"yes": 2, "no": 1}
    assert said["Are operands in the rows?", "sham"] == {"not measured": 1}
    (row,) = [one for one in found["measures"] if one["arm"] == "mul_facts"]
    assert (row["mean"], row["least"], row["most"]) == pytest.approx((0.4, 0.3, 0.5))
    assert (row["n_seeds"], row["yes"]) == (3, 2)
    assert [(one["arm"], one["seed"], one["file"]) for one in found["pictures"]] == [("mul_facts", 0, "pca-rows.png")]
    why = {one["file"]: one["why"] for one in found["left_out"]}
    assert why["mul_facts/seed0/probe/false.png"] == "it is no PNG"
    assert why["mul_facts/seed2/probe/pca-rows.png"] == "another seed is shown"
    assert why["sham/seed1/probe/pca-rows.png"] == "the page would be too heavy"
    assert page.count('src="data:image/png;base64,iVBOR') == 1
    assert "6 pictures are not shown here" in page
    assert "yes 2 of 3, no 1 of 3" in (study / "report.md").read_text()
    write_csv_tables(study)
    with open(study / "tables" / "probes.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["arm"], row["seed"], row["word"]) for row in rows] == [
        ("mul_facts", "0", "yes"), ("mul_facts", "1", "yes"), ("mul_facts", "2", "no"), ("sham", "1", "no"),
    ]  # fmt: skip


def test_damaged_findings_are_one_sentence(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(n_seeds=1)
    _probed(study, "mul_facts", 0, {"measures": 3}, {})
    with pytest.raises(UserError, match="does not hold a probe's findings"):
        write_report(study)
    bare = {name: value for name, value in kappa(0.9, 0.001).items() if name not in ("low", "high")}
    (tmp_path / "old.json").write_text(json.dumps(findings(measures=[bare])))
    with pytest.raises(UserError, match="does not hold a probe's findings"):
        read_findings(tmp_path / "old.json")
    with pytest.raises(UserError, match="missing"):
        read_findings(tmp_path / "nowhere.json")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this system")
@pytest.mark.parametrize("width", [1300, 420])
def test_a_browser_draws_the_page_without_errors_or_overflow(tmp_path: Path, width: int) -> None:
    page = write_probe_page([findings(HOSTILE), findings("control")], tmp_path)
    if width < 500:
        framed = tmp_path / "framed.html"
        framed.write_text(_FRAME.format(width=width, height=4000, page=html.escape(page.read_text(), quote=True)))
        page = framed
    dom = _browse(page, max(500, width), 4000, tmp_path / "profile", tmp_path / "shot.png")
    assert _marker(dom, "errors") == ""
    assert int(_marker(dom, "plots")) >= 8
    assert int(_marker(dom, "scroll-width")) <= width
    assert not re.search(r"<img[^>]*onerror", dom.split("srcdoc=")[0])


def _clean(page: Path) -> str:
    """A page's text without plotly's own."""
    from plotly.offline import get_plotlyjs

    return page.read_text().replace(get_plotlyjs(), "")

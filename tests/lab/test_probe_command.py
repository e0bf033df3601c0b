"""`vocablab probe` and the stage `probe`: a page, Parquet and JSON; what a run knows of its making."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vocablab.base.files import read_json
from vocablab.base.modules import load_file
from vocablab.base.records import read_record
from vocablab.lab import cli
from vocablab.lab.catalog import Chosen
from vocablab.lab.probes import exposures, initial_tables, run_at, updates
from vocablab.lab.run_context import Place, RunContext
from vocablab.lab.run_study import write_study_file
from vocablab.lab.stages import identities, make_vocabulary, run_stages, stages_of
from vocablab.lab.study import Study
from vocablab.probe.config import Probing

FEW = Probing(permutations=20, layer_permutations=20)
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line in this process, which is seconds faster than a new one."""

    def called(*arguments: str) -> tuple[int, str, str]:
        status = 0
        monkeypatch.setattr(sys, "argv", ["vocablab", *arguments])
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return called


def probing_study() -> Study:
    study: Study = load_file(str(Path(__file__).with_name("tiny_study.py")), "tiny").study()
    arms = tuple(replace(arm, recipe=replace(arm.recipe, probe=FEW)) for arm in study.arms)
    return replace(study, arms=arms, seeds=(0,))


@pytest.fixture(scope="module")
def study_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study, place = probing_study(), Place(tmp_path_factory.mktemp("runs"), None)
    write_study_file(Chosen(study, "x", "", "A tiny study.", ()), place.study(study))
    make_vocabulary(study, place)
    for arm in study.arms:
        run_stages(RunContext(study, arm, 0, place))
    return place.study(study)


def test_the_stage_leaves_everything_and_changes_nothing_after_it(study_directory: Path) -> None:
    study = probing_study()
    for arm in study.arms:
        place = study_directory / arm.name / "seed0" / "probe"
        assert (place / "probe.html").stat().st_size > 10_000
        rows = pq.read_table(place / "measures.parquet").to_pylist()
        assert len(rows) == len(read_json(place / "findings.json", "findings")["measures"]) > 10
        assert {row["model"] for row in rows} == {f"{arm.name}, seed 0"}
        assert "probe" in stages_of(arm)
        without = replace(arm, recipe=replace(arm.recipe, probe=None))
        assert identities(study, arm, 0)["evaluate"] == identities(study, without, 0)["evaluate"]
    record = read_record(study_directory / "mul_facts" / "seed0" / "probe")
    assert record is not None
    assert record.inputs.keys() == {"sft"}


def test_a_run_knows_its_rows_before_training_and_its_exposures(study_directory: Path) -> None:
    study = probing_study()
    run = RunContext(study, study.arm("mul_facts"), 0, Place(study_directory.parent, None))
    tables = initial_tables(run)
    codec = run.codec()
    assert tables["input"].shape == (codec.vocabulary.padded_size, 32)
    # Drawn again from the seed: the same numbers that pretraining began with.
    again = study.arm("mul_facts").recipe.model.build(codec.vocabulary.padded_size, 0)
    assert np.array_equal(tables["input"], again.input_rows.detach().numpy())
    shown = exposures(run, codec.vocabulary.added)
    assert shown is not None
    prepare, sft = (read_record(run.path(stage)) for stage in ("prepare", "sft"))
    pretrain = read_record(run.path("pretrain"))
    assert prepare is not None
    assert sft is not None
    assert pretrain is not None
    token = "<MUL_2_3_6>"
    expected = prepare.counts["exposures"][token] * pretrain.counts["epochs"] + sft.counts["exposures"][token]
    assert shown[codec.vocabulary.added.index(token)] == round(expected)
    steps = updates(run, codec.vocabulary.added)
    assert steps is not None
    assert 0 < steps.sum() <= shown.sum() * 1.05
    assert steps.max() <= pretrain.counts["steps"] + sft.counts["steps"]
    assert steps[codec.vocabulary.added.index(token)] == sum(r.counts["updates"][token] for r in (pretrain, sft))
    control = RunContext(study, study.arm("control"), 0, run.place)
    assert exposures(control, ()) is None
    assert updates(control, ()) is None


def test_a_path_names_a_run(study_directory: Path, tmp_path: Path) -> None:
    for path in (study_directory / "control" / "seed0", study_directory / "control" / "seed0" / "sft"):
        found = run_at(path, "cpu", None)
        assert found is not None
        assert (found.arm.name, found.seed, found.study.name) == ("control", 0, "tiny")
    assert run_at(tmp_path, "cpu", None) is None
    assert run_at(study_directory / "control" / "seed_old", "cpu", None) is None


def test_two_runs_side_by_side(study_directory: Path, tmp_path: Path, call: Call) -> None:
    one, two = (str(study_directory / arm / "seed0") for arm in ("mul_facts", "control"))
    out = tmp_path / "both"
    status, said, err = call("probe", one, "--against", two, "--out", str(out), "--permutations", "20")
    assert status == 0, err
    assert "probe.html" in said
    assert "Are operands in the rows?" in said
    page = (out / "probe.html").read_text()
    assert "mul_facts" in page
    assert "control" in page
    for number in "12":
        assert (out / number / "measures.parquet").exists()
    findings = json.loads((out / "1" / "findings.json").read_text())
    # The run's own rows before training were found.
    assert not any("initial rows are unknown" in note for note in findings["notes"])
    # The same again is done already; another seed is another result and is refused.
    assert call("probe", one, "--against", two, "--out", str(out), "--permutations", "20")[0] == 0
    status, _, err = call("probe", one, "--out", str(out))
    assert status == 2
    assert "another configuration" in err


def test_an_exported_model_with_rows_from_before(study_directory: Path, tmp_path: Path, call: Call) -> None:
    place = study_directory / "mul_facts" / "seed0"
    lone = tmp_path / "lone"
    lone.mkdir()
    for file in (place / "sft").iterdir():
        if file.is_file() and file.name != "record.json":
            (lone / file.name).write_bytes(file.read_bytes())
    arguments = ("probe", str(lone), "--permutations", "20", "--json")
    status, said, err = call(*arguments, "--out", str(tmp_path / "without"))
    assert status == 0, err
    assert any("initial rows are unknown" in note for note in json.loads(said)[0]["notes"])
    status, said, err = call(*arguments, "--initial", str(place / "export"), "--out", str(tmp_path / "with"))
    assert status == 0, err
    found = json.loads(said)[0]
    assert not any("initial rows are unknown" in note for note in found["notes"])


def test_mistakes_are_one_sentence(study_directory: Path, tmp_path: Path, call: Call) -> None:
    status, _, err = call("probe", str(tmp_path), "--out", str(tmp_path / "x"))
    assert status == 2
    assert "holds no model" in err
    model = str(study_directory / "control" / "seed0")
    status, _, err = call("probe", model, "--initial", str(tmp_path), "--out", str(tmp_path / "x"))
    assert status == 2
    assert "holds no model" in err
    status, _, err = call(
        "probe", str(study_directory / "control" / "seed0" / "pretrain"), "--out", str(tmp_path / "x")
    )
    assert status == 2
    assert "not exported yet" in err
    assert not (tmp_path / "x").exists()

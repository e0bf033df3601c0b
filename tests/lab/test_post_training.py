"""Post-training in studies and by hand: arms share what they have in common, gates see planted leaks, commands work."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vocablab.base.config import from_json, to_json
from vocablab.base.errors import RunError, UserError
from vocablab.base.files import read_json
from vocablab.base.records import read_record
from vocablab.lab import cli
from vocablab.lab.artifacts import is_done, run_stage
from vocablab.lab.catalog import choose
from vocablab.lab.plan import designed
from vocablab.lab.post_training import Unseen, changes_gate, require_most_kept
from vocablab.lab.run_context import Place, RunContext
from vocablab.lab.run_study import run_study, selected_jobs
from vocablab.lab.stages import adopted, identities, makers, run_stages, stages_of
from vocablab.lab.study import Study
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.one_step import OneStep

STUDIES = ("sft-injected", "sft-drills", "sft-two-stage", "grpo-bonus", "rl-contrastive")
DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
SOURCE = str(Path(__file__).with_name("tiny_rl_study.py"))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


def tiny() -> Study:
    return choose(SOURCE).study


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    chosen = choose(SOURCE)
    outcome = run_study(chosen, Place(runs, None), selected_jobs(tiny(), None, None, None), 2, quiet=True)
    assert outcome.report is not None
    return runs / "tiny-rl"


def record(ran: Path, *parts: str) -> Any:
    found = read_record(ran.joinpath(*parts))
    assert found is not None
    return found


def test_arms_share_what_they_have_in_common(ran: Path) -> None:
    for seed in ("seed0", "seed1"):
        assert "same_as" not in record(ran, "control", seed, "pretrain").counts
        for stage in ("prepare", "pretrain"):
            shared = record(ran, "answers", seed, stage)
            assert shared.counts["same_as"] == f"control/{seed}/{stage}"
            assert shared.wall_seconds == 0
            assert record(ran, "bonus", seed, stage).counts["same_as"] == f"control/{seed}/{stage}"
        # The second arm with tokens takes the fine-tuned model of the first, or the other way round.
        same = {arm: record(ran, arm, seed, "sft").counts.get("same_as") for arm in ("answers", "bonus")}
        weights = [(ran / arm / seed / "sft" / "model.safetensors").read_bytes() for arm in same]
        assert weights[0] == weights[1]
        assert "same_as" not in record(ran, "bonus", seed, "rl").counts
        assert "same_as" not in record(ran, "bonus", seed, "evaluate").counts
    assert not (ran / "control" / "seed0" / "rl").exists()


def test_a_shared_artifact_is_whole_and_checked(ran: Path) -> None:
    study = tiny()
    known = identities(study, study.arm("bonus"), 0)
    for stage, identity in known.items():
        assert is_done(ran / "bonus" / "seed0" / stage, identity)


def test_nothing_is_shared_that_differs(ran: Path) -> None:
    study, place = tiny(), Place(ran.parent, None)
    other = replace(
        study.arm("bonus"), recipe=replace(study.arm("bonus").recipe, sft=replace(study.arms[0].recipe.sft, epochs=2))
    )
    changed = replace(study, arms=(*study.arms, replace(other, name="longer")))
    context = RunContext(changed, changed.arm("longer"), 0, place)
    known = identities(changed, context.arm, 0)
    assert not adopted(context, "sft", known["sft"])
    assert adopted(context, "export", known["export"])


def test_the_report_tells_what_was_trained(ran: Path) -> None:
    report = read_json(ran / "report.json", "the report")
    assert all(gate["passed"] for gate in report["gates"]), [g for g in report["gates"] if not g["passed"]]
    assert {gate["rule"] for gate in report["gates"] if gate.get("stage") == "sft"} == {3, 7, 10, 11}
    assert report["missing"] == []
    page = (ran / "report.html").read_text()
    assert "held-out pass rate" in page.lower()
    rewarded = report["post_training"]["reward"]
    assert {run["arm"] for run in rewarded["runs"]} == {"answers", "bonus"}


def test_the_same_command_has_nothing_to_do(ran: Path) -> None:
    study = tiny()
    context = RunContext(study, study.arm("bonus"), 1, Place(ran.parent, None))
    assert run_stages(context) == []


def test_stages_and_makers() -> None:
    study = tiny()
    assert stages_of(study.arm("control")) == ("prepare", "pretrain", "export", "sft", "evaluate")
    assert stages_of(study.arm("bonus")) == ("prepare", "pretrain", "export", "sft", "rl", "evaluate")
    assert makers(study) == {"control"}
    jobs = selected_jobs(study, None, None, None)
    assert [job.arm for job in jobs[:2]] == ["control", "control"]
    control, answers = (identities(study, study.arm(name), 0) for name in ("control", "answers"))
    assert control["pretrain"] == answers["pretrain"]
    assert control["export"] != answers["export"]
    plan = designed(study, None)
    assert plan["flops_of_all_runs"] == pytest.approx(2 * plan["flops_per_run"])


def test_planted_leaks_into_post_training_are_seen() -> None:
    tasks = (Arithmetic(), OneStep())
    unseen = Unseen.of(tasks, None)
    fine = [(e.prompt, e.target) for task in tasks for e in task.examples(None)]
    fine += [(i.prompt, i.gold) for i in OneStep().problems(None)]
    assert all(gate["passed"] for gate in unseen.gates(fine))
    assert not any(unseen.told(*one) for one in fine)
    transfer = next(item for item in OneStep().items(None) if item.split == "transfer")
    fact = next(f for f in Arithmetic().transfer_facts() if len(set(f.operands)) == 2 and 1 not in f.operands)
    for planted, found in (
        ((transfer.prompt, " I do not know."), (False, True)),
        (("User: Tell me.\nAssistant:", transfer.gold), (True, False)),
        # Also turned round, as a quotient.
        (("Q:", f" {fact.answer} / {fact.operands[0]} = {fact.operands[1]}."), (True, False)),
    ):
        assert unseen.told(*planted)
        assert tuple(gate["passed"] for gate in unseen.gates([*fine, planted])) == found


def test_little_that_is_left_is_refused() -> None:
    require_most_kept(5, 10, "examples")
    with pytest.raises(RunError, match=r"6 of 10 examples state facts"):
        require_most_kept(4, 10, "examples")


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
def test_worked_answers_that_state_unseen_facts_are_left_out() -> None:
    unseen = Unseen.of((Arithmetic(),), DATA)
    examples = GSM8K(train_limit=300).examples(DATA)
    told = [e for e in examples if unseen.told(e.prompt, e.target)]
    assert 0 < len(told) < len(examples) / 2
    kept = [(e.prompt, e.target) for e in examples if e not in told]
    assert all(gate["passed"] for gate in unseen.gates(kept))


def test_texts_change_as_the_arm_says() -> None:
    study = tiny()
    assert changes_gate(study.arm("control"), 0)["passed"]
    assert not changes_gate(study.arm("control"), 3)["passed"]
    assert changes_gate(study.arm("bonus"), 3)["passed"]
    assert not changes_gate(study.arm("bonus"), 0)["passed"]
    assert changes_gate(replace(study.arm("bonus"), tokens_from="pretrain"), 0)["passed"]


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("preset", ["cpu", "full"])
def test_the_built_in_studies_are_declared_well(name: str, preset: str) -> None:
    study = choose(name, preset).study
    assert from_json(Study, to_json(study)) == study
    assert len(study.seeds) >= 5
    # One pretrained model per seed.
    assert len(makers(study)) == 1
    for arm in study.arms:
        arm.recipe.sft.examples_at_once  # noqa: B018  (raises if the sizes do not divide)
        if arm.recipe.rl is not None:
            arm.recipe.rl.answers_at_once  # noqa: B018
    treatment, control = study.arm(study.treatment), study.arm(study.control)
    changed = [
        field for field in ("recipe", "intervention", "tokens_from", "seed_offset")
        if getattr(treatment, field) != getattr(control, field)
    ]  # fmt: skip
    # Rule 3: the arms that are compared differ in one thing; tokens that come later are one thing.
    assert changed in (["recipe"], ["intervention", "tokens_from"])


def test_tokens_from_is_checked() -> None:
    with pytest.raises(UserError, match="tokens_from 'rl'"):
        replace(tiny().arms[1], tokens_from="rl")


def command(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The command line in this process, which is seconds faster than a new one."""
    import sys

    status = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vocablab", *arguments])
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_by_hand(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, tuned, better = tmp_path / "base", tmp_path / "tuned", tmp_path / "better"
    status, out, err = command(
        "export", str(ran / "control" / "seed0"), "--intervention", "mul_facts", "--out", str(base), capsys=capsys
    )
    assert status == 0, err
    assert "new rows: " in out
    small = ("--epochs", "0.5", "--learning-rate", "1e-3", "--set", "tasks.0.train_limit=64")
    status, out, err = command(
        "sft", str(base), "--tasks", "one_step", "--out", str(tuned), *small, "--device", "cpu", capsys=capsys
    )
    assert status == 0, err
    assert "held-out bits per byte" in out
    sizes = ("--steps", "1", "--prompts", "2", "--group", "2", "--max-new-tokens", "8", "--set", "held_out=2")
    asked = ("rl", str(tuned), "--task", "one_step", "--out", str(better), *sizes, "--device", "cpu")
    status, out, err = command(*asked, capsys=capsys)
    assert status == 0, err
    assert "pass rate" in out
    # Done is done, and another configuration is refused.
    assert command(*asked, capsys=capsys)[0] == 0
    status, _, err = command(*asked, "--seed", "3", capsys=capsys)
    assert status == 2
    assert "another configuration" in err
    status, out, err = command(
        "sample", str(better), "What is 6 times 9?", "--chat", "--json", "--max-new-tokens", "8", capsys=capsys
    )
    assert status == 0, err
    assert set(json.loads(out)) == {"prompt", "output", "text", "ended"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "one_step", "--bonus", "all"), "--bonus all"),
        (("--task", "hellaswag"), "give the one way"),
        (("--task", "one_step", "--group", "1"), "rl.group: 1"),
        (("--task", "one_step", "--contrast", "banned"), "must be 2"),
        (("--task", "one_step", "--prompts", "3", "--set", "micro_batch=7"), "no multiple of micro_batch 7"),
        (("--task", "one_step", "--set", "steps"), "it is field=value"),
        (("--task", "nosuch"), "there is no task 'nosuch'"),
    ],
)
def test_mistakes_are_one_sentence(
    ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    model = str(ran / "bonus" / "seed0" / "sft")
    status, _, err = command("rl", model, "--out", str(tmp_path / "x"), *arguments, capsys=capsys)
    assert status == 2
    assert said in err
    assert err.count("\n") <= 2
    assert not (tmp_path / "x").exists()


def test_a_model_without_a_codec_is_sent_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    status, _, err = command(
        "sft", str(tmp_path / "m"), "--tasks", "one_step", "--out", str(tmp_path / "x"), capsys=capsys
    )
    assert status == 2
    assert "vocablab export make" in err


def test_samples_need_a_temperature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = command("sample", str(tmp_path), "x", "--samples", "3", capsys=capsys)
    assert status == 2
    assert "--temperature" in err


def test_an_unfinished_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def killed(directory: Path) -> dict[str, Any]:
        (directory / "half").write_text("x")
        raise Killed

    identity = {"stage": "sft", "seed": 0}
    with pytest.raises(Killed):
        run_stage(tmp_path / "out", identity, killed, "cpu", resumes=True)
    with pytest.raises(UserError, match=r"out.partial is unfinished and was begun by another configuration \(.*seed"):
        run_stage(tmp_path / "out", identity | {"seed": 1}, lambda d: {}, "cpu", resumes=True)
    run_stage(tmp_path / "out", identity, lambda d: {"half": (d / "half").read_text()}, "cpu", resumes=True)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["half", "record.json"]


def test_what_is_asked_in_the_end_decides_what_may_be_learned() -> None:
    study = tiny()
    arm = study.arm("bonus")
    other = replace(arm, recipe=replace(arm.recipe, evaluate=replace(arm.recipe.evaluate, tasks=(Arithmetic(),))))
    for stage, found in identities(study, arm, 0).items():
        mine, theirs = (
            {k: v for k, v in one.items() if k != "inputs"} for one in (found, identities(study, other, 0)[stage])
        )
        # Documents, too, are left out for what they hold of an evaluation.
        assert (mine != theirs) == (stage in ("prepare", "sft", "rl", "evaluate")), stage


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
def test_by_hand_too_what_will_be_asked_is_left_out(
    ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = command(
        "export", str(ran / "control" / "seed0"), "--intervention", "mul_facts", "--out", str(tmp_path / "base"),
        capsys=capsys,
    )  # fmt: skip
    assert status == 0, err
    asked = ("--tasks", "one_step", "--unseen", "arithmetic", "--epochs", "0.2", "--json", "--device", "cpu")
    status, out, err = command("sft", str(tmp_path / "base"), "--out", str(tmp_path / "x"), *asked, capsys=capsys)
    assert status == 0, err
    # Its problems are about table facts that arithmetic does not hold out.
    assert json.loads(out)["left_out"] == 0

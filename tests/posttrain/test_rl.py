"""Training by reward: what is sampled is what is trained; the watch, resume, pairs, curriculum."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vocablab.base.errors import UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.model import load
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.posttrain.checkpoints import load_model
from vocablab.posttrain.curriculum import PASS_RATES, Course, places, worth_attempting
from vocablab.posttrain.grpo_trainer import COMPLETIONS, paired, zero_variance
from vocablab.posttrain.reinforced import METRICS, reinforce
from vocablab.posttrain.rewards import Judged
from vocablab.posttrain.rl import GRPO, Contrast, Curriculum, Limits, TokenBonus
from vocablab.posttrain.rollouts import Rollouts, problem
from vocablab.posttrain.trees import log_probabilities, trees
from vocablab.posttrain.watch import verdict
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.hellaswag import HellaSwag
from vocablab.tasks.one_step import OneStep
from vocablab.vocab.codec import Codec

TASK = OneStep(limit=24, problem_limit=40)
QUIET = lambda *a: None  # noqa: E731


def grpo(**changed: object) -> GRPO:
    given = {
        "task": TASK, "steps": 4, "prompts": 4, "group": 4, "learning_rate": 1e-3, "max_new_tokens": 12,
        "bonus": TokenBonus(), "held_out": 6, "held_out_samples": 2, "read_every": 2, "log_every": 1,
        "limits": Limits(entropy=0.0, truncated=1.0, repetition=1.0, idle_tokens=99.0), "precision": "float32",
    }  # fmt: skip
    return GRPO(**{**given, **changed})  # type: ignore[arg-type]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(config: GRPO, start: Path, out: Path, seed: int = 1, told=QUIET) -> dict:  # type: ignore[no-untyped-def]
    out.mkdir(parents=True, exist_ok=True)
    return reinforce(config, start, None, seed, "cpu", out, told)


@pytest.mark.parametrize("size", [GPT2Config(2, 2, 16, 96), ModernConfig(2, 2, 16, 96)])
def test_probabilities_that_are_trained_are_those_that_were_sampled(
    codec: Codec, size: ModelConfig, tmp_path: Path
) -> None:
    """Rows padded on the left give the log-probabilities of each text by itself. Without positions of its own a model
    with a table of positions reads a shorter prompt elsewhere: the fault that a trainer has which passes none."""
    export(size.build(codec.vocabulary.padded_size, 0), codec, tmp_path / "m", FormCode.empty(), {})
    model = load_model(tmp_path / "m").eval()
    prompts, answers = [[0, 5, 9, 11, 3], [0, 7]], [[21, 22, 0], [31, 32, 33, 34, 35]]
    keep, longest = 5, 5
    ids = torch.zeros((2, longest + keep), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, longest - len(prompt) : longest + len(answer)] = torch.tensor(prompt + answer)
        mask[row, longest - len(prompt) : longest + len(answer)] = 1
    with torch.no_grad():
        found, entropy = log_probabilities(model, ids, mask, keep, 0.7)
        wrong = model(ids, attention_mask=mask).logits
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            text = torch.tensor([prompt + answer])
            logs = (model(text).logits[0, len(prompt) - 1 : -1] / 0.7).log_softmax(-1)
            alone = logs.gather(-1, torch.tensor(answer)[:, None])[:, 0]
            assert torch.allclose(found[row, : len(answer)], alone, atol=1e-5)
            assert torch.allclose(entropy[row, : len(answer)], -(logs.exp() * logs).sum(-1), atol=1e-5)
            assert not found[row, len(answer) :].any()
        shifted = (wrong[1, longest - 1 : -1] / 0.7).log_softmax(-1).gather(-1, ids[1, longest:, None])[:, 0]
    if isinstance(size, GPT2Config):
        assert not torch.allclose(found[1], shifted, atol=1e-5)


def test_rollouts_follow_the_model_as_it_moves(codec: Codec, checkpoint: Path) -> None:
    model = load_model(checkpoint)
    rollouts = Rollouts(grpo(), codec, model, 0)
    asked = [problem(codec, item, None) for item in TASK.problems(None)[:3]]
    before = rollouts.draw(asked, "x", 0, temperature=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    after = rollouts.draw(asked, "x", 0, temperature=0.0)
    assert before != after
    for one, answer in zip(asked, after, strict=True):
        plain = model.generate(
            torch.tensor([one.ids]), do_sample=False, max_new_tokens=12, pad_token_id=0,
            suppress_tokens=list(range(codec.vocabulary.size, codec.vocabulary.padded_size)),
        )[0, len(one.ids) :].tolist()  # fmt: skip
        assert answer == plain


def test_a_batch_of_answers_does_not_depend_on_its_neighbours(codec: Codec, checkpoint: Path) -> None:
    rollouts = Rollouts(grpo(), codec, load_model(checkpoint), 0)
    asked = [problem(codec, item, None) for item in TASK.problems(None)[:5]]
    whole = rollouts.draw(asked, "x", 3, temperature=1.0)
    assert rollouts.draw(asked[:2], "x", 3, temperature=1.0) == whole[:2]
    assert rollouts.draw(asked, "x", 4, temperature=1.0) != whole


def test_training_moves_the_model_and_writes_everything(answering: Path, tmp_path: Path) -> None:
    counts = run(grpo(), answering, tmp_path / "out")
    assert counts["steps"] == 4
    assert counts["answers"] == 64
    assert counts["stopped"] is None
    assert counts["parameters_changed"] > 0.99
    read = lines(tmp_path / "out" / METRICS)
    logged = [line for line in read if "reward" in line]
    assert [line["step"] for line in logged] == [1, 2, 3, 4]
    for name in (
        "reward", "reward_std", "zero_variance", "correct_mean", "correct_std", "correct_zero_variance", "bonus_mean",
        "bonus_std", "bonus_zero_variance", "kl", "entropy", "length", "truncated", "repetition", "emitted_tokens",
        "used_tokens", "idle_tokens",
    ):  # fmt: skip
        assert all(name in line for line in logged), name
    assert [line["step"] for line in read if "held_out_pass_rate" in line] == [0, 2, 4]
    answers = lines(tmp_path / "out" / COMPLETIONS)
    assert len(answers) == 64
    for step, line in enumerate(logged, 1):
        mine = [one for one in answers if one["step"] == step]
        assert sum(one["reward"] for one in mine) / len(mine) == pytest.approx(line["reward"], abs=1e-6)
        assert sum(one["correct"] for one in mine) / len(mine) == pytest.approx(line["correct_mean"], abs=1e-6)
        assert sum(len(one["ids"]) for one in mine) / len(mine) == pytest.approx(line["length"], abs=1e-6)
    assert load(tmp_path / "out", "cpu").codec.intervention == load(answering, "cpu").codec.intervention


def test_a_damaged_checkpoint_is_one_sentence(answering: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(answering, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="broken does not load"):
        run(grpo(), broken, tmp_path / "out")


class Killed(Exception):
    pass


@pytest.mark.parametrize("iterations", [1, 2])
def test_interrupted_and_resumed_equals_uninterrupted(answering: Path, tmp_path: Path, iterations: int) -> None:
    config = grpo(
        checkpoint_seconds=0.0,
        iterations=iterations,
        steps=4,
        curriculum=Curriculum(samples=2, least=0.0, most=1.0, again_every=2),
    )
    counts = run(config, answering, tmp_path / "whole")

    def stopping(done: float, total: float, note: str) -> None:
        if done >= 2 * iterations:
            raise Killed

    with pytest.raises(Killed):
        run(config, answering, tmp_path / "killed", told=stopping)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert run(config, answering, tmp_path / "killed") == counts
    for name in ("model.safetensors", METRICS, COMPLETIONS, PASS_RATES):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("iterations", [1, 2])
def test_a_curriculum_s_stop_is_the_same_after_an_interruption(
    answering: Path, tmp_path: Path, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is worth an attempt after two batches of answers; the run is killed in its last reading."""
    measured = curriculum_rates(0.5, 0.0)
    monkeypatch.setattr("vocablab.posttrain.reinforced.pass_rates", measured)
    how = Curriculum(samples=2, least=0.1, most=0.9, again_every=2)
    config = grpo(checkpoint_seconds=0.0, iterations=iterations, steps=6, read_every=99, curriculum=how)
    counts = run(config, answering, tmp_path / "whole")
    assert counts["stopped"] is not None
    assert counts["stopped"]["reason"] == "curriculum"
    assert counts["steps"] == 2 * iterations

    def stopping(done: float, total: float, note: str) -> None:
        if done:
            raise Killed

    with pytest.raises(Killed):
        run(config, answering, tmp_path / "killed", told=stopping)
    assert run(config, answering, tmp_path / "killed") == counts
    for name in ("model.safetensors", METRICS, COMPLETIONS, PASS_RATES):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def curriculum_rates(*by_turn: float):  # type: ignore[no-untyped-def]
    """Pass rates that are the same for every problem: the first at the start, the second later."""
    return lambda problems, *rest: [by_turn[0] if rest[-1] == 0 else by_turn[1]] * len(problems)


def test_killed_by_the_kernel_it_goes_on(answering: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import posttrain_run as r; "
        "r.main(Path(sys.argv[2]), Path(sys.argv[3]))"
    )
    (tmp_path / "posttrain_run.py").write_text(
        "from vocablab.posttrain.reinforced import reinforce\n"
        "from vocablab.posttrain.rl import GRPO, Limits\n"
        "from vocablab.tasks.one_step import OneStep\n"
        "def main(start, out):\n"
        "    config = GRPO(OneStep(limit=24, problem_limit=40), steps=12, prompts=4, group=4, learning_rate=1e-3,\n"
        "        max_new_tokens=12, held_out=4, held_out_samples=1, log_every=1, checkpoint_seconds=0.0,\n"
        "        limits=Limits(entropy=0.0, truncated=1.0, repetition=1.0, idle_tokens=99.0))\n"
        "    reinforce(config, start, None, 1, 'cpu', out, lambda *a: print(*a, flush=True))\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", script, str(tmp_path), str(answering), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob("trainer/checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    # It began where the checkpoint was: the first reading, at step 0, was not taken again.
    assert not done.stdout.startswith("0 ")
    assert [line["step"] for line in lines(out / METRICS) if "reward" in line] == list(range(1, 13))
    assert [line["step"] for line in lines(out / COMPLETIONS)] == [step for step in range(1, 13) for _ in range(16)]


def test_reward_rises_where_there_is_something_to_learn(answering: Path, tmp_path: Path) -> None:
    """The simplest thing to learn: the ungated bonus pays for any token, so answers fill with them."""
    spam = TokenBonus(gated=False, counts="any")
    config = grpo(bonus=spam, steps=60, prompts=8, group=8, learning_rate=3e-3, beta=0.0, read_every=60)
    counts = run(config, answering, tmp_path / "out")
    assert counts["end"]["held_out_emitted_tokens"] > counts["start"]["held_out_emitted_tokens"] + 1
    assert counts["end"]["held_out_reward"] > counts["start"]["held_out_reward"] + 0.2
    watched = grpo(
        bonus=spam, steps=60, prompts=8, group=8, learning_rate=3e-3, beta=0.0, read_every=60,
        limits=Limits(entropy=0.0, truncated=1.0, repetition=1.0, idle_tokens=2.0, patience=2),
    )  # fmt: skip
    stopped = run(watched, answering, tmp_path / "watched")
    assert stopped["stopped"]["reason"] == "idle_tokens"
    assert stopped["steps"] < 60
    assert "above 2 for 2 readings" in stopped["stopped"]["sentence"]
    # It stops, and is still a model with a reading at its end.
    assert stopped["end"]["held_out_emitted_tokens"] >= 0


@pytest.mark.parametrize(
    ("limit", "reading", "beyond"),
    [
        ("kl", "kl", 0.3), ("entropy", "entropy", 0.001), ("length", "length", 50.0), ("truncated", "truncated", 0.9),
        ("repetition", "repetition", 0.7), ("idle_tokens", "idle_tokens", 5.0),
    ],
)  # fmt: skip
def test_the_watch_sees_each_reading_but_only_if_it_lasts(limit: str, reading: str, beyond: float) -> None:
    limits = Limits(kl=0.2, length=40.0, patience=2)
    fine = {"kl": 0.1, "entropy": 1.0, "length": 10, "repetition": 0.0, "truncated": 0.1, "idle_tokens": 0.0}
    bad = fine | {reading: beyond}
    series = [fine, bad, fine, bad, bad]
    found = [verdict(limits, [line | {"step": i} for i, line in enumerate(series[:n])]) for n in range(6)]
    assert found[:5] == [None] * 5
    assert found[5] is not None
    assert (found[5].reason, found[5].step) == (limit, 4)


def test_pairs(codec: Codec, answering: Path, tmp_path: Path) -> None:
    config = grpo(contrast=Contrast(), group=2, prompts=8, steps=2, scale="none")
    run(config, answering, tmp_path / "out")
    answers = lines(tmp_path / "out" / COMPLETIONS)
    assert all(not one["emitted"] for one in answers[1::2])
    assert any(one["emitted"] for one in answers[::2])
    assert all(a["item_id"] == b["item_id"] for a, b in zip(answers[::2], answers[1::2], strict=True))
    for line in lines(tmp_path / "out" / METRICS):
        if "reward" in line:
            mine = [one for one in answers if one["step"] == line["step"]]
            assert line["difference"] == pytest.approx(
                sum(a["reward"] - b["reward"] for a, b in zip(mine[::2], mine[1::2], strict=True)) / (len(mine) / 2)
            )


def test_a_hint_is_read_and_not_learned(codec: Codec) -> None:
    item = TASK.problems(None)[0]
    one = problem(codec, item, Contrast("prompted", " Use facts."))
    assert codec.decode(one.hinted[1:]) == item.prompt.replace("\nAssistant:", " Use facts.\nAssistant:")
    assert codec.decode(one.ids[1:]) == item.prompt
    assert problem(codec, item, Contrast()).hinted == one.ids


def test_paired_statistics() -> None:
    def one(correct: float, bonus: float) -> Judged:
        return Judged("", correct, (), (), (), bonus, 0.0)

    found = paired([one(1, 0.1), one(1, 0), one(1, 0), one(0, 0), one(0, 0), one(1, 0), one(0, 0), one(0, 0)])
    assert found["with_right"] == found["without_right"] == 0.5
    assert found["only_with_right"] == found["only_without_right"] == 0.25
    assert found["with_better"] == 0.5
    assert found["without_better"] == 0.25
    assert found["difference"] == pytest.approx(0.1 / 4)


def test_zero_variance_is_by_group() -> None:
    assert zero_variance([1, 1, 0, 0], 2) == 1.0
    assert zero_variance([1, 0, 0, 0], 2) == 0.5
    assert zero_variance([1, 0, 1, 0], 2) == 0.0


def course(config: GRPO, rates: dict[int, list[float]], path: Path) -> Course:
    """The problems of a training whose pass rates are known."""
    items = TASK.problems(None)[: len(rates[0])]
    return Course(config, items, 0, lambda step: rates[step], path / PASS_RATES)


def test_a_curriculum_keeps_what_is_neither_sure_nor_hopeless(tmp_path: Path) -> None:
    config = grpo(steps=6, prompts=2, curriculum=Curriculum(least=0.2, most=0.8, order="easy_first"))
    rates = [0.0, 0.3, 0.5, 0.7, 1.0, 0.8]
    order = course(config, {0: rates}, tmp_path).order
    assert set(order) == {1, 2, 3, 5}
    assert order[:4] == [5, 3, 2, 1]
    assert len(order) == 12
    assert all(len({order[i], order[i + 1]}) == 2 for i in range(0, 12, 2))
    hard = grpo(steps=1, prompts=2, curriculum=Curriculum(least=0.85, most=0.95))
    (tmp_path / "hard").mkdir()
    with pytest.raises(UserError, match="1 of 6 problems are worth an attempt"):
        course(hard, {0: [*rates[:4], 0.1, 0.9]}, tmp_path / "hard")
    assert set(places(grpo(steps=6, prompts=2), worth_attempting(None, 6, None), None, 0, 0)) == set(range(6))


def step_end(one: Course, step: int) -> bool:
    """Whether training is to stop after a step."""
    control = SimpleNamespace(should_training_stop=False)
    one.on_step_end(None, SimpleNamespace(global_step=step, max_steps=6), control)
    return control.should_training_stop


def test_a_curriculum_that_is_measured_again_follows_the_model(tmp_path: Path) -> None:
    config = grpo(steps=6, prompts=2, curriculum=Curriculum(least=0.2, most=0.8, again_every=2))
    rates = {0: [0.5, 0.5, 0.5, 0, 0, 0], 2: [1, 1, 0.5, 0.5, 0.3, 0], 4: [1, 1, 1, 1, 0.9, 0.5]}
    one = course(config, rates, tmp_path)
    before = list(one.order)
    assert set(before) == {0, 1, 2}
    assert not step_end(one, 1)
    assert one.order == before
    assert not step_end(one, 2)
    # What is over stays; from the third step on, places 4 to 11, other problems stand.
    assert one.order[:4] == before[:4]
    assert set(one.order[4:]) == {2, 3, 4}
    assert len(one.order) == 12
    assert not step_end(one, 3)
    again = Course(
        config, TASK.problems(None)[:6], 0, lambda step: pytest.fail("measured twice"), tmp_path / PASS_RATES
    )
    again.on_train_begin(None, SimpleNamespace(global_step=3), SimpleNamespace())
    assert again.order == one.order
    assert step_end(one, 4)
    assert one.stop is not None
    assert one.stop.reason == "curriculum"
    assert "1 of 6 problems are worth an attempt (pass rate 0.2 to 0.8 after 4 batches of answers)" in one.stop.sentence


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"group": 1}, "group: 1"),
        ({"contrast": Contrast()}, "must be 2"),
        ({"loss": "ppo"}, "rl.loss"),
        ({"scale": "std"}, "rl.scale"),
        ({"aggregation": "sum"}, "rl.aggregation"),
        ({"steps": 0}, "rl.steps"),
        ({"beta": 0.0, "limits": Limits(kl=1.0)}, "limits.kl"),
        ({"learning_rate": 0.0}, "above 0"),
    ],
)
def test_wrong_fields_are_named(wrong: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        grpo(**wrong)


def test_sizes_that_do_not_divide_are_named_before_a_model_loads(tmp_path: Path, answering: Path) -> None:
    with pytest.raises(UserError, match=r"3 prompts x 4 answers = 12 is no multiple of micro_batch 8"):
        run(grpo(prompts=3, micro_batch=8), tmp_path / "nosuch", tmp_path)
    with pytest.raises(UserError, match="no training problems"):
        run(grpo(task=HellaSwag()), tmp_path / "nosuch", tmp_path)
    with pytest.raises(UserError, match="leaves no room"):
        run(grpo(max_new_tokens=120), answering, tmp_path)


def test_questions_that_are_trained_are_not_read_as_held_out(answering: Path, tmp_path: Path) -> None:
    task = Arithmetic()
    trained = {item.prompt for item in task.problems(None)}
    asked: list[str] = []
    import vocablab.posttrain.reinforced as module

    plain = module.problem
    try:
        module.problem = lambda codec, item, contrast: (asked.append(item.prompt), plain(codec, item, contrast))[1]
        run(grpo(task=task, steps=1, held_out=20), answering, tmp_path / "out")
    finally:
        module.problem = plain
    held_out = asked[len(task.problems(None)) :]
    assert len(held_out) == 20
    assert not set(held_out) & trained


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo", "bnpo"])
def test_every_loss_runs(answering: Path, tmp_path: Path, loss: str) -> None:
    how = "normalize_then_sum" if loss == "dapo" else "sum_then_normalize"
    counts = run(grpo(loss=loss, steps=1, aggregation=how, held_out=2), answering, tmp_path / "out")
    assert counts["steps"] == 1


@pytest.mark.parametrize("size", [GPT2Config(2, 2, 16, 96), ModernConfig(2, 2, 16, 96)])
def test_a_group_read_as_a_tree_has_the_loss_and_gradients_of_its_texts(
    codec: Codec, size: ModelConfig, tmp_path: Path
) -> None:
    export(size.build(codec.vocabulary.padded_size, 1), codec, tmp_path / "m", FormCode.empty(), {})
    prompts = [[0, 5, 9, 11, 3], [0, 7], [0, 5, 9, 11, 3], [0, 7], [0, 5, 9, 11, 3]]
    answers = [[21, 22, 0], [31, 32, 33, 34, 35], [21, 0], [40], [23, 24, 25, 0]]
    keep, longest = 5, 5
    ids, mask = torch.zeros((5, longest + keep), dtype=torch.long), torch.zeros((5, longest + keep), dtype=torch.long)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, longest - len(prompt) : longest + len(answer)] = torch.tensor(prompt + answer)
        mask[row, longest - len(prompt) : longest + len(answer)] = 1
    laid = trees(ids, mask, keep)
    assert laid.ids_GT.shape == (2, 5 + 2 + 1 + 3)
    weights = torch.randn(5, keep, generator=torch.Generator().manual_seed(0))
    found = []
    for together in (True, False):
        model = load_model(tmp_path / "m")
        if together:
            logs, _ = log_probabilities(model, ids, mask, keep, 1.0)
        else:
            logs = torch.zeros(5, keep)
            for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
                scores = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
                one = torch.zeros(keep).index_put(
                    (torch.arange(len(answer)),), scores.gather(-1, torch.tensor(answer)[:, None])[:, 0]
                )
                logs = logs.index_put((torch.tensor(row),), one)
        (logs * weights).sum().backward()
        found.append((logs.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=2e-5 * float(found[1][1].abs().max()))


def test_a_curriculum_from_easy_to_hard_leaves_no_problem_out(tmp_path: Path) -> None:
    config = grpo(steps=100, prompts=16, curriculum=Curriculum(least=0.1, most=0.9, order="easy_first"))
    order = course(config, {0: [0.1 + 0.02 * i for i in range(30)]}, tmp_path).order
    assert set(order) == set(range(30))
    assert order[:16] == sorted(order[:16], reverse=True)


def test_settings_that_would_not_be_read_are_refused() -> None:
    with pytest.raises(UserError, match=r"rl\.scale is of no effect"):
        grpo(aggregation="normalize_then_sum", scale="none")
    with pytest.raises(UserError, match="micro_batch must be 16"):
        grpo(loss="bnpo", micro_batch=8).answers_at_once  # noqa: B018


def test_readings_of_a_step_on_old_answers_do_not_hide_a_lasting_one() -> None:
    limits = Limits(patience=2)
    lines = [
        {"step": 1, "idle_tokens": 5.0, "kl": 0.1},
        {"step": 2, "kl": 0.1},
        {"step": 3, "idle_tokens": 5.0, "kl": 0.1},
    ]
    found = verdict(limits, lines)
    assert found is not None
    assert (found.reason, found.step) == ("idle_tokens", 3)


def test_a_stop_comes_again_after_a_kill(answering: Path, tmp_path: Path) -> None:
    """Killed in the last reading, after the watch had stopped it: the resumed run stops at the same step."""
    config = grpo(
        steps=12, log_every=2, read_every=100, checkpoint_seconds=0.0,
        limits=Limits(entropy=99.0, truncated=1.0, repetition=1.0, idle_tokens=99.0, patience=3),
    )  # fmt: skip
    counts = run(config, answering, tmp_path / "whole")
    assert counts["stopped"]["reason"] == "entropy"
    assert counts["steps"] == 6
    readings = []

    def stopping(done: float, total: float, note: str) -> None:
        readings.append(done)
        if len(readings) == 2:
            raise Killed

    with pytest.raises(Killed):
        run(config, answering, tmp_path / "killed", told=stopping)
    assert run(config, answering, tmp_path / "killed") == counts
    for name in ("model.safetensors", METRICS, COMPLETIONS):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name

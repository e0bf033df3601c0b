"""Training of a checkpoint by reward with TRL; goes on where it was interrupted."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vocablab.base.errors import UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.posttrain.checkpoints import (
    WORK,
    TimedCheckpoints,
    in_bfloat16,
    keep_padding,
    load_model,
    load_tokenizer,
    moves_gate,
    newest,
    quiet,
    silence,
    trained_values,
    write_model,
)
from vocablab.posttrain.curriculum import PASS_RATES, Course
from vocablab.posttrain.held_out import HELD_OUT, HeldOut, Readings, pass_rates
from vocablab.posttrain.rewards import Judge
from vocablab.posttrain.rl import GRPO, Curriculum
from vocablab.posttrain.rollouts import Rollouts, problem, require_room
from vocablab.tasks.task import Item, evenly
from vocablab.training.optimizer import moments, require_float32
from vocablab.vocab.codec import load_codec

METRICS = "metrics.jsonl"
"""One line per logged step (`vocablab.posttrain.grpo_trainer`), and one per reading of held-out items (`HELD_OUT`)."""


def reinforce(
    config: GRPO,
    model_directory: Path,
    data: Path | None,
    seed: int,
    device: str,
    directory: Path,
    progress: Callable[[float, float, str], None],
    attempted: Sequence[Item] | None = None,
) -> dict[str, Any]:
    """Train the checkpoint in `model_directory` by reward, and write the result into `directory` in the same form.

    Args:
        config: how, and on which task.
        model_directory: an exported model of vocablab, usually fine-tuned.
        data: the data directory, for the task.
        seed: of the order of problems and of every answer.
        device: where it trains.
        directory: where the model goes; what an interrupted call left there is used.
        progress: called with steps done, all steps, and a reading.
        attempted: the task's problems that may be trained on; None for all of them.

    Returns:
        Counts for the record: readings at start and end, why it was stopped if it was, the gate of rule 11.

    Raises:
        UserError: if sizes do not divide, the task has no problems, or none is worth an attempt.
    """
    config.answers_at_once  # noqa: B018  (raises before anything is loaded)
    items = list(config.task.problems(data) if attempted is None else attempted)
    if not items:
        raise UserError(f"rl.task: {config.task.name} has no training problems; one_step, drills and gsm8k have.")
    known = {item.prompt for item in items}
    held_out = [
        item for item in config.task.items(data) if item.prompt not in known and config.split in ("", item.split)
    ]
    if not held_out:
        which = f" in split '{config.split}'" if config.split else ""
        raise UserError(f"rl.task: {config.task.name} asks nothing{which} that is no training problem.")
    # Imported after the cheap mistakes have been found: it takes seconds.
    from datasets import Dataset

    from vocablab.posttrain.grpo_trainer import COMPLETIONS, Book, Completions, RewardTrainer, line_of
    from vocablab.posttrain.watch import Watch

    codec, model = load_codec(model_directory), load_model(model_directory)
    padding = model.config.pad_token_id
    problems = [problem(codec, item, config.contrast) for item in items]
    unseen = [problem(codec, item, None) for _, item in evenly(held_out, config.held_out)]
    require_room([*problems, *unseen], config, model.config.max_position_embeddings)
    model.to(device)
    rollouts, judge = Rollouts(config, codec, model, seed), Judge(codec, config.task, config.bonus)

    def measure(step: int) -> list[float]:
        samples = (config.curriculum or Curriculum()).samples
        return pass_rates(problems, rollouts, judge, samples, config.temperature, step)

    course = Course(config, items, seed, measure, directory / PASS_RATES)
    book = Book(config, problems, course.order, rollouts, judge)
    watch = Watch(config.limits, line_of)
    reader = HeldOut(unseen, rollouts, judge, config.held_out_samples, config.temperature)
    steps = config.steps * config.iterations
    work = directory / WORK
    before = trained_values(model)
    bfloat16 = in_bfloat16(config.precision, device, model)
    with quiet():
        trainer = RewardTrainer(
            model=model,
            reward_funcs=book.functions(),
            rollout_func=book.rollout,
            args=_arguments(config, steps, seed, work, device=device, bfloat16=bfloat16),
            train_dataset=Dataset.from_dict({"prompt": [str(i) for i in range(len(course.order))]}),
            processing_class=load_tokenizer(model_directory),
            callbacks=[
                Readings(reader, config.read_every, progress),
                watch,
                course,
                Completions(book, directory / COMPLETIONS),
                # Where a line was just logged, so that no running mean is lost, and new answers come next.
                TimedCheckpoints(config.checkpoint_seconds, math.lcm(config.iterations, config.log_every)),
            ],
        )
    silence(trainer)
    with quiet():
        trainer.train(resume_from_checkpoint=newest(work))
    keep_padding(model, padding)
    require_float32(model.parameters(), moments([trainer.optimizer.optimizer]))
    changed = float((before != trained_values(model)).float().mean())
    write_model(model, directory, model_directory, codec, FormCode.load(model_directory))
    history = [line for entry in trainer.state.log_history if (line := _metrics(entry, line_of)) is not None]
    (directory / METRICS).write_text("".join(json.dumps(line) + "\n" for line in history), encoding="utf-8")
    shutil.rmtree(work)
    readings = [line for line in history if HELD_OUT[0] in line]
    batches = -(-trainer.state.global_step // config.iterations)
    stop = watch.stop or course.stop
    return {
        "problems": len(problems),
        "attempted": len(set(course.order[: batches * config.prompts])),
        "steps": trainer.state.global_step,
        "answers": batches * config.answers,
        "start": {name: readings[0][name] for name in HELD_OUT},
        "end": {name: readings[-1][name] for name in HELD_OUT},
        "held_out": len(unseen),
        "last": next((line for line in reversed(history) if "reward" in line), None),
        "stopped": None if stop is None else {"step": stop.step, "reason": stop.reason, "sentence": stop.sentence},
        "parameters_changed": changed,
        "gates": [moves_gate(changed)],
    }


def _arguments(config: GRPO, steps: int, seed: int, work: Path, *, device: str, bfloat16: bool) -> Any:
    """The trainer's settings; whatever is not named here is TRL's default."""
    from trl import GRPOConfig

    at_once = config.answers_at_once
    return GRPOConfig(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=config.answers // at_once,
        num_generations=config.group,
        num_iterations=config.iterations,
        max_completion_length=config.max_new_tokens,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=min(10, steps // 10),
        weight_decay=0.0,
        beta=config.beta,
        epsilon=config.epsilon,
        epsilon_high=config.epsilon_high,
        loss_type=config.loss,
        scale_rewards=config.scale,
        multi_objective_aggregation=config.aggregation,
        shuffle_dataset=False,
        seed=seed,
        data_seed=seed,
        use_cpu=device == "cpu",
        bf16=bfloat16,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        logging_steps=config.log_every,
        logging_strategy="steps",
        save_strategy="no",
        save_total_limit=1,
        report_to=[],
        disable_tqdm=True,
        disable_dropout=True,
    )


def _metrics(
    entry: dict[str, Any], line_of: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> dict[str, Any] | None:
    if HELD_OUT[0] in entry:
        return {"step": entry["step"], **{name: entry[name] for name in HELD_OUT}}
    return line_of(entry)

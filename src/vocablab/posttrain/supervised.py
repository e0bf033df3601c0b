"""Supervised fine-tuning of a checkpoint with TRL, lesson by lesson; goes on where it was interrupted."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocablab.base.errors import RunError, UserError
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
    write_beside,
    write_model,
)
from vocablab.posttrain.labels import Labelled, check_labels, check_packed, label
from vocablab.posttrain.lessons import Lesson, lessons, shares
from vocablab.posttrain.packing import PackedCollator
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.tasks.task import Example
from vocablab.training.optimizer import moments, require_float32
from vocablab.vocab.codec import Codec, load_codec

MAX_TRUNCATED_SHARE = 0.05
"""Above this share of examples longer than the context, fine-tuning is refused."""
METRICS = "metrics.jsonl"
"""One line per logged step: ``lesson``, ``step`` over all lessons, ``loss``; and one per reading of held-out examples,
``held_out_bits_per_byte``."""
BEST, LAST = "best", "last"
"""Folder of the weights that are kept beside those in use."""


@dataclass(frozen=True)
class _Task:
    """What all lessons share."""

    config: SupervisedFineTuning
    start: Path
    codec: Codec
    seed: int
    device: str
    directory: Path
    progress: Callable[[float, float, str], None]
    padding: int | None
    """The padding id of the start's config."""


def fine_tune(
    config: SupervisedFineTuning,
    model_directory: Path,
    problems: Sequence[Example],
    seed: int,
    device: str,
    directory: Path,
    progress: Callable[[float, float, str], None],
    data: Path | None = None,
) -> dict[str, Any]:
    """Fine-tune the checkpoint in `model_directory` and write the result into `directory` in the same form.

    Args:
        config: how.
        model_directory: an exported model of vocablab.
        problems: training examples of the tasks.
        seed: of the order of examples.
        device: where it trains.
        directory: where the model goes; what an interrupted call left there is used.
        progress: called with steps done, all steps, and a reading.
        data: the data directory, for drills that need one.

    Returns:
        Counts for the record: examples, steps, readings, gates of rules 7 and 11.

    Raises:
        UserError: if there are no examples, too many do not fit, or the batch does not divide.
        RunError: if a gate is red.
    """
    at_once = config.examples_at_once
    drills = [] if config.drills is None else config.drills.examples(data)
    # Mistakes are found before a model is loaded; the lessons are made of what fits.
    lessons(config, problems, drills, seed)
    codec = load_codec(model_directory)
    model = load_model(model_directory)
    rows, too_long = _rows(codec, [*problems, *drills], model.config.max_position_embeddings)
    short, short_drills = ([e for e in examples if e.example_id in rows] for examples in (problems, drills))
    planned = lessons(config, short, short_drills, seed)
    task = _Task(config, model_directory, codec, seed, device, directory, progress, model.config.pad_token_id)
    checked = _check_collators(codec, rows, at_once)
    before = trained_values(model)
    history: list[dict[str, Any]] = []
    done = 0
    for number, lesson in enumerate(planned):
        model, lines = _learn(task, model, number, lesson, rows, done, sum(lesson.steps for lesson in planned))
        history += [{"lesson": lesson.name, **line, "step": done + line["step"]} for line in lines]
        done += lesson.steps
    changed = float((before != trained_values(model)).float().mean())
    examples = {e.example_id: e for lesson in planned for e in lesson.order}
    spans = [s for e in examples.values() for s in codec.intervention.spans(e.prompt + e.target, e.example_id)]
    write_model(model, directory, model_directory, codec, FormCode(Counter(s.form for s in spans)))
    told = _keep_both(task, history, done - planned[-1].steps, FormCode(Counter(s.form for s in spans)))
    (directory / METRICS).write_text("".join(json.dumps(line) + "\n" for line in history))
    shutil.rmtree(directory / WORK)
    losses = [line["loss"] for line in history if "loss" in line]
    drill_ids = frozenset(drill.example_id for drill in drills)
    exposures, updates = _doses(codec, planned, config.batch_size)
    return {
        "examples": len(examples),
        "too_long": too_long,
        "lessons": [
            {
                "name": lesson.name,
                "steps": lesson.steps,
                "examples": len(lesson.order),
                "held_out": len(lesson.held_out),
            }
            | {"drill_share": shares(lesson, drill_ids)}
            for lesson in planned
        ],
        "steps": done,
        "final_loss": losses[-1] if losses else None,
        "parameters_changed": changed,
        "spans": len(spans),
        "exposures": {name: exposures[name] for name in codec.vocabulary.added},
        "updates": {name: updates[name] for name in codec.vocabulary.added},
        **told,
        "gates": [_eos_gate(checked), moves_gate(changed)],
    }


def _doses(codec: Codec, planned: Sequence[Lesson], batch_size: int) -> tuple[Counter[str], Counter[str]]:
    """How often each added token was shown, and in how many steps."""
    tokens = {
        e.example_id: [s.replacement for s in codec.intervention.spans(e.prompt + e.target, e.example_id) if s.is_token]
        for lesson in planned
        for e in lesson.order
    }
    exposures, updates = Counter[str](), Counter[str]()
    for lesson in planned:
        for start in range(0, len(lesson.order), batch_size):
            shown = [token for e in lesson.order[start : start + batch_size] for token in tokens[e.example_id]]
            exposures.update(shown)
            updates.update(set(shown))
    return exposures, updates


def _rows(codec: Codec, examples: Sequence[Example], context: int) -> tuple[dict[str, Labelled], int]:
    """Labelled examples by their ids, and how many are too long."""
    by_id: dict[str, Example] = {}
    for example in examples:
        if by_id.setdefault(example.example_id, example) != example:
            raise UserError(f"two SFT examples are called {example.example_id}; give each task its own examples.")
    found = {name: row for name, e in by_id.items() if (row := label(codec, e, context)) is not None}
    too_long = len(by_id) - len(found)
    if not found or too_long > MAX_TRUNCATED_SHARE * len(by_id):
        raise UserError(f"{too_long} of {len(by_id)} SFT examples do not fit the context; give a longer one.")
    return found, too_long


def _check_collators(codec: Codec, rows: dict[str, Labelled], at_once: int) -> int:
    """Rule 7 on what TRL's collator and ours make of the first examples; how many they are."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    sample, eos = [row.row() for row in list(rows.values())[: 4 * at_once]], codec.vocabulary.eos_id
    check_labels(DataCollatorForLanguageModeling(pad_token_id=eos)(sample), eos, sample)
    check_packed(PackedCollator(eos)(sample), eos, sample)
    return len(sample)


def _learn(
    task: _Task, model: Any, number: int, lesson: Lesson, rows: dict[str, Labelled], done: int, steps: int
) -> tuple[Any, list[dict[str, Any]]]:
    """One lesson; returns the model and the lines of the log. A lesson that was finished before is only read."""
    from datasets import Dataset
    from trl import SFTConfig
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from vocablab.posttrain.sft_trainer import EpochReadings, OrderedTrainer, Progress

    config, work = task.config, task.directory / WORK / str(number)
    finished = work / "finished"
    if (finished / "log.json").exists():
        return load_model(finished), json.loads((finished / "log.json").read_text())
    order = [e.example_id for e in lesson.order]
    names = list(dict.fromkeys(order))
    place = {name: i for i, name in enumerate(names)}
    eos, at_once = task.codec.vocabulary.eos_id, config.examples_at_once
    every = max(1, lesson.steps // 50)
    held_out = [rows[e.example_id] for e in lesson.held_out]
    readings = EpochReadings(held_out, lesson.epoch_ends, eos, task.padding, work / BEST)
    trainer = OrderedTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(work),
            max_steps=lesson.steps,
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=config.batch_size // at_once,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=round(lesson.steps * config.warmup_share),
            weight_decay=config.weight_decay,
            max_length=None,
            seed=task.seed,
            data_seed=task.seed,
            use_cpu=task.device == "cpu",
            bf16=in_bfloat16(config.precision, task.device, model),
            activation_checkpointing=False,
            dataloader_pin_memory=False,
            logging_steps=every,
            logging_strategy="steps",
            save_strategy="no",
            save_total_limit=1,
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=PackedCollator(eos) if config.packing else DataCollatorForLanguageModeling(pad_token_id=eos),
        train_dataset=Dataset.from_list([rows[name].row() for name in names]).select([place[name] for name in order]),
        processing_class=load_tokenizer(task.start),
        callbacks=[readings, TimedCheckpoints(config.checkpoint_seconds, every), Progress(task.progress, done, steps)],
    )
    silence(trainer)
    with quiet():
        trainer.train(resume_from_checkpoint=newest(work))
    keep_padding(model, task.padding)
    require_float32(model.parameters(), moments([trainer.optimizer.optimizer]))
    lines = [_line(entry) for entry in trainer.state.log_history if "loss" in entry or len(_line(entry)) > 1]
    if len(lines) == 0:
        raise RunError("fine-tuning logged nothing.")
    model.save_pretrained(finished)
    (finished / "log.json").write_text(json.dumps(lines))
    return model, lines


def _line(entry: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a log entry."""
    from vocablab.posttrain.sft_trainer import READ

    return {"step": entry["step"], **{key: entry[key] for key in ("loss", "learning_rate", READ) if key in entry}}


def _keep_both(task: _Task, history: list[dict[str, Any]], before: int, forms: FormCode) -> dict[str, Any]:
    """Put best and last weights in their places; `before` steps belong to earlier lessons."""
    from vocablab.posttrain.sft_trainer import readings

    found = [(step, bits) for step, bits in readings(history) if step > before]
    told: dict[str, Any] = {"use": task.config.use, "readings": [{"step": s, "bits_per_byte": b} for s, b in found]}
    if not found:
        return told | {"best_step": None}
    best = min(found, key=lambda reading: reading[1])[0]
    last = found[-1][0]
    if best != last:
        # Copied, and made anew by an attempt after one that was killed here: the work is there until the end.
        kept = _newest_lesson(task.directory / WORK) / BEST
        other = task.directory / (BEST if task.config.use == LAST else LAST)
        if other.exists():
            shutil.rmtree(other)
        other.mkdir()
        for file in kept.iterdir():
            if task.config.use == LAST:
                shutil.copy2(file, other / file.name)
            else:
                shutil.copy2(task.directory / file.name, other / file.name)
                shutil.copy2(file, task.directory / file.name)
        write_beside(other, task.start, task.codec, forms)
    return told | {"best_step": best}


def _newest_lesson(work: Path) -> Path:
    return max((p for p in work.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))


def _eos_gate(examples: int) -> dict[str, Any]:
    return {
        "rule": 7,
        "name": "Exactly one labelled EOS per example, padding never labelled, no example sees another",
        "passed": True,
        "detail": f"checked on TRL's collator and ours over {examples} examples",
    }

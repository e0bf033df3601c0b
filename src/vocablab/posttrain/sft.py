"""Supervised fine-tuning with TRL's `SFTTrainer`, on labels we build ourselves from token spans.

TRL would find the completion by re-tokenizing templates; where pad == eos a collator may also mask the very
EOS a model must learn. So every example arrives with its labels made, and rule 7 is checked on what TRL's own
collator hands to the model.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, TrainerCallback

from vocablab.base.config import execution_only
from vocablab.base.errors import RunError, UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.tasks.task import Example
from vocablab.training.optimizer import moments, require_float32
from vocablab.vocab.codec import Codec, load_codec, save_codec

IGNORE = -100
"""Label of a token that is not learned (PyTorch's cross entropy ignores it)."""
MAX_TRUNCATED_SHARE = 0.05
"""Above this share of examples longer than the context, fine-tuning is refused."""


@dataclass(frozen=True)
class SupervisedFineTuning:
    """How a checkpoint is fine-tuned."""

    epochs: float
    """Passes over the examples."""
    batch_size: int
    """Examples per step."""
    learning_rate: float
    """Peak rate of the cosine schedule."""
    warmup_share: float = 0.05
    """Share of the steps spent warming up."""
    weight_decay: float = 0.0
    """AdamW's decay."""
    micro_batch: int = execution_only(64)
    """Examples per forward pass."""


def label(codec: Codec, example: Example, context: int) -> dict[str, list[int]] | None:
    """Token ids and labels of one example: the target and exactly one EOS are learned, the prompt is not.

    A token belongs to the target if it ends inside it, so a merge across the boundary is learned as a whole.
    None if the example is longer than `context`.
    """
    encoded = codec.encode(example.prompt + example.target, example.example_id)
    if len(encoded.ids) + 2 > context:
        return None
    learned = encoded.ends > len(example.prompt)
    labels = [int(i) if keep else IGNORE for i, keep in zip(encoded.ids, learned, strict=True)]
    eos = codec.vocabulary.eos_id
    # EOS comes first too, unlabelled: in pretraining every document follows one.
    return {"input_ids": [eos, *map(int, encoded.ids), eos], "labels": [IGNORE, *labels, eos]}


def check_labels(batch: dict[str, torch.Tensor], eos_id: int, rows: list[dict[str, list[int]]]) -> None:
    """Rule 7 on a collated batch: one labelled EOS per example, last; padding never labelled.

    Raises:
        RunError: naming what is wrong.
    """
    for labels, ids, row in zip(batch["labels"], batch["input_ids"], rows, strict=True):
        length = len(row["input_ids"])
        if int((labels == eos_id).sum()) != 1 or int(labels[length - 1]) != eos_id:
            raise RunError("rule 7: an example does not carry exactly one labelled EOS at its end.")
        if bool((labels[length:] != IGNORE).any()):
            raise RunError("rule 7: padding is labelled.")
        if not bool(((labels == IGNORE) | (labels == ids)).all()):
            raise RunError("rule 7: a label differs from its token.")


def fine_tune(
    config: SupervisedFineTuning,
    model_directory: Path,
    examples: list[Example],
    seed: int,
    device: str,
    directory: Path,
    progress: Callable[[float, float, str], None],
) -> dict[str, Any]:
    """Fine-tune the checkpoint in `model_directory` and write the result into `directory` in the same form.

    Returns:
        Counts for the record: examples, steps, losses, gates of rules 7 and 11.

    Raises:
        UserError: if there are no examples or the batch does not divide.
        RunError: if a gate is red.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    if config.batch_size % config.micro_batch and config.batch_size > config.micro_batch:
        raise UserError(f"sft.batch_size {config.batch_size} is no multiple of micro_batch {config.micro_batch}.")
    codec = load_codec(model_directory)
    model = AutoModelForCausalLM.from_pretrained(model_directory, local_files_only=True, dtype=torch.float32)
    padding = model.config.pad_token_id
    rows = [row for e in examples if (row := label(codec, e, model.config.max_position_embeddings)) is not None]
    truncated = len(examples) - len(rows)
    if not rows or truncated > MAX_TRUNCATED_SHARE * len(examples):
        raise UserError(f"{truncated} of {len(examples)} SFT examples do not fit the context; give a longer one.")
    micro = min(config.micro_batch, config.batch_size)
    steps = max(1, round(len(rows) * config.epochs / config.batch_size))
    history = _History(progress, steps)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(directory / "trainer"),
            max_steps=steps,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=config.batch_size // micro,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=round(steps * config.warmup_share),
            weight_decay=config.weight_decay,
            max_length=None,
            seed=seed,
            data_seed=seed,
            use_cpu=device == "cpu",
            bf16=device != "cpu",
            activation_checkpointing=False,
            dataloader_pin_memory=False,
            logging_steps=max(1, steps // 50),
            logging_strategy="steps",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=_tokenizer(model_directory),
        callbacks=[history],
    )
    trainer.remove_callback(_printer())
    sample = rows[: 4 * micro]
    check_labels(trainer.data_collator(sample), codec.vocabulary.eos_id, sample)
    before = _trained_values(model)
    trainer.train()
    require_float32(model.parameters(), moments([trainer.optimizer.optimizer]))
    changed = float((before != _trained_values(model)).float().mean())
    # TRL sets it to EOS, and a Qwen3 that is loaded with it never trains that row of its embedding again.
    model.config.pad_token_id = padding
    model.save_pretrained(directory)
    _tokenizer(model_directory).save_pretrained(directory)
    save_codec(codec, directory)
    spans = [span for e in examples for span in codec.intervention.spans(e.prompt + e.target, e.example_id)]
    FormCode(Counter(span.form for span in spans)).save(directory)
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history.lines))
    return {
        "examples": len(rows),
        "too_long": truncated,
        "steps": steps,
        "final_loss": history.lines[-1]["loss"] if history.lines else None,
        "parameters_changed": changed,
        "spans": len(spans),
        "gates": [
            {
                "rule": 7,
                "name": "Exactly one labelled EOS per example, padding never labelled",
                "passed": True,
                "detail": f"checked on TRL's collator over {len(sample)} examples",
            },
            {
                "rule": 11,
                "name": "Fine-tuning state is float32 and moves the weights",
                "passed": changed > 0.99,
                "detail": f"{changed:.2%} of parameters changed",
            },
        ],
    }


def _trained_values(model: Any) -> torch.Tensor:
    """All parameters in one vector, but for tables in which rows are only looked up (positions, an untied embedding):
    a row that no example holds gets no gradient."""
    head = model.get_output_embeddings().weight
    tables = [m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding) and m.weight is not head]
    looked_up = {id(table) for table in tables}
    return torch.cat([p.detach().cpu().flatten().clone() for p in model.parameters() if id(p) not in looked_up])


def _tokenizer(directory: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory)


def _printer() -> type:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


class _History(TrainerCallback):  # type: ignore[misc]
    """Collects the logged losses and passes progress on."""

    def __init__(self, progress: Callable[[float, float, str], None], steps: int) -> None:
        self.lines: list[dict[str, float]] = []
        self._progress, self._steps = progress, steps

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **rest: Any) -> None:
        if logs and "loss" in logs:
            loss = float(logs["loss"])
            self.lines.append({"step": state.global_step, "loss": loss})
            self._progress(state.global_step, self._steps, f"loss {loss:.3f}")

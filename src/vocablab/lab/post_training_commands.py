"""`vocablab sft` and `vocablab rl`: an exported model trained further, on examples or by reward."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vocablab.base.errors import UserError

BONUSES = ("none", "used", "ungated")
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A directory that `vocablab export` made, or a run of a study.")
]
Unseen = Annotated[
    str,
    typer.Option("--unseen", help="Tasks that will be asked in the end: what states their unseen facts is left out."),
]
Out = Annotated[Path, typer.Option("--out", help="Where the model goes.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the order, and of every answer.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")]
Data = Annotated[str | None, typer.Option("--data", help="Local data directory (else VOCABLAB_DATA).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")]


def sft_command(
    model: Model, out: Out,
    tasks: Annotated[str, typer.Option("--tasks", help="Whose examples are learned, by commas: gsm8k, one_step, ...")],
    drills: Annotated[bool, typer.Option("--drills", help="Add synthetic drills of the table.")] = False,
    order: Annotated[str, typer.Option("--order", help="Of drills: mixed, interleaved or drills_first.")] = "mixed",
    epochs: Annotated[float, typer.Option("--epochs", help="Passes over the tasks' examples.")] = 3.0,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Examples per step.")] = 32,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Peak of the cosine.")] = 2e-5,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="field=value of the fine-tuning: drill_share=0.8, use=best.")
    ] = None,
    unseen: Unseen = "", seed: Seed = 0, device: Device = "auto", data: Data = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Fine-tune a model on a task's examples. Killed, the same command goes on."""
    from vocablab.base.config import overridden, to_json
    from vocablab.base.data import data_directory
    from vocablab.lab.devices import chosen_device
    from vocablab.lab.models import model_source
    from vocablab.lab.post_training import require_most_kept
    from vocablab.posttrain.sft import SupervisedFineTuning
    from vocablab.tasks.drills import Drills
    from vocablab.tasks.named import named_tasks

    chosen = tuple(named_tasks([name.strip() for name in tasks.split(",") if name.strip()], None, 0))
    config = overridden(
        SupervisedFineTuning(
            epochs, batch_size, learning_rate, tasks=chosen, drills=Drills() if drills else None, order=order
        ),
        overrides or [],
    )
    where, directory = chosen_device(device), data_directory(data)
    asked = _unseen(unseen, directory)
    every = [example for task in config.tasks for example in task.examples(directory)]
    problems = [example for example in every if not asked.told(example.prompt, example.target)]
    require_most_kept(len(problems), len(every), "examples")
    source = model_source(model, "main", directory)

    def work(partial: Path) -> dict[str, Any]:
        from vocablab.posttrain.supervised import fine_tune

        counts = fine_tune(config, source.directory, problems, seed, where, partial, _said(), directory)
        return counts | {"left_out": len(every) - len(problems)}

    identity = {"sft": to_json(config, identity_only=True), "seed": seed, "unseen": unseen}
    counts = _stage("sft", out, source, identity, work, where)
    if as_json:
        print(json.dumps({"out": str(out), **counts}))
        return
    if counts["left_out"]:
        print(f"{counts['left_out']:,} of {len(every):,} examples state what --unseen asks and were left out")
    for lesson in counts["lessons"]:
        print(f"{lesson['name']}: {lesson['steps']:,} steps, {lesson['drill_share']:.0%} drills")
    if counts["readings"]:
        told = ", ".join(f"{reading['bits_per_byte']:.3f}" for reading in counts["readings"])
        print(f"held-out bits per byte by epoch: {told}; best after step {counts['best_step']:,}")
    print(f"Model, readings and record: {out}")


def rl_command(
    model: Model, out: Out,
    task: Annotated[str, typer.Option("--task", help="Whose problems are solved: one_step, gsm8k, arithmetic, ...")],
    steps: Annotated[int, typer.Option("--steps", help="Optimiser steps.")] = 100,
    prompts: Annotated[int, typer.Option("--prompts", help="Problems per step.")] = 16,
    group: Annotated[int, typer.Option("--group", help="Answers per problem; 2 with --contrast.")] = 8,
    bonus: Annotated[
        str, typer.Option("--bonus", help="For fact tokens: none, used (in a right answer), or ungated (any token).")
    ] = "used",
    contrast: Annotated[
        str | None, typer.Option("--contrast", help="Pairs: banned (no tokens in one) or prompted (a hint in one).")
    ] = None,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="After the warm-up.")] = 1e-5,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Longest answer.")] = 48,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="field=value: loss=dr_grpo, limits.kl=0.5, split=heldout_story.")
    ] = None,
    unseen: Unseen = "", seed: Seed = 0, device: Device = "auto", data: Data = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Train a model by reward: GRPO, or contrastive pairs. Killed, the same command goes on."""
    from vocablab.base.config import overridden, to_json
    from vocablab.base.data import data_directory
    from vocablab.lab.devices import chosen_device
    from vocablab.lab.models import model_source
    from vocablab.lab.post_training import require_most_kept
    from vocablab.posttrain.rl import GRPO, Contrast, TokenBonus
    from vocablab.tasks.named import named_tasks

    if bonus not in BONUSES:
        raise UserError(f"--bonus {bonus}: there is {', '.join(BONUSES)}.")
    known = {"none": None, "used": TokenBonus(), "ungated": TokenBonus(gated=False, counts="any")}
    found = named_tasks([task], None, 0)
    if len(found) != 1:
        raise UserError(f"--task {task}: give the one way to ask it.")
    config = overridden(
        GRPO(
            found[0], steps, prompts, group, learning_rate, max_new_tokens, bonus=known[bonus],
            contrast=None if contrast is None else Contrast(contrast), scale="group" if contrast is None else "none",
        ),
        overrides or [],
    )  # fmt: skip
    where, directory = chosen_device(device), data_directory(data)
    asked = _unseen(unseen, directory)
    source = model_source(model, "main", directory)

    def work(partial: Path) -> dict[str, Any]:
        from vocablab.posttrain.reinforced import reinforce

        every = config.task.problems(directory)
        kept = [item for item in every if not asked.told(item.prompt, item.gold)]
        require_most_kept(len(kept), len(every), "problems")
        counts = reinforce(config, source.directory, directory, seed, where, partial, _said(), kept)
        return counts | {"left_out": len(every) - len(kept)}

    identity = {"rl": to_json(config, identity_only=True), "seed": seed, "unseen": unseen}
    counts = _stage("rl", out, source, identity, work, where)
    if as_json:
        print(json.dumps({"out": str(out), **counts}))
        return
    start, end = counts["start"], counts["end"]
    print(f"{counts['steps']:,} steps, {counts['answers']:,} answers to {counts['attempted']:,} problems")
    print(
        f"held out, {counts['held_out']} items: pass rate {start['held_out_pass_rate']:.3f} at the start, "
        f"{end['held_out_pass_rate']:.3f} at the end; most probable answers right {start['held_out_greedy']:.3f}, "
        f"{end['held_out_greedy']:.3f}"
    )
    if counts["stopped"] is not None:
        print(f"STOPPED after step {counts['stopped']['step']}: {counts['stopped']['sentence']}.")
    print(f"Model, readings, answers and record: {out}")


def _unseen(names: str, data: Path | None) -> Any:
    from vocablab.lab.post_training import Unseen as WhatIsUnseen
    from vocablab.tasks.named import named_tasks

    chosen = [name.strip() for name in names.split(",") if name.strip()]
    return WhatIsUnseen.of(named_tasks(chosen, None, 0), data)


def _stage(
    name: str, out: Path, source: Any, identity: dict[str, Any], work: Callable[[Path], dict[str, Any]], device: str
) -> dict[str, Any]:
    """Do it, or find it done; returns the counts of the record."""
    from vocablab.lab.artifacts import FORMATS, publish_once
    from vocablab.vocab.codec import INTERVENTION_FILE

    if source.trained or not (source.directory / INTERVENTION_FILE).exists():
        raise UserError(
            f"{source.directory} is no model that vocablab exported (it has no {INTERVENTION_FILE}): vocablab import "
            "and vocablab export make one of a checkpoint, vocablab export one of a run."
        )
    whole = {"stage": name, "format": FORMATS[name], "model": source.identity(), **identity}
    return publish_once(out, whole, work, device, resumes=True)


def _said() -> Any:
    """Progress on standard error, and nothing of what libraries below say."""
    import warnings

    import transformers

    from vocablab.lab.pretrain_command import Said

    warnings.filterwarnings("ignore", module=r"(transformers|trl|accelerate|torch)\.")
    transformers.utils.logging.set_verbosity_error()
    return Said()

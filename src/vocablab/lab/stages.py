"""The stages of one run (one arm and seed), each published whole with its record, or not at all."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vocablab.base.config import fingerprint, to_json
from vocablab.base.errors import RunError
from vocablab.base.records import read_record
from vocablab.corpus.accounting import gate
from vocablab.corpus.build import Arm as CorpusArm
from vocablab.corpus.build import build, held_out_documents, training_texts
from vocablab.corpus.leaks import LeakIndex
from vocablab.corpus.lost_form import FormCode
from vocablab.corpus.shards import read_split
from vocablab.corpus.workers import InProcess
from vocablab.lab.artifacts import FORMATS, is_done, run_stage, share
from vocablab.lab.evaluation_hook import evaluation_hook
from vocablab.lab.evaluation_texts import evaluation_texts, leak_gates
from vocablab.lab.post_training import fine_tune_run, reinforce_run
from vocablab.lab.probes import probe_run
from vocablab.lab.registration import COUNTED_AS, registration_hash
from vocablab.lab.run_context import Place, RunContext
from vocablab.lab.study import Arm, Study
from vocablab.lab.trained import read_trained
from vocablab.pretrain.length import target_bytes
from vocablab.pretrain.loop import pretrain
from vocablab.pretrain.start import read_checkpoint, with_tokens
from vocablab.training.distributed import Ranks
from vocablab.vocab.vocabulary import Vocabulary, padded

STAGES = ("prepare", "pretrain", "export", "sft", "rl", "probe", "evaluate")
"""The stages of a run in order, of which not every arm has all; the study-wide vocabulary comes before, the report
after."""
DRAWN = frozenset({"pretrain", "sft", "rl"})
"""Stages that draw from the arm's own seed (`Arm.seed_offset`); documents and questions are the same in every arm."""
RESUMES = frozenset({"prepare", "pretrain", "sft", "rl"})
"""Stages that go on from what an interrupted attempt left; the others begin again."""


def vocabulary_identity(study: Study) -> dict[str, Any]:
    """What decides the study-wide vocabulary: base, corpus, and the tokens of all arms (for the common padding)."""
    recipe = study.arm(study.control).recipe
    return {
        "stage": "vocabulary",
        "format": FORMATS["vocabulary"],
        "base_vocabulary": to_json(recipe.base_vocabulary, identity_only=True),
        "corpus": to_json(recipe.corpus, identity_only=True),
        "seed": study.seeds[0],
        "most_added_tokens": max(len(arm.intervention.tokens()) for arm in study.arms),
    }


def identities(study: Study, arm: Arm, seed: int) -> dict[str, dict[str, Any]]:
    """Identity of every stage of a run, from the configs alone; each holds its input's fingerprint."""
    recipe = arm.recipe
    # What the evaluation asks decides which documents and examples are left out (rule 10).
    asked = {"asked": recipe.evaluate.tasks}
    parts: dict[str, dict[str, Any]] = {
        "prepare": {
            "corpus": recipe.corpus,
            "intervention": arm.pretrained_with,
            "budget": recipe.pretrain.budget,
            "max_epochs": recipe.pretrain.max_epochs,
            "model": recipe.model,
        }
        | asked,
        "pretrain": {
            "model": recipe.model,
            "pretrain": recipe.pretrain,
            "during_pretraining": recipe.evaluate.during_pretraining,
        },
        # An arm whose tokens come later is exported with rows for them.
        "export": {} if arm.tokens_from == "pretrain" else {"added": arm.intervention, "drawn": arm.drawn_seed(seed)},
        "sft": {"sft": recipe.sft, "tasks": recipe.sft.tasks or recipe.evaluate.tasks} | asked,
        "rl": {"rl": recipe.rl} | asked,
        "probe": {"probe": recipe.probe},
        "evaluate": {"evaluate": recipe.evaluate},
    }
    found: dict[str, dict[str, Any]] = {}
    previous = {"vocabulary": fingerprint(vocabulary_identity(study))}
    for stage in stages_of(arm):
        found[stage] = {
            "stage": stage,
            "format": FORMATS[stage],
            "seed": arm.drawn_seed(seed) if stage in DRAWN else seed,
            "inputs": previous,
            **to_json(parts[stage], identity_only=True),
        }
        # What a probe finds is nobody's input.
        previous = previous if stage == "probe" else {stage: fingerprint(found[stage])}
    return found


def stages_of(arm: Arm) -> tuple[str, ...]:
    """The stages that an arm has."""
    absent = {name for name, how in (("rl", arm.recipe.rl), ("probe", arm.recipe.probe)) if how is None}
    return tuple(stage for stage in STAGES if stage not in absent)


def until(arm: Arm, stage: str) -> tuple[str, ...]:
    """The stages that an arm has up to and including `stage`, which it may lack itself."""
    wanted = STAGES[: STAGES.index(stage) + 1]
    return tuple(one for one in stages_of(arm) if one in wanted)


def makers(study: Study) -> set[str]:
    """Arms whose pretrained model no arm before them makes."""
    seen: set[str] = set()
    makers = set()
    for arm in study.arms:
        made = fingerprint(identities(study, arm, study.seeds[0])["pretrain"])
        if made not in seen:
            makers.add(arm.name)
        seen.add(made)
    return makers


def make_vocabulary(study: Study, place: Place) -> None:
    """Make the study-wide base vocabulary, padded to one size for all arms (rule 3)."""

    def work(directory: Path) -> dict[str, Any]:
        recipe = study.arm(study.control).recipe
        base = recipe.base_vocabulary.build(training_texts(recipe.corpus, place.data, study.seeds[0]))
        most = max(len(arm.intervention.tokens()) for arm in study.arms)
        vocabulary = Vocabulary(base, (), padded(base.get_vocab_size() + most))
        vocabulary.save(directory)
        sizes = {"base_size": vocabulary.base_size, "padded_size": vocabulary.padded_size}
        return {**sizes, COUNTED_AS: registration_hash(study)}

    run_stage(place.study(study) / "vocabulary", vocabulary_identity(study), work, "cpu", resumes=False)


def run_stages(context: RunContext, last: str = STAGES[-1]) -> list[str]:
    """Run what is missing of a run, up to and including the stage `last`; returns the stages that ran."""
    work: dict[str, Callable[[RunContext, Path], dict[str, Any]]] = {
        "prepare": _prepare,
        "pretrain": _pretrain,
        "export": _export,
        "sft": fine_tune_run,
        "rl": reinforce_run,
        "probe": probe_run,
        "evaluate": _evaluate,
    }
    known = identities(context.study, context.arm, context.seed)
    # Not identity: the same model stays the same model whatever is claimed about it.
    registered = {COUNTED_AS: registration_hash(context.study)}
    ran = []
    for stage in until(context.arm, last):
        if is_done(context.path(stage), known[stage]) or adopted(context, stage, known[stage]):
            continue
        context.progress(stage, 0, 1)
        run_stage(
            context.path(stage),
            known[stage],
            lambda directory, stage=stage: {**work[stage](context, directory), **registered},  # type: ignore[misc]
            context.place.device,
            resumes=stage in RESUMES,
        )
        context.progress(stage, 1, 1)
        ran.append(stage)
    return ran


def adopted(context: RunContext, stage: str, identity: dict[str, Any]) -> bool:
    """Whether another arm of the study has made this very artifact of the same seed, which is then shared.

    Arms that differ in a late stage have the early ones in common: the same identity, so the same artifact.
    """
    if stage in ("probe", "evaluate"):
        # Their rows carry the name of their run.
        return False
    for arm in context.study.arms:
        theirs = identities(context.study, arm, context.seed).get(stage)
        place = context.place.stage(context.study, arm.name, context.seed, stage)
        if arm.name == context.arm.name or theirs is None or fingerprint(theirs) != fingerprint(identity):
            continue
        if read_record(place) is not None and is_done(place, identity):
            share(place, context.path(stage), f"{arm.name}/seed{context.seed}/{stage}")
            return True
    return False


def _prepare(run: RunContext, directory: Path) -> dict[str, Any]:
    recipe, codec = run.arm.recipe, run.corpus_codec()
    texts = evaluation_texts(recipe.evaluate.tasks, run.place.data)
    found = build(
        recipe.corpus,
        {run.arm.name: CorpusArm(codec, directory)},
        directory / "work",
        data=run.place.data,
        seed=run.seed,
        engine=InProcess(),
        leaks=LeakIndex(texts),
        progress=lambda done, total, note: run.progress("prepare", done if total else 0, total or 1),
    )
    counts = {**found["arms"][run.arm.name], **{k: found[k] for k in ("sources", "dropped", "noticed", "leaks")}}
    train = counts["train"]
    flops = sum(recipe.model.flops_per_token(codec.vocabulary.padded_size).values())
    wanted = target_bytes(recipe.pretrain, train["raw_bytes"], train["tokens"], flops)
    available = train["raw_bytes"] * recipe.pretrain.max_epochs
    if wanted > available:
        raise RunError(
            f"the corpus has {train['raw_bytes']} training bytes, {wanted:.0f} are wanted and at most "
            f"{recipe.pretrain.max_epochs:g} epochs are allowed: it stops short of its target."
        )
    counts["gates"] += leak_gates(run.arm.intervention, texts, found["dropped"])
    counts["gates"].append(
        gate(12, "Corpus reaches the budget", True, f"{available:.0f} bytes available for {wanted:.0f} wanted")
    )
    return counts


def _pretrain(run: RunContext, directory: Path) -> dict[str, Any]:
    recipe, codec = run.arm.recipe, run.corpus_codec()
    config = recipe.pretrain
    checkpoint = None
    if config.init_from:
        checkpoint = read_checkpoint(config.init_from, config.init_revision, run.place.data, codec.vocabulary)
    return pretrain(
        config,
        recipe.model,
        codec,
        read_split(run.path("prepare") / "train"),
        read_split(run.path("prepare") / "validation"),
        run.arm.drawn_seed(run.seed),
        directory,
        lambda done, total, note: run.progress("pretrain", done, total, note),
        place=Ranks(device=run.place.device),
        checkpoint=checkpoint,
        hook=evaluation_hook(
            recipe.evaluate.during_pretraining,
            codec,
            run.path("prepare"),
            run.place.data,
        ),
    )


def _export(run: RunContext, directory: Path) -> dict[str, Any]:
    from vocablab.export.hugging_face import export

    found = read_trained(run.path("pretrain"))
    if run.arm.tokens_from == "pretrain":
        return export(found.network, found.codec, directory, found.forms, found.record)
    codec, new_rows = run.codec(), run.arm.recipe.pretrain.new_rows
    network, step0 = with_tokens(found.network, codec, new_rows, run.arm.drawn_seed(run.seed))
    counts = export(network, codec, directory, FormCode.empty(), found.record)
    return counts | ({} if step0 is None else {"step0": asdict(step0)})


def _evaluate(run: RunContext, directory: Path) -> dict[str, Any]:
    from vocablab.evaluate.answering import Answering
    from vocablab.evaluate.run import Asked, evaluate_run

    wanted = run.arm.recipe.evaluate
    held_out = held_out_documents(run.arm.recipe.corpus, run.place.data, wanted.text_documents)
    asked = Asked(
        wanted.tasks,
        Answering(wanted.decodings, wanted.max_new_tokens),
        tuple(held_out),
        wanted.text_modes,
        wanted.forced_prefix,
    )
    run_id = f"{run.study.name}/{run.arm.name}/seed{run.seed}"
    pretrained, finished = run.path("export"), run.path(run.finished)
    return evaluate_run(pretrained, finished, asked, run.place.data, run_id, directory, run.place.device, run.progress)

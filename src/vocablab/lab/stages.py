"""The stages of one run (one arm and seed), each published whole with its record, or not at all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocablab.base.config import fingerprint, to_json
from vocablab.base.errors import RunError
from vocablab.base.progress import Progress, silent
from vocablab.corpus.accounting import gate
from vocablab.corpus.build import Arm as CorpusArm
from vocablab.corpus.build import build, held_out_documents, training_texts
from vocablab.corpus.leaks import LeakIndex
from vocablab.corpus.shards import read_split
from vocablab.corpus.workers import InProcess
from vocablab.lab.artifacts import FORMATS, is_done, run_stage
from vocablab.lab.evaluation_hook import evaluation_hook
from vocablab.lab.evaluation_texts import evaluation_texts, leak_gates
from vocablab.lab.registration import COUNTED_AS, registration_hash
from vocablab.lab.study import Arm, Study
from vocablab.lab.trained import read_trained
from vocablab.pretrain.length import target_bytes
from vocablab.pretrain.loop import pretrain
from vocablab.pretrain.start import read_checkpoint
from vocablab.training.distributed import Ranks
from vocablab.vocab.codec import Codec
from vocablab.vocab.vocabulary import Vocabulary, padded

STAGES = ("prepare", "pretrain", "export", "sft", "evaluate")
"""The stages of a run in order; the study-wide vocabulary comes before, the report after."""
DRAWN = frozenset({"pretrain", "sft"})
"""Stages that draw from the arm's own seed (`Arm.seed_offset`); documents and questions are the same in every arm."""
RESUMES = frozenset({"prepare", "pretrain"})
"""Stages that go on from what an interrupted attempt left; the others begin again."""


@dataclass(frozen=True)
class Place:
    """Where and how a study runs: nothing here changes a result."""

    runs: Path
    """Directory of all studies' runs."""
    data: Path | None
    """The data directory, or None."""
    device: str = "cpu"
    """Device the models run on."""

    def study(self, study: Study) -> Path:
        """The study's directory."""
        return self.runs / study.name

    def stage(self, study: Study, arm: str, seed: int, stage: str) -> Path:
        """Directory of one stage of one run."""
        return self.study(study) / arm / f"seed{seed}" / stage


@dataclass
class RunContext:
    """One run under way; keeps what several of its stages need."""

    study: Study
    arm: Arm
    seed: int
    place: Place
    progress: Progress = silent

    def path(self, stage: str) -> Path:
        """Directory of a stage of this run."""
        return self.place.stage(self.study, self.arm.name, self.seed, stage)

    def codec(self) -> Codec:
        """The arm's codec: the study's vocabulary with this arm's tokens."""
        shared = Vocabulary.load(self.place.study(self.study) / "vocabulary")
        vocabulary = Vocabulary(shared.base, self.arm.intervention.tokens(), shared.padded_size)
        return Codec(vocabulary, self.arm.intervention)


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
    parts: dict[str, dict[str, Any]] = {
        "prepare": {
            "corpus": recipe.corpus,
            "intervention": arm.intervention,
            "budget": recipe.pretrain.budget,
            "max_epochs": recipe.pretrain.max_epochs,
            "model": recipe.model,
        },
        "pretrain": {
            "model": recipe.model,
            "pretrain": recipe.pretrain,
            "during_pretraining": recipe.evaluate.during_pretraining,
        },
        "export": {},
        "sft": {"sft": recipe.sft, "tasks": recipe.evaluate.tasks},
        "evaluate": {"evaluate": recipe.evaluate},
    }
    found: dict[str, dict[str, Any]] = {}
    previous = {"vocabulary": fingerprint(vocabulary_identity(study))}
    for stage in STAGES:
        found[stage] = {
            "stage": stage,
            "format": FORMATS[stage],
            "seed": arm.drawn_seed(seed) if stage in DRAWN else seed,
            "inputs": previous,
            **to_json(parts[stage], identity_only=True),
        }
        previous = {stage: fingerprint(found[stage])}
    return found


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


def run_stages(context: RunContext, until: str = STAGES[-1]) -> list[str]:
    """Run what is missing of a run, up to and including the stage `until`; returns the stages that ran."""
    work: dict[str, Callable[[RunContext, Path], dict[str, Any]]] = {
        "prepare": _prepare,
        "pretrain": _pretrain,
        "export": _export,
        "sft": _sft,
        "evaluate": _evaluate,
    }
    known = identities(context.study, context.arm, context.seed)
    # Not identity: the same model stays the same model whatever is claimed about it.
    registered = {COUNTED_AS: registration_hash(context.study)}
    ran = []
    for stage in STAGES[: STAGES.index(until) + 1]:
        if is_done(context.path(stage), known[stage]):
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


def _prepare(run: RunContext, directory: Path) -> dict[str, Any]:
    recipe, codec = run.arm.recipe, run.codec()
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
    recipe, codec = run.arm.recipe, run.codec()
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
    return export(found.network, found.codec, directory, found.forms, found.record)


def _sft(run: RunContext, directory: Path) -> dict[str, Any]:
    from vocablab.posttrain.sft import fine_tune

    examples = [e for task in run.arm.recipe.evaluate.tasks for e in task.examples(run.place.data)]
    return fine_tune(
        run.arm.recipe.sft,
        run.path("export"),
        examples,
        run.arm.drawn_seed(run.seed),
        run.place.device,
        directory,
        lambda done, total, note: run.progress("sft", done, total, note),
    )


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
    return evaluate_run(
        run.path("export"), run.path("sft"), asked, run.place.data, run_id, directory, run.place.device, run.progress
    )

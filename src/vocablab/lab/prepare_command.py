"""`vocablab prepare`: documents in, token shards of every arm out."""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vocablab.base.config import fingerprint, to_json
from vocablab.base.data import data_directory
from vocablab.base.errors import RunError, UserError
from vocablab.base.records import read_record
from vocablab.corpus.build import DOSE_GATE, Arm, build, inputs_of
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.fact_scan import canonical
from vocablab.corpus.leaks import EvaluationText, LeakIndex
from vocablab.corpus.mixtures import declared_corpus
from vocablab.corpus.synthetic import TargetDose
from vocablab.corpus.workers import Engine, InProcess, LocalWorkers
from vocablab.lab.amounts import amount
from vocablab.lab.artifacts import FORMATS, publish_once
from vocablab.lab.evaluation_texts import (
    held_out_keys,
    held_out_tokens,
    named_evaluation_sets,
)
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.interventions import choose_intervention
from vocablab.vocab.meaning import family_of
from vocablab.vocab.vocabulary import Vocabulary, gpt2_base, padded


def prepare_command(
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            help="A file, a directory, a name (fineweb-edu, openwebmath, gsm8k, mathematics, arithmetic, prose), a "
            "mixture (math-light, math-heavy, math-only, offline-math) or hub:owner/name; may be repeated as "
            "SOURCE:WEIGHT.",
        ),
    ],
    intervention: Annotated[
        list[str] | None,
        typer.Option(
            "--intervention", help="An arm; may be repeated. All arms are made in one pass. Default: control."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the corpus goes.")] = Path("corpus"),
    target_tokens: Annotated[
        str | None, typer.Option("--target-tokens", help="Training tokens of the base vocabulary: 10B, 20M, 500000.")
    ] = None,
    target_dose: Annotated[
        float | None,
        typer.Option(
            "--target-dose", help="Share of training tokens that shall be tokens of the first intervention with facts."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            help="Leave out documents that hold an item of this evaluation set; may be repeated; 'all' for every set "
            "in the data directory.",
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option("--vocabulary", help="Directory with a vocabulary.json; otherwise GPT-2's.")
    ] = None,
    field: Annotated[str | None, typer.Option("--field", help="Field of a row that holds the text.")] = None,
    validation_share: Annotated[float, typer.Option("--validation-share", help="Share of documents held out.")] = 0.005,
    seed: Annotated[int, typer.Option("--seed", help="Decides the order, and what generated sources write.")] = 0,
    data: Annotated[str | None, typer.Option("--data", help="Local data directory (else VOCABLAB_DATA).")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Worker processes; one per core otherwise.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="local or ray.")] = "local",
    address: Annotated[str | None, typer.Option("--address", help="Address of a running Ray cluster.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Turn documents into token shards, all arms in one pass: same documents, same order.

    Killed at any moment, the same command goes on. Nothing is published unless every target is reached.
    """
    if engine not in ("local", "ray"):
        raise UserError(f"--engine {engine}: it is local or ray.")
    if not 0 <= validation_share < 1:
        raise UserError(f"--validation-share {validation_share}: it is a share of documents, at least 0 and under 1.")
    directory = data_directory(data)
    rules = {_arm_name(name): choose_intervention(name) for name in intervention or ["control"]}
    codecs = _codecs(rules, vocabulary)
    tokens = None if target_tokens is None else amount("--target-tokens", target_tokens)
    corpus = declared_corpus(source, field=field, validation_share=validation_share, target_tokens=tokens)
    texts = _evaluation_texts(against or [], directory)
    if target_dose is not None:
        held_out = held_out_keys(texts)
        corpus = replace(corpus, dose=_dose(target_dose, list(rules.values()), held_out))
    identity = _identity(corpus, codecs, seed, directory, texts)
    began = time.monotonic()
    before = read_record(out)
    counts = publish_once(
        out, identity, lambda partial: _work(
            partial, corpus, codecs, directory, seed, texts, engine, address, jobs, quiet=as_json
        ), "cpu", resumes=True,
    )  # fmt: skip
    if as_json:
        print(json.dumps({"out": str(out), "seconds": time.monotonic() - began, **counts}))
        return
    if before is not None:
        print("Nothing to do: a valid record covers this corpus.")
    _print(counts, out)


def _work(
    partial: Path,
    corpus: Corpus,
    codecs: dict[str, Codec],
    data: Path | None,
    seed: int,
    texts: list[EvaluationText],
    engine: str,
    address: str | None,
    jobs: int | None,
    *,
    quiet: bool,
) -> dict[str, Any]:
    partial = partial.resolve()
    arms = {name: Arm(codec, partial / name) for name, codec in codecs.items()}
    leaks = LeakIndex(texts) if texts else None

    def run(chosen: Engine) -> dict[str, Any]:
        return build(
            corpus, arms, partial / "work", data=data, seed=seed, engine=chosen, leaks=leaks, progress=_Said(quiet)
        )  # fmt: skip

    workers = jobs or os.cpu_count() or 1
    if engine == "ray":
        from vocablab.lab.ray_engine import RayEngine

        counts = run(RayEngine(address))
    elif workers == 1:
        counts = run(InProcess())
    else:
        with LocalWorkers(workers) as chosen:
            counts = run(chosen)
    if leaks is not None:
        counts["too_short_to_scan"] = dict(leaks.too_short())
        keys = set(held_out_keys(texts))
        counts["tokens_of_held_out_facts"] = {n: held_out_tokens(c.intervention, keys) for n, c in codecs.items()}
    for name, arm in counts["arms"].items():
        red = [gate for gate in arm["gates"] if not gate["passed"]]
        if red:
            raise RunError(f"{name}: {red[0]['name']} (rule {red[0]['rule']}) does not hold: {red[0]['detail']}.")
    return counts


def _identity(
    corpus: Corpus, codecs: dict[str, Codec], seed: int, data: Path | None, texts: list[EvaluationText]
) -> dict[str, Any]:
    first = next(iter(codecs.values())).vocabulary
    scanned = [[t.set, t.item, t.text, list(t.facts)] for t in texts]
    return {
        "stage": "prepare",
        "format": FORMATS["prepare"],
        "corpus": to_json(corpus, identity_only=True),
        "arms": {name: to_json(codec.intervention, identity_only=True) for name, codec in codecs.items()},
        "vocabulary": Vocabulary(first.base, (), first.padded_size).fingerprint(),
        "seed": seed,
        "files": {s.label: inputs_of(s.ordered_parts(data, seed)) for s in corpus.sources},
        "against": fingerprint(scanned),
    }


def _arm_name(name: str) -> str:
    return Path(name).stem if name.endswith((".py", ".json")) else name


def _codecs(rules: dict[str, Intervention], vocabulary: Path | None) -> dict[str, Codec]:
    base = gpt2_base() if vocabulary is None else Vocabulary.load(vocabulary).base
    # The same padded size in every arm (rule 3).
    size = padded(base.get_vocab_size() + max(len(rule.tokens()) for rule in rules.values()))
    return {name: Codec(Vocabulary(base, rule.tokens(), size), rule) for name, rule in rules.items()}


def _dose(share: float, rules: list[Intervention], held_out: tuple[str, ...]) -> TargetDose:
    for rule in rules:
        family = family_of(rule)
        if family is not None and rule.tokens():
            hidden = [fact.key for fact in family.facts(ordered=False) if canonical(fact) in held_out]
            return TargetDose(share, rule, held_out=tuple(hidden))
    raise UserError("--target-dose needs an --intervention with tokens for facts, such as mul_facts.")


def _evaluation_texts(names: list[str], data: Path | None) -> list[EvaluationText]:
    sets = named_evaluation_sets(data)
    if "all" in names:
        names = list(sets)
    unknown = [name for name in names if name not in sets]
    if unknown:
        raise UserError(
            f"--against {unknown[0]}: unknown or not in the data directory; there is {', '.join(sets)}, all."
        )
    return [text for name in names for text in sets[name]()]


class _Said:
    """Progress on standard error: a line every few seconds, rewritten on a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._began, self._last = quiet, time.monotonic(), 0.0

    def __call__(self, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if self._quiet or now - self._last < (0.2 if terminal else 10):
            return
        self._last = now
        if total:
            text = f"{note}: {done} of {total}"
        else:
            text = f"{note}: {done / 1e6:,.0f} MB read, {done / 1e6 / max(1e-9, now - self._began):.0f} MB/s"
        print(f"\r{text:<70}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)


def _print(counts: dict[str, Any], out: Path) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=118)
    sources = Table(title="Documents")
    for head in ("source", "train", "MB", "base tokens", "validation", "left out"):
        sources.add_column(head, justify="left" if head == "source" else "right")
    for name, found in counts["sources"].items():
        train = found["train"]
        sources.add_row(
            name, f"{train['documents']:,}", f"{train['raw_bytes'] / 1e6:.2f}", f"{train['base_tokens']:,}",
            f"{found['validation']['documents']:,}", f"{sum(found['dropped'].values()):,}",
        )  # fmt: skip
    console.print(sources)
    arms = Table(title="Arms: training tokens")
    for head in ("arm", "tokens", "added", "dose", "sites", "exposures per token: least, median, most"):
        arms.add_column(head, justify="left" if head == "arm" else "right")
    for name, arm in counts["arms"].items():
        each = sorted(arm["exposures"].values())
        spread = f"{each[0]:,}, {each[len(each) // 2]:,}, {each[-1]:,}" if each else ""
        arms.add_row(
            name, f"{arm['train']['tokens']:,}", f"{sum(each):,}", f"{arm['dose']:.4%}",
            f"{arm['train']['spans']:,}", spread,
        )  # fmt: skip
    console.print(arms)
    first = next(iter(counts["arms"].values()))
    for gate in first["gates"]:
        if gate["name"] == DOSE_GATE:
            print(f"Dose: {gate['detail']}.")
    for name, arm in counts["arms"].items():
        _print_exposures(name, arm["exposures"])
    for title, values in (("Left out", counts["dropped"]), ("Noticed", counts["noticed"])):
        if values:
            print(f"{title}: {', '.join(f'{count:,} {reason}' for reason, count in values.items())}.")
    _print_held_out(counts.get("tokens_of_held_out_facts", {}))
    print(f"Same documents in the same order in every arm; record, counts and hashes: {out / 'record.json'}")


def _print_held_out(tokens: dict[str, list[str]]) -> None:
    for name, known in tokens.items():
        if known:
            print(f"{name}: {len(known)} tokens stand for facts that evaluation items ask for: {', '.join(known[:5])}.")


def _print_exposures(name: str, exposures: dict[str, int]) -> None:
    if not exposures:
        return
    listed = [f"{token} {count:,}" for token, count in exposures.items()]
    if len(listed) > 100:
        print(f"{name}: exposures of {len(listed):,} tokens are in the record.")
        return
    width = max(map(len, listed)) + 2
    across = max(1, 116 // width)
    print(f"{name}, exposures in training:")
    for first in range(0, len(listed), across):
        print("  " + "".join(f"{text:<{width}}" for text in listed[first : first + across]).rstrip())

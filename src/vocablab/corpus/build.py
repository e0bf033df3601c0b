"""Raw documents to the shards of every arm in one pass: the only place where an intervention meets a corpus.

First every block becomes runs (`encoding`), until each source has given its share. Then, if a dose is wanted, documents
that state facts are written until it is reached. Then the runs become shards (`assembly`). Every step leaves whole
files only, so a killed build goes on where it was and ends with the same bytes.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vocablab.base.errors import RunError, UserError
from vocablab.base.files import write_json_atomically
from vocablab.corpus.accounting import arm_gates, gate, same_documents_gate, spread, spread_gate, sum_up
from vocablab.corpus.assembly import Plan, PlannedRun, form_counts
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.encoding import set_up
from vocablab.corpus.hashing import is_held_out, text_hash
from vocablab.corpus.leaks import LeakIndex
from vocablab.corpus.lost_form import FormCode
from vocablab.corpus.parts import UNREADABLE, Part
from vocablab.corpus.runs import SPLITS, Counts, RunReader, Summary
from vocablab.corpus.sources import Document, Source
from vocablab.corpus.workers import Engine
from vocablab.vocab.codec import Codec, save_codec
from vocablab.vocab.vocabulary import Vocabulary

MAX_DROPPED_SHARE = 0.01
"""Above this share of documents (or of input bytes) that cannot be used the corpus is refused."""
SHARD_TOKENS = 1 << 24
"""Training tokens of the base vocabulary in a shard, about."""
DOSE_TOLERANCE = 0.05
"""How far from its target, relative to it, a dose may be."""
DOSE_ARM = "for-the-dose"
"""The arm that is only counted where the dose is that of an intervention which is no arm."""
DOSE_GATE = "Dose reaches its target"
DOSE_SOURCE = "dose"
"""Label of the documents that are written for a dose."""


@dataclass(frozen=True)
class Arm:
    """An arm of a corpus."""

    codec: Codec
    """Its vocabulary and intervention."""
    directory: Path
    """Where its splits go."""


@dataclass
class Taken:
    """What is taken of one source."""

    label: str
    """The source's."""
    summaries: list[Summary] = field(default_factory=list)
    """Its runs in order, as far as they are taken."""
    end: int | None = None
    """Documents of the last run from this position on are not taken."""
    counts: dict[str, Counts] = field(default_factory=lambda: {split: Counts() for split in SPLITS})
    """What is taken."""
    inputs: list[list[Any]] = field(default_factory=list)
    """Name and size of each part."""

    def add(self, summary: Summary) -> None:
        """Take a whole run."""
        self.summaries.append(summary)
        for split, counts in summary.split.items():
            self.counts[split].add(counts)


def inputs_of(parts: list[tuple[int, Part]]) -> list[list[Any]]:
    """Origin and size of each part of a source, in their own order."""
    return [[part.origin, part.size] for _, part in sorted(parts, key=lambda pair: pair[0])]


Progress = Callable[[int, int, str], None]
"""Called with raw bytes done, an estimate of all (0: unknown), and what is being done."""


def build(
    corpus: Corpus,
    arms: Mapping[str, Arm],
    work: Path,
    *,
    data: Path | None,
    seed: int,
    engine: Engine,
    leaks: LeakIndex | None,
    progress: Progress,
) -> dict[str, Any]:
    """Build the corpus of every arm.

    Args:
        corpus: what is declared.
        arms: by name; their vocabularies share base and padded size.
        work: a directory for what lives only during the build; it is removed at the end.
        data: the data directory, or None.
        seed: decides the order, and what generated sources write.
        engine: who does the work.
        leaks: what must not be in a document (rule 10), or None.
        progress: see `Progress`.

    Returns:
        Counts for the record: ``sources``, ``dropped``, ``noticed``, ``leaks``, and by arm the counts of its splits,
        exposures, dose and gates.

    Raises:
        RunError: if a target is not reached, too much had to be left out, or a replacement cannot be undone.
        UserError: if a source is missing, or the arms do not fit together.
    """
    codecs = {name: arm.codec for name, arm in arms.items()}
    first = _fit_together(codecs)
    dosed = _dosed_arm(corpus, codecs)
    if dosed == DOSE_ARM and corpus.dose is not None:
        rule = corpus.dose.intervention
        codecs[DOSE_ARM] = Codec(Vocabulary(first.base, rule.tokens(), first.padded_size), rule)
    sources: list[Source] = [*corpus.sources, *([corpus.dose.documents()] if corpus.dose else [])]
    labels = [source.label for source in corpus.sources] + ([DOSE_SOURCE] if corpus.dose else [])
    if len(set(labels)) != len(labels):
        raise UserError(f"two sources have the same name: {', '.join(labels)}.")
    retired = work.with_name(f"{work.name}.retired")
    if retired.exists():
        shutil.rmtree(retired)
    set_up(work, seed, corpus.validation_share, labels, codecs, leaks)
    collector = _Collector(str(work), data, seed, engine, progress)
    shares = _shares(corpus)
    taken = []
    for number, source in enumerate(corpus.sources):
        quota = None if corpus.target_tokens is None else shares[number] * corpus.target_tokens
        taken.append(collector.natural(number, labels[number], source, quota))
    if corpus.weights and corpus.target_tokens is None:
        possible = min(t.counts["train"].base_tokens / share for t, share in zip(taken, shares, strict=True) if share)
        for one, share in zip(taken, shares, strict=True):
            collector.cut_to(one, share * possible)
    _refuse_bad_input(taken)
    _refuse_short(corpus, taken, shares)
    if corpus.dose is not None and dosed is not None:
        number = len(corpus.sources)
        taken.append(collector.dose(number, sources[number], taken, dosed, corpus.dose.share))
    plan = _plan(taken, arms)
    for name, arm in arms.items():
        arm.directory.mkdir(parents=True, exist_ok=True)
        code: Counter[str] = Counter()
        for one in taken:
            code.update(_forms(work / "runs", plan, one, name))
        FormCode(code).save(arm.directory)
        save_codec(arm.codec, arm.directory)
        write_json_atomically(arm.directory / "corpus.json", {"format": 3, "sources": labels})
    plan.save(work)
    (work / "shards").mkdir(exist_ok=True)
    wanted = [(split, number) for split in SPLITS for number in range(plan.shards[split])]
    results = []
    for done, result in enumerate(engine.assemble(str(work), wanted), 1):
        results.append(result)
        progress(done, len(wanted), "writing shards")
    by_split = [(split, result) for (split, _), result in zip(wanted, results, strict=True)]
    counts = _counts(corpus, arms, taken, by_split, dosed)
    # Under its own name a node of a cluster may still write to it, at a block that nobody waits for any more; under
    # another one no file appears while it is emptied.
    work.rename(retired)
    shutil.rmtree(retired)
    return counts


def _fit_together(codecs: Mapping[str, Codec]) -> Vocabulary:
    first = next(iter(codecs.values())).vocabulary
    for name, codec in codecs.items():
        same_base = codec.vocabulary.base is first.base or codec.vocabulary.base_json == first.base_json
        if codec.vocabulary.padded_size != first.padded_size or not same_base:
            raise UserError(f"arm {name} has another base vocabulary or padded size than the others (rule 3).")
    return first


def _dosed_arm(corpus: Corpus, codecs: Mapping[str, Codec]) -> str | None:
    if corpus.dose is None:
        return None
    return next((n for n, c in codecs.items() if c.intervention == corpus.dose.intervention), DOSE_ARM)


def _shares(corpus: Corpus) -> list[float]:
    if corpus.weights and len(corpus.weights) != len(corpus.sources):
        raise UserError(f"{len(corpus.sources)} sources have {len(corpus.weights)} weights.")
    if corpus.weights and (min(corpus.weights) < 0 or sum(corpus.weights) <= 0):
        raise UserError("the weights of sources must be at least 0, and one of them more.")
    if len(corpus.sources) > 1 and corpus.target_tokens is not None and not corpus.weights:
        raise UserError("several sources with a target in tokens need weights.")
    weights = corpus.weights or (1.0,) * len(corpus.sources)
    return [weight / sum(weights) for weight in weights]


class _Collector:
    """Takes from sources what is wanted of them."""

    def __init__(self, work: str, data: Path | None, seed: int, engine: Engine, progress: Progress) -> None:
        self._work, self._data, self._seed, self._engine, self._progress = work, data, seed, engine, progress

    def natural(self, number: int, label: str, source: Source, quota: float | None) -> Taken:
        """A source up to its quota in training tokens, or to its own limit, or to its end."""
        parts = source.ordered_parts(self._data, self._seed)
        taken = Taken(label, inputs=inputs_of(parts))
        limit = source.most_bytes
        for summaries in self._engine.encode(self._work, number, parts):
            for summary in summaries:
                taken.add(summary)
            size = sum(counts.raw_bytes for counts in taken.counts.values())
            self._progress(size, 0, label)
            if limit is not None and size >= limit:
                self._cut(taken, float(limit), _raw_bytes)
                break
            if quota is not None and taken.counts["train"].base_tokens >= quota:
                self._cut(taken, quota, _train_tokens)
                break
        return taken

    def cut_to(self, taken: Taken, quota: float) -> None:
        """Take less of a source that was read to its end."""
        if taken.counts["train"].base_tokens > quota:
            self._cut(taken, quota, _train_tokens)

    def dose(self, number: int, source: Source, natural: list[Taken], arm: str, share: float) -> Taken:
        """As many documents of facts as make `share` of the training tokens of `arm` added ones."""
        tokens = sum(one.counts["train"].arms[arm].tokens for one in natural if one.counts["train"].arms)
        added = sum(one.counts["train"].arms[arm].added for one in natural if one.counts["train"].arms)
        if added > share * tokens * (1 + DOSE_TOLERANCE):
            raise RunError(
                f"the documents have a dose of {added / tokens:.4%} already; a target of {share:.4%} cannot be "
                "reached by adding documents."
            )
        taken = Taken(DOSE_SOURCE)
        for summaries in self._engine.encode(self._work, number, source.ordered_parts(self._data, self._seed)):
            for summary in summaries:
                taken.add(summary)
            mine = taken.counts["train"].arms.get(arm)
            if mine is None:
                raise RunError(f"the facts' own documents are all left out ({dict(summaries[0].dropped)}).")
            if mine.added <= share * mine.tokens:
                raise RunError(
                    f"a dose of {share:.2%} cannot be reached: documents of facts have {mine.added / mine.tokens:.2%}."
                )
            if added + mine.added >= share * (tokens + mine.tokens):
                needed = share * tokens - added
                self._cut(taken, needed, lambda run: _surplus(run, arm, share))
                break
            self._progress(taken.counts["train"].raw_bytes, 0, DOSE_SOURCE)
        else:
            raise RunError(f"a dose of {share:.2%} takes more documents of facts than there can be.")
        return taken

    def _cut(self, taken: Taken, quota: float, measure: Callable[[RunReader], np.ndarray]) -> None:
        """Take no more documents than reach `quota`."""
        summaries, taken.summaries = taken.summaries, []
        taken.counts = {split: Counts() for split in SPLITS}
        so_far = 0.0
        for summary in summaries:
            if so_far >= quota:
                break
            if not summary.path:
                taken.add(summary)
                continue
            reader = RunReader(Path(self._work) / "runs" / summary.path)
            position = reader.column("position")
            order = np.argsort(position)
            sums = so_far + np.cumsum(measure(reader)[order])
            # A document of facts may lower the sum when it is in validation or has few of them: the first that reaches.
            reached = np.flatnonzero(sums >= quota)
            if len(reached) and int(reached[0]) + 1 < len(order):
                taken.end = int(position[order[int(reached[0]) + 1]])
                taken.add(_before(summary, reader, taken.end))
                return
            taken.add(summary)
            so_far = float(sums[-1])


def _raw_bytes(reader: RunReader) -> np.ndarray:
    return reader.column("raw_bytes").astype(np.float64)


def _train_tokens(reader: RunReader) -> np.ndarray:
    return (reader.column("base_tokens") * reader.column("is_train")).astype(np.float64)


def _surplus(reader: RunReader, arm: str, share: float) -> np.ndarray:
    """How many added tokens each training document brings beyond its own share."""
    surplus = reader.arm("added", arm) - share * reader.arm("lengths", arm)
    return np.asarray(surplus * reader.column("is_train"))


def _before(summary: Summary, reader: RunReader, end: int) -> Summary:
    """The summary of a run whose documents from position `end` on are not taken."""
    kept, is_train = reader.column("position") < end, reader.column("is_train")
    split = {}
    for name, side in (("train", is_train), ("validation", ~is_train)):
        split[name] = reader.counts(kept & side, list(summary.split[name].arms))
    return Summary(**{**summary.__dict__, "split": split})


def _refuse_bad_input(taken: Iterable[Taken]) -> None:
    """Rule 12: above a rate, what had to be left out makes the corpus another one than was declared."""
    for one in taken:
        bad: Counter[str] = Counter()
        for summary in one.summaries:
            bad.update({reason: count for reason, count in summary.dropped.items() if not reason.startswith("leak: ")})
        kept = sum(counts.documents for counts in one.counts.values())
        if not kept:
            raise RunError(f"source {one.label} holds no document that can be used ({_reasons(bad) or 'it is empty'}).")
        if bad.total() > MAX_DROPPED_SHARE * (kept + bad.total()):
            raise RunError(
                f"{bad.total()} of {kept + bad.total()} documents of source {one.label} were dropped "
                f"({_reasons(bad)}); at most {MAX_DROPPED_SHARE:.0%} may be."
            )
        broken = [(name, size) for name, size in one.inputs if f"{UNREADABLE}{name}" in bad]
        size = sum(size for _, size in one.inputs)
        if sum(size for _, size in broken) > MAX_DROPPED_SHARE * size:
            names = ", ".join(name for name, _ in broken[:5])
            raise RunError(f"source {one.label} has files that cannot be read, or not to their end: {names}.")


def _reasons(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items(), key=lambda pair: -pair[1])[:5])


def _refuse_short(corpus: Corpus, taken: list[Taken], shares: list[float]) -> None:
    if corpus.target_tokens is None:
        return
    for one, share in zip(taken, shares, strict=True):
        quota, found = share * corpus.target_tokens, one.counts["train"].base_tokens
        if found < quota:
            raise RunError(
                f"source {one.label} has {found} training tokens where {quota:.0f} are wanted: the corpus stops "
                "short of its target."
            )


def _plan(taken: list[Taken], arms: Mapping[str, Arm]) -> Plan:
    runs = []
    for one in taken:
        for summary in one.summaries:
            if summary.path:
                end = one.end if summary is one.summaries[-1] else None
                train = summary.rows_train
                runs.append(PlannedRun(summary.path, summary.source, train, end))
    tokens = {split: sum(one.counts[split].base_tokens for one in taken) for split in SPLITS}
    shards = {split: max(1, -(-count // SHARD_TOKENS)) for split, count in tokens.items()}
    return Plan(runs, shards, {name: str(arm.directory) for name, arm in arms.items()})


def _forms(runs: Path, plan: Plan, one: Taken, arm: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for summary in one.summaries:
        if summary is one.summaries[-1] and one.end is not None:
            planned = next(run for run in plan.runs if run.path == summary.path)
            found.update(form_counts(runs, planned, arm))
        else:
            found.update(summary.forms.get(arm, {}))
    return found


def _counts(
    corpus: Corpus,
    arms: Mapping[str, Arm],
    taken: list[Taken],
    results: list[tuple[str, dict[str, Any]]],
    dosed: str | None,
) -> dict[str, Any]:
    dropped: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    leaks: list[list[str]] = []
    sources: dict[str, Any] = {}
    for one in taken:
        mine: Counter[str] = Counter()
        for summary in one.summaries:
            mine.update(summary.dropped)
            noticed.update(summary.noticed)
            leaks += summary.leaks
        dropped.update(mine)
        sizes = {split: dict(one.counts[split].__dict__) for split in SPLITS}
        for size in sizes.values():
            size.pop("arms")
        sources[one.label] = {"inputs": one.inputs, "dropped": dict(mine), **sizes}
    by_arm = {name: sum_up(results, name, arm.codec, arm.directory) for name, arm in arms.items()}
    shared = [same_documents_gate(by_arm), *_target_gates(corpus, taken, dosed)]
    any_arm = next(iter(arms.values()))
    if corpus.dose is not None:
        sources[DOSE_SOURCE]["spread"] = spread(any_arm.directory, len(taken) - 1)
        shared.append(spread_gate(sources[DOSE_SOURCE]["spread"], corpus.validation_share))
    for name, arm in arms.items():
        by_arm[name]["gates"] = [*arm_gates(arm.codec, by_arm[name]), *shared]
    return {
        "sources": sources,
        "dropped": dict(dropped),
        "noticed": dict(noticed),
        "leaks": leaks,
        "arms": by_arm,
    }


def _target_gates(corpus: Corpus, taken: list[Taken], dosed: str | None) -> list[dict[str, Any]]:
    found = []
    if corpus.target_tokens is not None:
        natural = sum(one.counts["train"].base_tokens for one in taken if one.label != DOSE_SOURCE)
        found.append(
            gate(
                12,
                "Corpus reaches its target",
                natural >= corpus.target_tokens,
                f"{natural} training tokens of the base vocabulary for {corpus.target_tokens} wanted",
            )
        )
    if corpus.dose is not None and dosed is not None:
        counts = [one.counts["train"].arms[dosed] for one in taken if one.counts["train"].arms]
        reached = sum(c.added for c in counts) / sum(c.tokens for c in counts)
        found.append(
            gate(
                12,
                DOSE_GATE,
                abs(reached / corpus.dose.share - 1) <= DOSE_TOLERANCE,
                f"{reached:.4%} of the training tokens are added ones, {corpus.dose.share:.4%} wanted",
            )
        )
    return found


def training_texts(corpus: Corpus, data: Path | None, seed: int) -> Iterator[str]:
    """The texts that a vocabulary may be trained on: all of the declared sources but what is held out."""
    for document in _documents(corpus, data, seed):
        if not _is_held_out(corpus, document):
            yield document.text


def held_out_documents(corpus: Corpus, data: Path | None, limit: int) -> list[tuple[str, str]]:
    """Name and text of the first `limit` documents of the declared sources that are validation in every run.

    The same for every seed, so that items and seeds are crossed: the text alone decides the split, so what generated
    sources write with seed 0 is in no run's training part.
    """
    held = ((d.name, d.text) for d in _documents(corpus, data, 0) if _is_held_out(corpus, d))
    return list(islice(held, limit))


def _documents(corpus: Corpus, data: Path | None, seed: int) -> Iterator[Document]:
    for source in corpus.sources:
        yield from source.documents(data, seed)


def _is_held_out(corpus: Corpus, document: Document) -> bool:
    return is_held_out(text_hash(document.text.encode("utf-8", "surrogatepass")), corpus.validation_share)

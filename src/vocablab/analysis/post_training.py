"""Fine-tuning and training by reward, arm by arm: what was learned, how held-out problems went, the curves on the way.

Means are over the seeds that are there. Nothing here is a claim: the verdicts rest on the items of `evaluate` alone.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from vocablab.analysis.losses import thin
from vocablab.analysis.scores import Run, StudyFiles

Row = dict[str, Any]

READ = "held_out_bits_per_byte"
"""A reading of fine-tuning's held-out examples; lost forms are not charged, so it compares steps and not arms."""
HELD_OUT = (
    "held_out_pass_rate", "held_out_greedy", "held_out_reward", "held_out_emitted_tokens", "held_out_used_tokens",
)  # fmt: skip
"""A reading of the held-out problems of training by reward."""
LOGGED = ("reward", "entropy", "kl", "length", "truncated", "repetition", "used_tokens", "idle_tokens")
"""What the report tells of the last logged step of training by reward."""
PAIRED = (
    "with_right", "without_right", "only_with_right", "only_without_right", "with_better", "without_better",
    "difference",
)  # fmt: skip
"""Statistics of contrastive pairs: an answer with added tokens beside one without."""
_DRAWN = ("reward", "used_tokens", "idle_tokens", "entropy", "only_with_right", "only_without_right", "difference")
_PARTS = 4
"""A step has few pairs, so their statistics are means over the first and the last quarter of the logged steps."""


def post_training(study: StudyFiles) -> Row:
    """What the report tells of the stages `sft` and `rl`.

    ``fine_tuning`` and ``reward`` each have ``runs`` (fine-tuning: one row per arm, seed and lesson; reward: one per
    arm and seed), ``arms`` (the same as means over seeds), and ``curves``: by name the lines of each arm (`_curve`).
    """
    return {"fine_tuning": _fine_tuning(study), "reward": _reward(study)}


def stops(study: StudyFiles) -> list[Row]:
    """Runs whose training by reward stopped early, by its watch or curriculum: ``arm``, ``seed``, ``step``, ``reason``,
    ``sentence``."""
    counts = [(run, run.records["rl"].counts) for run in study.runs.values() if "rl" in run.records]
    return [
        {"arm": run.arm, "seed": run.seed, **found}
        for run, told in counts
        if (found := told.get("stopped")) is not None
    ]


def _fine_tuning(study: StudyFiles) -> Row:
    runs = [row for run in study.runs.values() for row in _lessons(run)]
    names = dict.fromkeys(str(line["lesson"]) for run in study.runs.values() for line in _readings(run))
    curves = [
        curve | {"lesson": lesson}
        for arm in study.arm_names
        for lesson in names
        if (curve := _curve(study, arm, READ, partial(_of_lesson, lesson)))
    ]
    arms = [_lesson_means(rows) for rows in _groups(runs, "arm", "lesson")]
    return {"runs": runs, "arms": arms, "curves": {READ: curves} if curves else {}}


def _lessons(run: Run) -> Iterable[Row]:
    """One row per lesson; the best step is of the last, whose weights are kept."""
    record = run.records.get("sft")
    counts = record.counts if record else {}
    lessons = counts.get("lessons") or []
    for lesson in lessons:
        mine = _of_lesson(lesson["name"], run)
        row = {
            "arm": run.arm,
            "seed": run.seed,
            "lesson": lesson["name"],
            **{name: lesson.get(name) for name in ("steps", "examples", "held_out", "drill_share")},
            "end": mine[-1][READ] if mine else None,
            **dict.fromkeys(("best", "best_step", "last_step", "use")),
        }
        bits = {reading["step"]: reading["bits_per_byte"] for reading in counts.get("readings") or []}
        if lesson is lessons[-1] and bits:
            best = counts["best_step"]
            row |= {"best": bits[best], "best_step": best, "last_step": max(bits), "use": counts["use"]}
        yield row


def _readings(run: Run) -> list[Row]:
    return [line for line in run.sft_metrics if line.get(READ) is not None]


def _of_lesson(lesson: str, run: Run) -> list[Row]:
    return [line for line in _readings(run) if line["lesson"] == lesson]


def _lesson_means(rows: list[Row]) -> Row:
    means = {name: _mean(row[name] for row in rows) for name in ("examples", "held_out", "drill_share", "end", "best")}
    every = {name: [row[name] for row in rows] for name in ("steps", "best_step", "last_step")}
    first = {name: rows[0][name] for name in ("arm", "lesson", "use")}
    return first | {"n_seeds": len(rows)} | means | every


def _reward(study: StudyFiles) -> Row:
    runs = [_rewarded(run) for run in study.runs.values() if "rl" in run.records]
    curves = {}
    for name in (*HELD_OUT[:2], *_DRAWN):
        found = [_curve(study, arm, name, lambda run: run.rl_metrics) for arm in study.arm_names]
        if any(found):
            curves[name] = [curve for curve in found if curve]
    return {"runs": runs, "arms": [_reward_means(rows) for rows in _groups(runs, "arm")], "curves": curves}


def _rewarded(run: Run) -> Row:
    counts = run.records["rl"].counts
    kept = ("steps", "problems", "attempted", "answers", "held_out", "stopped")
    last = counts.get("last") or {}
    return {
        "arm": run.arm,
        "seed": run.seed,
        **{name: counts.get(name) for name in kept},
        "start": _held_out(counts["start"]),
        "end": _held_out(counts["end"]),
        "last": {name: last.get(name) for name in LOGGED},
        "paired": _paired(run),
    }


def _held_out(reading: Row) -> Row:
    idle = reading["held_out_emitted_tokens"] - reading["held_out_used_tokens"]
    return {name: reading[name] for name in HELD_OUT} | {"held_out_idle_tokens": idle}


def _paired(run: Run) -> Row | None:
    """``first`` and ``last``: the statistics of pairs at either end of the training; None if it had no pairs."""
    lines = [line for line in run.rl_metrics if PAIRED[0] in line]
    if not lines:
        return None
    size = max(1, len(lines) // _PARTS)
    ends = {"first": lines[:size], "last": lines[-size:]}
    return {end: {name: _mean(line[name] for line in part) for name in PAIRED} for end, part in ends.items()}


def _reward_means(rows: list[Row]) -> Row:
    pairs = [row["paired"] for row in rows if row["paired"]]
    return {
        "arm": rows[0]["arm"],
        "n_seeds": len(rows),
        "steps": [row["steps"] for row in rows],
        **{name: _means([row[name] for row in rows]) for name in ("start", "end", "last")},
        "stopped": [{"seed": row["seed"], **row["stopped"]} for row in rows if row["stopped"]],
        "paired": {end: _means([pair[end] for pair in pairs]) for end in ("first", "last")} if pairs else None,
    }


def _means(rows: list[Row]) -> Row:
    return {name: _mean(row[name] for row in rows) for name in rows[0]}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _groups(rows: list[Row], *names: str) -> list[list[Row]]:
    """Rows that agree in `names`, in order of first appearance."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(found.values())


def _curve(study: StudyFiles, arm: str, name: str, lines_of: Callable[[Run], list[Row]]) -> Row | None:
    """One arm's readings of `name`: ``seeds``, each with ``step`` and ``value``, and their mean (``step``, ``mean``).

    The mean is over steps that every seed has, so it ends where the first seed was stopped: what the others do
    afterwards would look like a jump.
    """
    seeds = {}
    for seed in study.seeds:
        found = {line["step"]: line[name] for line in lines_of(study.runs[(arm, seed)]) if line.get(name) is not None}
        if found:
            seeds[seed] = found
    if not seeds:
        return None
    common = sorted(set.intersection(*(set(found) for found in seeds.values())))
    means = thin([{"step": step, "value": _mean(found[step] for found in seeds.values())} for step in common])
    lines = {seed: thin([{"step": step, "value": v} for step, v in found.items()]) for seed, found in seeds.items()}
    return {
        "arm": arm,
        "seeds": [{"seed": seed, **_columns(rows)} for seed, rows in lines.items()],
        "step": [row["step"] for row in means],
        "mean": [row["value"] for row in means],
    }


def _columns(rows: list[Row]) -> Row:
    return {name: [row[name] for row in rows] for name in ("step", "value")}

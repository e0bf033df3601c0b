"""One row per item: what `scores.parquet` holds."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

METRICS = (
    "acc", "acc_flexible", "acc_norm", "acc_bytes", "acc_tokens", "p_correct", "margin_bits", "reliance", "recomputed",
    "repetition",
)  # fmt: skip
"""Columns that are scores of an item; empty where a task has no such score."""


@dataclass(frozen=True)
class Row:
    """One row of `scores.parquet`."""

    run_id: str
    """``study/arm/seedN``, or the name of a model."""
    task: str
    """Name of the task."""
    item_id: str
    """The item, unique in its task, mode and decoding."""
    cluster_id: str
    """Items that share it are not independent."""
    split: str
    """Part of the task."""
    metric: str
    """What `score` is: the first score of the task, one of `METRICS` or ``bits_per_byte``."""
    score: float | None
    """The score; None for text, whose measure is gold_bits over raw_bytes."""
    gold_bits: float
    """Bits of the reference, given the prompt, in the arm's own form, the lost form of replacements included."""
    raw_bytes: int
    """UTF-8 bytes of the reference."""
    n_tokens: int
    """Tokens of the reference that were scored."""
    prompt: str
    """What the model read."""
    output: str
    """What it answered, added tokens by name; empty where nothing is generated."""
    extracted: str
    """The answer read from the rendered output."""
    ended_eos: bool
    """Whether the answer ended by itself; of several samples, the first."""
    extractor_version: str
    """Version of the answer extractor."""
    mode: str = ""
    """How the task is asked: ``harness``, ``karpathy``, ``8-shot``; for text ``native``, ``plain``, ``outside``."""
    decoding: str = ""
    """``free``, ``banned``, ``forced``, ``sampled`` or ``counterfactual``; empty where nothing is generated."""
    acc: float | None = None
    """Strict accuracy of an answer; of choices, whether the right one is the most probable as a whole."""
    acc_flexible: float | None = None
    """Accuracy of the flexible reading of an answer."""
    acc_norm: float | None = None
    """Whether the right choice is the most probable per unit of length; the unit is the item's (characters for
    lm-evaluation-harness, tokens for build-nanogpt)."""
    acc_bytes: float | None = None
    """The same per UTF-8 byte."""
    acc_tokens: float | None = None
    """The same per token."""
    p_correct: float | None = None
    """Probability of the right choice among the choices."""
    margin_bits: float | None = None
    """Bits by which the right choice is cheaper than the best wrong one; negative if it is dearer."""
    reliance: float | None = None
    """Whether the answer followed a planted, wrong statement."""
    recomputed: float | None = None
    """Whether the answer was right in spite of it."""
    repetition: float | None = None
    """Share of the output's runs of four tokens that occurred in it before (Welleck et al. 2019, seq-rep-4)."""
    n_output_tokens: int = 0
    """Tokens of the output."""
    ended_share: float | None = None
    """Share of the samples that ended by themselves."""
    n_samples: int = 0
    """Answers that were sampled; the scores are their means."""
    prompt_cut: bool = False
    """Whether the context had no room for all of the prompt."""
    fact_tokens: tuple[str, ...] = ()
    """Added tokens in the answer, in order."""
    fact_tokens_right: tuple[str, ...] = ()
    """Those of them that the reference has too."""
    n_fact_tokens: int = 0
    """How many."""
    n_fact_right: int = 0
    """How many of them the reference has too."""
    fact_fits: bool = False
    """Whether an added token has a place in the reference."""


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "task", "item_id", "cluster_id", "split", "metric")),
        ("score", pa.float64()),
        ("gold_bits", pa.float64()),
        ("raw_bytes", pa.int64()),
        ("n_tokens", pa.int64()),
        *((name, pa.string()) for name in ("prompt", "output", "extracted")),
        ("ended_eos", pa.bool_()),
        *((name, pa.string()) for name in ("extractor_version", "mode", "decoding")),
        *((name, pa.float64()) for name in METRICS),
        ("n_output_tokens", pa.int64()),
        ("ended_share", pa.float64()),
        ("n_samples", pa.int64()),
        ("prompt_cut", pa.bool_()),
        ("fact_tokens", pa.list_(pa.string())),
        ("fact_tokens_right", pa.list_(pa.string())),
        ("n_fact_tokens", pa.int64()),
        ("n_fact_right", pa.int64()),
        ("fact_fits", pa.bool_()),
    ]
)
"""Column types of `scores.parquet`."""


def write_rows(rows: list[Row], path: Path) -> None:
    """Write rows as Parquet."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    pq.write_table(pa.table(columns, schema=SCHEMA), path)

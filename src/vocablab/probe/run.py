"""All probes of one model, and what they leave on disk."""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vocablab.base.files import write_json_atomically
from vocablab.probe.attention import attention
from vocablab.probe.audit import audit
from vocablab.probe.causal import causal
from vocablab.probe.composed import composed
from vocablab.probe.config import Probing
from vocablab.probe.fourier import fourier
from vocablab.probe.geometry import geometry
from vocablab.probe.lens import lens
from vocablab.probe.linear import linear_probes, text_probes
from vocablab.probe.measures import Findings, Measure
from vocablab.probe.retrieval import retrieval
from vocablab.probe.subject import Subject, taught
from vocablab.probe.untaught import untaught

MEASURES = "measures.parquet"
"""One row per `Measure`, with the model's name."""
FINDINGS = "findings.json"
"""All of `Findings`: measures, figures as data, notes."""


def probe(subject: Subject, config: Probing, progress: Callable[[float, float, str], None]) -> Findings:
    """Run every probe that the model has something for; each says in a note what it could not measure.

    Args:
        subject: the model.
        config: how thoroughly.
        progress: called with probes done, all probes, and which comes next.
    """
    n, seed = config.permutations, config.seed
    steps: list[tuple[str, Callable[[], Findings]]] = [
        ("rows", lambda: geometry(subject, n, seed)),
        ("spectra", lambda: fourier(subject, n, seed)),
        ("linear probes", lambda: linear_probes(subject, n, config.layer_permutations, seed)),
        ("linear probes of text", lambda: text_probes(subject, permutations=config.layer_permutations, seed=seed)),
        ("exposures", lambda: audit(taught(subject), config.least_exposures)),
        ("attention", lambda: attention(subject)),
        ("causes", lambda: causal(subject)),
        ("layers", lambda: lens(subject)),
        ("retrieval", lambda: retrieval(subject)),
        ("composed rows", lambda: composed(subject)),
        ("untaught tokens", lambda: untaught(subject)),
    ]
    found = Findings()
    for number, (name, step) in enumerate(steps):
        progress(number, len(steps), name)
        found += step()
    progress(len(steps), len(steps), "")
    return found


def write_findings(name: str, found: Findings, directory: Path) -> dict[str, Any]:
    """Write `MEASURES` and `FINDINGS`; returns what the latter holds."""
    columns = {field.name: [getattr(one, field.name) for one in found.measures] for field in fields(Measure)}
    schema = pa.schema(
        [("model", pa.string())]
        + [(key, pa.string()) for key in ("probe", "place", "target", "metric")]
        + [(key, pa.float64()) for key in ("value", "low", "high", "control", "p")]
        + [("n", pa.int64()), ("note", pa.string())]
    )
    pq.write_table(pa.table({"model": [name] * len(found.measures), **columns}, schema=schema), directory / MEASURES)
    value = {"model": name, **asdict(found)}
    write_json_atomically(directory / FINDINGS, value)
    return value

"""`vocablab export`: a trained run as a Hugging Face directory, proved equal before it is published."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vocablab.base.errors import UserError


def export_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A directory of `pretrain` or `import`, a study's run STUDY/ARM/seedN, or a kept checkpoint in one.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the exported model goes.")],
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Kept weights of RUN, instead of its last ones.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Export a run for transformers; nothing is published unless its logits equal the trained ones."""
    if not out.name:
        raise UserError(f"--out {out}: give the model a directory of its own.")
    counts = _export(run, out, checkpoint)
    if as_json:
        print(json.dumps({"out": str(out), **counts}))
        return
    print(f"{counts['parameters'] / 1e6:.1f}M parameters; {counts['gates'][0]['detail']}")
    print(f"Model, tokenizer, model card and record: {out}")


def _export(path: Path, out: Path, checkpoint: Path | None) -> dict[str, Any]:
    """Export, or find it done; returns the counts of the record."""
    from vocablab.base.config import to_json
    from vocablab.base.files import exclusive
    from vocablab.base.records import read_record
    from vocablab.export.hugging_face import export
    from vocablab.lab.artifacts import FORMATS, run_stage
    from vocablab.lab.trained import read_trained

    found = read_trained(path, checkpoint)
    identity = {
        "stage": "export",
        "format": FORMATS["export"],
        "model": to_json(found.network.config),
        "vocabulary": found.codec.vocabulary.fingerprint(),
        "intervention": to_json(found.codec.intervention, identity_only=True),
        "forms": dict(sorted(found.forms.counts.items())),
        "weights": found.sha256,
        "inputs": {found.record["stage"]: found.record["fingerprint"]} if "fingerprint" in found.record else {},
    }

    def work(directory: Path) -> dict[str, Any]:
        parameters = sum(p.numel() for p in found.network.parameters())
        return {"parameters": parameters, **export(found.network, found.codec, directory, found.forms, found.record)}

    lock = out.parent / f".{out.name}.lock"
    with exclusive(lock):
        try:
            run_stage(out, identity, work, "cpu", resumes=False)
        finally:
            lock.unlink()
    record = read_record(out)
    assert record is not None
    return record.counts

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
    intervention: Annotated[
        str | None,
        typer.Option("--intervention", help="Add the tokens of one to a model without any, for fine-tuning."),
    ] = None,
    new_rows: Annotated[
        str, typer.Option("--new-rows", help="How their rows start: random, mean or pieces.")
    ] = "pieces",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Export a run for transformers; nothing is published unless its logits equal the trained ones."""
    if not out.name:
        raise UserError(f"--out {out}: give the model a directory of its own.")
    counts = _export(run, out, checkpoint, intervention, new_rows)
    if as_json:
        print(json.dumps({"out": str(out), **counts}))
        return
    print(f"{counts['parameters'] / 1e6:.1f}M parameters; {counts['gates'][0]['detail']}")
    if counts.get("step0"):
        zero = counts["step0"]
        print(f"new rows: {zero['new_mass']:.2%} of the probability, {zero['kl_bits']:.4f} bits of divergence")
    print(f"Model, tokenizer, model card and record: {out}")


def _export(path: Path, out: Path, checkpoint: Path | None, intervention: str | None, new_rows: str) -> dict[str, Any]:
    """Export, or find it done; returns the counts of the record."""
    from dataclasses import asdict

    from vocablab.base.config import to_json
    from vocablab.export.hugging_face import export
    from vocablab.lab.artifacts import FORMATS, publish_once
    from vocablab.lab.trained import read_trained

    found, step0 = read_trained(path, checkpoint), None
    if intervention is not None:
        found, step0 = _with_tokens(found, intervention, new_rows)
    identity = {
        "stage": "export",
        "format": FORMATS["export"],
        "model": to_json(found.network.config),
        "vocabulary": found.codec.vocabulary.fingerprint(),
        "intervention": to_json(found.codec.intervention, identity_only=True),
        "forms": dict(sorted(found.forms.counts.items())),
        "weights": found.sha256,
        "new_rows": None if intervention is None else new_rows,
        "inputs": {found.record["stage"]: found.record["fingerprint"]} if "fingerprint" in found.record else {},
    }

    def work(directory: Path) -> dict[str, Any]:
        parameters = sum(p.numel() for p in found.network.parameters())
        counts = export(found.network, found.codec, directory, found.forms, found.record)
        return {"parameters": parameters, **counts} | ({} if step0 is None else {"step0": asdict(step0)})

    return publish_once(out, identity, work, "cpu", resumes=False)


def _with_tokens(found: Any, intervention: str, new_rows: str) -> tuple[Any, Any]:
    """A run without added tokens, with those of an intervention, and what their rows do at the start.

    Raises:
        UserError: if it has some already, or the intervention is unknown.
    """
    from dataclasses import replace

    from vocablab.corpus.lost_form import FormCode
    from vocablab.lab.pretrain_command import new_rows_of
    from vocablab.pretrain.start import with_tokens
    from vocablab.vocab.codec import Codec
    from vocablab.vocab.interventions import choose_intervention
    from vocablab.vocab.vocabulary import Vocabulary, padded

    known = found.codec.vocabulary
    if known.added:
        raise UserError(f"--intervention: {found.name} has {len(known.added)} added tokens already.")
    rule = choose_intervention(intervention)
    size = max(known.padded_size, padded(known.base_size + len(rule.tokens())))
    codec = Codec(Vocabulary(known.base, rule.tokens(), size), rule)
    network, step0 = with_tokens(found.network, codec, new_rows_of(new_rows), 0)
    return replace(found, network=network, codec=codec, forms=FormCode.empty()), step0

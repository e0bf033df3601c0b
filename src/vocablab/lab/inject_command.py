"""`vocablab inject`: any text in, the same text with an intervention out; `--restore` takes it back."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vocablab.base.errors import UserError
from vocablab.base.files import read_json, write_json_atomically
from vocablab.vocab.inject import audit as make_audit
from vocablab.vocab.inject import inject, restore_canonical
from vocablab.vocab.inject import restore as restore_exactly
from vocablab.vocab.interventions import named_interventions


def inject_command(
    intervention: Annotated[str, typer.Option("--intervention", help="Name of the intervention, such as mul_facts.")],
    audit: Annotated[
        Path | None,
        typer.Option("--audit", help="Write counts, samples and the side record here; with --restore, read it."),
    ] = None,
    restore: Annotated[bool, typer.Option("--restore", help="Take the intervention back.")] = False,
) -> None:
    """Apply an intervention to the text on standard input. Restoring is byte-exact with the --audit file;
    without one each token becomes its canonical text."""
    known = named_interventions()
    if intervention not in known:
        raise UserError(f"--intervention {intervention}: unknown; there is {', '.join(known)}.")
    rule = known[intervention]
    # Bytes that are no UTF-8 travel as lone surrogates and come out as they went in.
    text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    if not restore:
        injected = inject(text, rule, "stdin")
        if audit is not None:
            # ASCII escapes keep surrogates of invalid input bytes writable.
            write_json_atomically(audit, _escaped(make_audit(text, injected)))
        out = injected.text
    elif audit is not None:
        out = restore_exactly(text, rule, read_json(audit, "the audit file")["replacements"])
    else:
        out, number = restore_canonical(text, rule)
        print(
            f"vocablab: {number} tokens restored to their canonical text; give --audit FILE for the exact one.",
            file=sys.stderr,
        )
    sys.stdout.buffer.write(out.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def _escaped(value: dict[str, object]) -> dict[str, object]:
    """The audit with the surrogates in its samples made printable; positions and forms hold none."""
    samples = value["samples"]
    assert isinstance(samples, list)
    printable = [{k: v.encode("utf-8", "backslashreplace").decode() for k, v in s.items()} for s in samples]
    return {**value, "samples": printable}

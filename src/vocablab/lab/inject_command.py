"""`vocablab inject`: any text in, the same text with an intervention out; `--restore` takes it back."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vocablab.vocab.audit import audit as make_audit
from vocablab.vocab.audit import read_side_record, write_audit
from vocablab.vocab.inject import inject, restore_canonical
from vocablab.vocab.inject import restore as restore_exactly
from vocablab.vocab.interventions import choose_intervention

InterventionName = Annotated[
    str, typer.Option("--intervention", help="A name such as mul_facts, or a .py or .json file that declares one.")
]


def inject_command(
    intervention: InterventionName,
    audit: Annotated[
        Path | None,
        typer.Option("--audit", help="Write the audit here (.html, .json or .jsonl); with --restore, read it."),
    ] = None,
    restore: Annotated[bool, typer.Option("--restore", help="Take the intervention back.")] = False,
) -> None:
    """Apply an intervention to the text on standard input. Restoring is byte-exact with a .json or .jsonl audit;
    without one each token becomes its canonical text."""
    rule = choose_intervention(intervention)
    # Bytes that are no UTF-8 travel as lone surrogates and come out as they went in.
    text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    if not restore:
        injected = inject(text, rule, "stdin")
        if audit is not None:
            write_audit(make_audit(text, injected, rule), audit)
        out = injected.text
    elif audit is not None:
        out = restore_exactly(text, rule, read_side_record(audit))
    else:
        out, number = restore_canonical(text, rule)
        print(
            f"vocablab: {number} tokens restored to their canonical text; give --audit FILE for the exact one.",
            file=sys.stderr,
        )
    sys.stdout.buffer.write(out.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()

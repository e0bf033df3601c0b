"""`vocablab shards`: a corpus as nanoGPT has it, and back."""

from pathlib import Path
from typing import Annotated

import typer

from vocablab.corpus.nanogpt import export_bin, import_bin
from vocablab.lab.inject_command import InterventionName
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import choose_intervention
from vocablab.vocab.vocabulary import Vocabulary, gpt2_base, padded

app = typer.Typer(no_args_is_help=True, help="Token shards as nanoGPT's train.bin and val.bin, and back.")


@app.command("export")
def export_command(
    arm: Annotated[Path, typer.Argument(help="Directory of an arm of a corpus: corpus/mul_facts.")],
    out: Annotated[Path, typer.Option("--out", help="Where train.bin and val.bin go.")],
) -> None:
    """Write nanoGPT's train.bin and val.bin."""
    for name, tokens in export_bin(arm, out).items():
        print(f"{out / name}: {tokens:,} tokens")


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="Directory with train.bin and perhaps val.bin.")],
    out: Annotated[Path, typer.Option("--out", help="Where the shards go.")],
    intervention: InterventionName = "control",
) -> None:
    """Make shards of files in GPT-2's tokens, or in those of an intervention over GPT-2's vocabulary."""
    rule, base = choose_intervention(intervention), gpt2_base()
    codec = Codec(Vocabulary(base, rule.tokens(), padded(base.get_vocab_size() + len(rule.tokens()))), rule)
    for split, counts in import_bin(source, codec, out).items():
        print(f"{out / split}: {counts['documents']:,} documents, {counts['tokens']:,} tokens")

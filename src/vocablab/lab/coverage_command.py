"""`vocablab coverage` and `vocablab mine`: what an intervention could do, before anything is trained."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vocablab.base.config import to_json
from vocablab.base.data import data_directory
from vocablab.base.errors import UserError
from vocablab.base.files import write_json_atomically
from vocablab.corpus.coverage import ceiling, measure
from vocablab.corpus.files import documents_of, text_files
from vocablab.corpus.sources import GeneratedProse
from vocablab.lab.inject_command import InterventionName
from vocablab.tasks import gsm8k
from vocablab.vocab.code_tokens import CodeTokens, code_coverage, mine_idioms
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import choose_intervention
from vocablab.vocab.vocabulary import Vocabulary, gpt2_base, padded


def coverage_command(
    intervention: InterventionName,
    data: Annotated[
        str | None, typer.Option("--data", help="Directory of corpora (else VOCABLAB_DATA, else generated prose).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Dose per corpus (share of GPT-2 tokens that become added tokens), and the ceiling on GSM8K's steps and problems.

    Every .jsonl, .json, .parquet, .txt, .md, .tex and .py file below the directory is a corpus of its own.
    """
    rule, directory = choose_intervention(intervention), data_directory(data)
    base = gpt2_base()
    codec = Codec(Vocabulary(base, rule.tokens(), padded(base.get_vocab_size() + len(rule.tokens()))), rule)
    corpora: dict[str, Any] = {}
    if directory is None:
        prose = (d.text for d in GeneratedProse(2000, 0.5).documents(None, 0))
        corpora["generated prose"] = measure(prose, codec)
    for path in text_files(directory) if directory else []:
        corpora[str(path.relative_to(directory or path))] = measure(documents_of(path), codec)
    found: dict[str, Any] = {
        "intervention": to_json(rule),
        "corpora": {name: dose.to_json(rule.tokens()) for name, dose in corpora.items() if dose.documents},
        "without_documents": [name for name, dose in corpora.items() if not dose.documents],
        "ceilings": {},
    }
    for name, part in (("test", gsm8k.TEST), ("train", gsm8k.TRAIN)):
        if directory and (directory / part.local).exists():
            answers = (row["answer"] for row in gsm8k.rows(part, directory))
            found["ceilings"][f"GSM8K {name}"] = ceiling(answers, codec).to_json()
    if not found["corpora"]:
        raise UserError(f"--data {directory}: there is no document in it.")
    if as_json:
        print(json.dumps(found))
    else:
        _print(found, intervention)


def mine_command(
    files: Annotated[list[Path], typer.Argument(help="Code to mine: training files only.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the intervention, a .json file.")],
    number: Annotated[int, typer.Option("--number", min=1, help="Most tokens.")] = 200,
    minimum: Annotated[int, typer.Option("--minimum", min=2, help="Fewest occurrences of an idiom.")] = 20,
    held_out: Annotated[
        list[Path] | None, typer.Option("--held-out", help="Code that is only measured; may be repeated.")
    ] = None,
) -> None:
    """Mine code for frequent calls and signatures, one token each; use the result with --intervention FILE.json."""
    if out.exists():
        raise UserError(f"--out {out}: it exists already, and nothing is overwritten.")
    both = {path.resolve() for path in files} & {path.resolve() for path in held_out or []}
    if both:
        raise UserError(f"--held-out {min(both)}: it is mined too; what is held out must not be.")
    train = _code(files)
    idioms = mine_idioms(train, number=number, minimum=minimum)
    write_json_atomically(out, to_json(CodeTokens(idioms)))
    print(f"{len(idioms)} idioms from {len(train)} files cover {code_coverage(train, idioms):.1%} of their characters.")
    if held_out:
        texts = _code(held_out)
        print(f"They cover {code_coverage(texts, idioms):.1%} of {len(texts)} held-out files.")
    print(f"Written to {out}.")


def _code(paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no file {path}.")
        found.append(path.read_text(encoding="utf-8", errors="surrogateescape"))
    return found


def _print(found: dict[str, Any], name: str) -> None:
    # A file or a pipe has no width: no name is folded there.
    console = Console() if sys.stdout.isatty() else Console(width=max(map(len, found["corpora"])) + 90)
    table = Table(title=f"Dose of {name}, in GPT-2 tokens")
    table.add_column("corpus", overflow="fold")
    for head in ("documents", "MB", "sites", "sites per MB", "dose", "tokens", "never seen"):
        table.add_column(head, justify="right")
    for corpus, dose in found["corpora"].items():
        megabytes = dose["raw_bytes"] / 1e6
        table.add_row(
            corpus,
            f"{dose['documents']:,}",
            f"{megabytes:.2f}",
            f"{dose['sites']:,}",
            f"{dose['sites'] / max(megabytes, 1e-9):,.1f}",
            f"{dose['dose']:.4%}",
            f"{dose['tokens'] / max(1, dose['base_tokens']) - 1:+.2%}",
            f"{dose['added_tokens_never_seen']} of {dose['added_tokens']}" if dose["added_tokens"] else "-",
        )
    console.print(table)
    console.print(
        "dose: share of the emitted tokens that are added ones. tokens: change of their number. never seen: added "
        "tokens that the corpus never emits.",
        style="dim",
    )
    if found["without_documents"]:
        console.print(f"No documents in {', '.join(found['without_documents'])}.", style="dim")
    for where, top in found["ceilings"].items():
        print(
            f"{where}: covers {top['steps_covered']:,} of {top['steps']:,} calculator steps ({top['steps_share']:.1%}) "
            f"and {top['problems_covered']:,} of {top['problems']:,} problems in full ({top['problems_share']:.1%})."
        )
        if top["best"]:
            print(
                f"  Yardstick: the {top['best']:,} most frequent facts a op b = c of these very answers cover "
                f"{top['best_steps_share']:.1%} of the steps and {top['best_problems_share']:.1%} of the problems."
            )

"""`vocablab import`: a checkpoint that was trained elsewhere, in the form of `vocablab pretrain`'s output."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from vocablab.base.errors import UserError


def import_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="nanoGPT's ckpt.pt, build-nanogpt's model_*.pt, a Hugging Face directory, or owner/name on the hub.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the network goes.")],
    vocabulary: Annotated[
        str, typer.Option("--vocabulary", help="Its base vocabulary: gpt2, or a directory with a vocabulary.json.")
    ] = "gpt2",
    revision: Annotated[str, typer.Option("--revision", help="Of SOURCE on the hub.")] = "main",
    data: Annotated[str | None, typer.Option("--data", help="Local data directory (else VOCABLAB_DATA).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Import a GPT-2 or Qwen3, to be exported, evaluated or continued. Nothing in a .pt file is executed."""
    from vocablab.base.data import data_directory
    from vocablab.base.records import read_record

    if not out.name:
        raise UserError(f"--out {out}: give the network a directory of its own.")
    found = _read(source, vocabulary, revision, data_directory(data))
    _publish(found, out)
    record = read_record(out)
    assert record is not None
    if as_json:
        print(json.dumps({"out": str(out), **record.counts}))
        return
    counts = record.counts
    print(f"{counts['source']}: {counts['kind']}, {counts['parameters'] / 1e6:.1f}M parameters, {counts['rows']:,} rows"
          f" for {counts['tokens_of_vocabulary']:,} tokens")  # fmt: skip
    for note in counts["notes"]:
        print(f"Note: {note}")
    print(f"Weights, vocabulary and record: {out}")


@dataclass(frozen=True)
class _Found:
    """What a source holds."""

    name: str
    """Of the source, as the user gave it, without the directories it lay in."""
    network: Any
    """With its weights."""
    vocabulary: Any
    """Base tokens, padded to the rows of the checkpoint."""
    sha256: str
    """Hash of the source."""
    kind: str
    """Which program wrote it."""
    steps: int | None = None
    """Of its training, if it says so."""
    loss: float | None = None
    """Validation loss in nats per token, if it says so."""
    exact_gelu: bool = False
    """Whether it may have been trained with the exact GELU."""


def _read(source: str, vocabulary: str, revision: str, data: Path | None) -> _Found:
    path = Path(source).expanduser()
    base = _base_vocabulary(vocabulary)
    if path.is_file():
        from vocablab.export.foreign_checkpoints import read_foreign_checkpoint

        if path.suffix not in (".pt", ".pth"):
            raise UserError(f"{path} is neither a .pt file nor a directory.")
        one = read_foreign_checkpoint(path)
        network, padded = _network(one.config, one.state, one.rows, base, source)
        return _Found(path.name, network, padded, one.sha256, one.kind, one.steps, one.loss, one.kind == "nanoGPT")
    from vocablab.base.model_files import model_directory
    from vocablab.model.hugging_face import layout
    from vocablab.pretrain.start import WANTED, read_checkpoint

    if path.suffix in (".pt", ".pth"):
        raise UserError(f"there is no file {path}.")
    directory = model_directory(source, revision, data, WANTED, "SOURCE")
    read = read_checkpoint(str(directory), revision, None, base)
    rows = len(read.state[layout(read.config).places[0].ours])
    network, padded = _network(read.config, read.state, rows, base, source)
    name = path.resolve().name if path.is_dir() else source
    return _Found(name, network, padded, read.sha256, "Hugging Face")


def _base_vocabulary(name: str) -> Any:
    from vocablab.vocab.vocabulary import Vocabulary, gpt2_base

    if name == "gpt2":
        base = gpt2_base()
        return Vocabulary(base, (), base.get_vocab_size())
    if not (Path(name) / "vocabulary.json").exists():
        raise UserError(f"--vocabulary {name}: it is gpt2 or a directory with a vocabulary.json.")
    found = Vocabulary.load(Path(name))
    if found.added:
        raise UserError(f"--vocabulary {name}: it has {len(found.added)} added tokens; give one of base tokens alone.")
    return found


def _network(config: Any, state: dict[str, Any], rows: int, base: Any, source: str) -> tuple[Any, Any]:
    """The network with the checkpoint's weights, and the base vocabulary padded to its rows."""
    from vocablab.vocab.vocabulary import Vocabulary

    if rows < base.size:
        raise UserError(f"{source} has {rows} rows, the vocabulary {base.size} tokens: it has another one.")
    network = config.network(rows)
    network.load_state_dict(state)
    return network.eval(), Vocabulary(base.base, (), rows)


def _publish(found: _Found, out: Path) -> None:
    """Write what `vocablab pretrain` would, with a record; nothing if that is done."""
    from vocablab.base.config import to_json
    from vocablab.base.files import write_json_atomically
    from vocablab.corpus.lost_form import FormCode
    from vocablab.export.foreign_checkpoints import GELU_NOTE, exact_gelu_gap
    from vocablab.lab.artifacts import FORMATS, run_stage
    from vocablab.lab.trained import MODEL_FILE
    from vocablab.training.checkpoint import WEIGHTS, save_weights
    from vocablab.vocab.codec import Codec, save_codec
    from vocablab.vocab.intervention import NoChange

    identity = {
        "stage": "import",
        "format": FORMATS["import"],
        "source": found.sha256,
        "model": to_json(found.network.config),
        "vocabulary": found.vocabulary.fingerprint(),
    }

    def work(directory: Path) -> dict[str, Any]:
        save_codec(Codec(found.vocabulary, NoChange()), directory)
        FormCode.empty().save(directory)
        write_json_atomically(directory / MODEL_FILE, to_json(found.network.config))
        save_weights(found.network.state_dict(), directory / WEIGHTS)
        notes = []
        if found.exact_gelu:
            notes.append(GELU_NOTE.format(exact_gelu_gap(found.network, found.vocabulary)))
        return {
            "source": found.name,
            "kind": found.kind,
            "steps": found.steps,
            "val_nats_per_token": found.loss,
            "parameters": sum(p.numel() for p in found.network.parameters()),
            "rows": found.vocabulary.padded_size,
            "tokens_of_vocabulary": found.vocabulary.size,
            "notes": notes,
        }

    run_stage(out, identity, work, "cpu", resumes=False)

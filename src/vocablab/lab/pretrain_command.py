"""`vocablab pretrain`: one arm of a prepared corpus to a trained network, on one device or under torchrun."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from vocablab.base.errors import UserError
from vocablab.lab.amounts import amount

NEW_ROWS = ("random", "mean", "pieces", "composed", "composed-first")


def pretrain_command(
    corpus: Annotated[Path, typer.Argument(help="Directory of an arm of a corpus: corpus/mul_facts.")],
    out: Annotated[Path, typer.Option("--out", help="Where the run goes.")],
    recipe: Annotated[
        str, typer.Option("--recipe", help="tiny, modern_tiny, gpt2_124m, gpt2_350m or modern_124m.")
    ] = "gpt2_124m",
    tokens: Annotated[str | None, typer.Option("--tokens", help="Budget in tokens: 10B, 20M.")] = None,
    source_bytes: Annotated[
        str | None, typer.Option("--source-bytes", help="Budget in raw bytes of text: 40B. Default: the corpus once.")
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from", help="Continue from a Hugging Face checkpoint: a directory or owner/name. Starts a new run."
        ),
    ] = None,
    init_revision: Annotated[
        str | None, typer.Option("--init-revision", help="Its revision on the hub. Default: main.")
    ] = None,
    new_rows: Annotated[
        str | None,
        typer.Option("--new-rows", help=f"How rows of added tokens start: {', '.join(NEW_ROWS)}. Default: random."),
    ] = None,
    hellaswag: Annotated[
        int, typer.Option("--hellaswag", min=0, help="HellaSwag items to score at every validation reading.")
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Refuse to begin anew: an interrupted run must be there. Without it, it is gone on with too.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the initialisation.")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")] = "auto",
    data: Annotated[str | None, typer.Option("--data", help="Local data directory (else VOCABLAB_DATA).")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value of the recipe: pretrain.batch_size=8, model.n_layer=2."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Pretrain one arm. Killed, the same command goes on; so does it with another number of ranks.

    Several devices: torchrun --nproc-per-node 8 -m vocablab pretrain ...
    """
    from vocablab.base.data import data_directory
    from vocablab.lab.devices import chosen_device
    from vocablab.training.distributed import ranks

    directory, where = data_directory(data), chosen_device(device)
    made = _recipe(recipe, _budget(tokens, source_bytes, corpus), overrides or [])
    # A flag that is not given leaves what --set says.
    flags: dict[str, Any] = {"init_from": init_from, "init_revision": init_revision, "new_rows": new_rows}
    given = {name: value for name, value in flags.items() if value is not None}
    if new_rows is not None:
        given["new_rows"] = new_rows_of(new_rows)
    config = replace(made.pretrain, **given)
    if not out.name:
        raise UserError(f"--out {out}: give the run a directory of its own.")
    if resume and not out.with_name(out.name + ".partial").exists():
        raise UserError(f"--resume: there is no interrupted run {out}.partial.")
    with ranks(where) as place:
        counts = _run(corpus, out, replace(made, pretrain=config), seed, place, directory, hellaswag)
    if not place.leads:
        return
    if as_json:
        print(json.dumps({"out": str(out), **counts}))
        return
    _print(counts, out)


def _run(
    corpus: Path, out: Path, made: Any, seed: int, place: Any, data: Path | None, hellaswag: int
) -> dict[str, Any]:
    """Train, or find it done; every rank comes here."""
    from vocablab.base.config import to_json
    from vocablab.base.files import partial_directory, write_json_atomically
    from vocablab.corpus.lost_form import FORMS_FILE, FormCode
    from vocablab.corpus.shards import read_split
    from vocablab.lab.artifacts import FORMATS, is_done, publish_once
    from vocablab.lab.evaluation_hook import evaluation_hook
    from vocablab.lab.trained import MODEL_FILE
    from vocablab.pretrain.loop import pretrain
    from vocablab.pretrain.start import read_checkpoint
    from vocablab.tasks.hellaswag import HellaSwag
    from vocablab.vocab.codec import load_codec, save_codec

    if not (corpus / "vocabulary.json").exists():
        raise UserError(f"{corpus} is no arm of a prepared corpus: it has no vocabulary.json (vocablab prepare).")
    codec, config = load_codec(corpus), made.pretrain
    train, validation = read_split(corpus / "train"), read_split(corpus / "validation")
    checkpoint = None
    if config.init_from:
        checkpoint = read_checkpoint(config.init_from, config.init_revision, data, codec.vocabulary)
    tasks = (HellaSwag(limit=hellaswag),) if hellaswag else ()
    identity = {
        "stage": "pretrain",
        "format": FORMATS["pretrain"],
        "model": to_json(made.model, identity_only=True),
        "pretrain": to_json(config, identity_only=True),
        "during_pretraining": to_json(tasks, identity_only=True),
        "seed": seed,
        "vocabulary": codec.vocabulary.fingerprint(),
        "intervention": to_json(codec.intervention, identity_only=True),
        "documents": _hash_of_index(train),
        "start": checkpoint and checkpoint.sha256,
    }

    def work(directory: Path) -> dict[str, Any]:
        hook = evaluation_hook(tasks, codec, corpus, data)
        if place.leads:
            # Before the training, so that kept checkpoints of an unfinished run can be read.
            save_codec(codec, directory)
            if (corpus / FORMS_FILE).exists():
                FormCode.load(corpus).save(directory)
            write_json_atomically(directory / MODEL_FILE, to_json(made.model))
        return pretrain(
            config, made.model, codec, train, validation, seed, directory, Said(), place=place,
            checkpoint=checkpoint, hook=hook,
        )  # fmt: skip

    if not place.leads:
        return {} if is_done(out, identity) else work(partial_directory(out, keep=True))
    return publish_once(out, identity, work, place.device, resumes=True)


def _hash_of_index(train: Any) -> str:
    """What the arm reads, in which order: the hashes of its documents."""
    import hashlib

    return hashlib.sha256(train.documents["sha256"].tobytes()).hexdigest()


def _recipe(name: str, budget: Any, overrides: list[str]) -> Any:
    from vocablab.base.config import overridden
    from vocablab.lab.recipes import PRETRAINING

    if name not in PRETRAINING:
        raise UserError(f"--recipe {name}: there is {', '.join(PRETRAINING)}.")
    return overridden(PRETRAINING[name](budget), overrides)


def _budget(tokens: str | None, source_bytes: str | None, corpus: Path) -> Any:
    from vocablab.corpus.shards import read_split
    from vocablab.training.budget import SourceBytes, Tokens

    if tokens and source_bytes:
        raise UserError("--tokens and --source-bytes are two budgets: give one.")
    if tokens:
        return Tokens(amount("--tokens", tokens))
    if source_bytes:
        return SourceBytes(amount("--source-bytes", source_bytes))
    return SourceBytes(float(read_split(corpus / "train").raw_bytes))


def new_rows_of(name: str) -> Any:
    from vocablab.model.new_rows import ComposedRows, MeanRows, PieceRows, RandomRows

    known = {
        "random": RandomRows(), "mean": MeanRows(), "pieces": PieceRows(), "composed": ComposedRows(),
        "composed-first": ComposedRows(mode="first"),
    }  # fmt: skip
    if name not in known:
        raise UserError(f"--new-rows {name}: there is {', '.join(known)}.")
    return known[name]


class Said:
    """Progress on standard error: a line now and then, rewritten on a terminal."""

    def __init__(self) -> None:
        self._last, self._began = 0.0, time.monotonic()

    def __call__(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if done < total and now - self._last < (0.3 if terminal else 10):
            return
        self._last = now
        left = (now - self._began) / max(1.0, done) * (total - done)
        text = f"step {done:,.0f} of {total:,.0f}, {note}, about {left:,.0f} s left"
        print(f"\r\x1b[K{text}" if terminal and done < total else text, end="" if terminal and done < total else "\n",
              file=sys.stderr, flush=True)  # fmt: skip


def _print(counts: dict[str, Any], out: Path) -> None:
    final, rate, used = counts["final"], counts["tokens_per_second"], counts["model_flops_utilisation"]
    held = final.get("val_bits_per_byte")
    print(f"{counts['steps']:,} steps, {counts['tokens']:,} tokens, {counts['source_bytes']:,} bytes of text,"
          f" {counts['parameters'] / 1e6:.1f}M parameters, {counts['precision']}"
          + (f", {counts['ranks']} ranks" if counts["ranks"] > 1 else ""))  # fmt: skip
    print(f"bits per byte: {final['train_bits_per_byte']:.4f} in training"
          + (f", {held:.4f} held out" if held is not None else "; nothing is held out"))  # fmt: skip
    if "hellaswag.acc_norm" in final:
        print(f"HellaSwag, {final['hellaswag.items']:.0f} items: acc_norm {final['hellaswag.acc_norm']:.1%}")
    if rate is not None:
        print(f"{rate:,.0f} tokens/s; MFU {'unknown' if used is None else format(used, '.1%')};"
              f" peak memory {counts['peak_memory_bytes'] / 2**30:.2f} GiB")  # fmt: skip
    if counts["step_zero"] is not None:
        zero = counts["step_zero"]
        print(
            f"new rows at step 0: {zero['new_mass']:.2%} of the probability, {zero['kl_bits']:.4f} bits of divergence"
        )
    print(f"Weights, readings and record: {out}")

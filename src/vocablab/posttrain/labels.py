"""Token ids and labels of supervised examples, made from token spans, and the check of rule 7.

TRL would find the completion by re-tokenizing templates; where pad == eos a collator may also mask the very EOS that
a model must learn. So every example arrives with its labels made, and rule 7 is checked on what TRL's own collator and
ours hand to the model.
"""

from dataclasses import dataclass

import torch

from vocablab.base.errors import RunError
from vocablab.tasks.task import Example
from vocablab.vocab.codec import Codec

IGNORE = -100
"""Label of a token that is not learned (PyTorch's cross entropy ignores it)."""


@dataclass(frozen=True)
class Labelled:
    """One example as a model reads it."""

    input_ids: list[int]
    """EOS, prompt, target, EOS: in pretraining every document follows an EOS."""
    labels: list[int]
    """`IGNORE` for the first EOS and the prompt, else the token itself."""
    target_bytes: int
    """UTF-8 bytes of the target: what its loss is divided by."""

    def row(self) -> dict[str, list[int]]:
        """As TRL's collator wants it."""
        return {"input_ids": self.input_ids, "labels": self.labels}


def label(codec: Codec, example: Example, context: int) -> Labelled | None:
    """Token ids and labels of one example: the target and exactly one EOS are learned, the prompt is not.

    A token belongs to the target if it ends inside it, so a merge across the boundary is learned as a whole.
    None if the example is longer than `context`.
    """
    encoded = codec.encode(example.prompt + example.target, example.example_id)
    if len(encoded.ids) + 2 > context:
        return None
    learned = encoded.ends > len(example.prompt)
    labels = [int(i) if keep else IGNORE for i, keep in zip(encoded.ids, learned, strict=True)]
    eos = codec.vocabulary.eos_id
    size = len(example.target.encode("utf-8", "surrogatepass"))
    return Labelled([eos, *map(int, encoded.ids), eos], [IGNORE, *labels, eos], size)


def check_labels(batch: dict[str, torch.Tensor], eos_id: int, rows: list[dict[str, list[int]]]) -> None:
    """Rule 7 on a padded batch: one labelled EOS per example, last; padding never labelled.

    Raises:
        RunError: naming what is wrong.
    """
    for labels, ids, row in zip(batch["labels"], batch["input_ids"], rows, strict=True):
        _check_example(labels, ids, len(row["input_ids"]), eos_id)
        if bool((labels[len(row["input_ids"]) :] != IGNORE).any()):
            raise RunError("rule 7: padding is labelled.")


def check_packed(batch: dict[str, torch.Tensor], eos_id: int, rows: list[dict[str, list[int]]]) -> None:
    """Rule 7 on a packed batch, and that no example sees another: all of what `packing` promises.

    Raises:
        RunError: naming what is wrong.
    """
    found = []
    for ids, labels, places, sees in zip(
        batch["input_ids"], batch["labels"], batch["position_ids"], batch["attention_mask"][:, 0], strict=True
    ):
        starts = [int(i) for i in torch.nonzero(places == 0)[:, 0]]
        for start, stop in zip(starts, [*starts[1:], len(ids)], strict=True):
            length = stop - start
            if not torch.equal(places[start:stop], torch.arange(length)):
                raise RunError("rule 7: the positions of a packed example do not count from 0.")
            own = torch.ones(length, length, dtype=torch.bool).tril()
            if not torch.equal(sees[start:stop, start:stop], own) or bool(sees[start:stop, :start].any()):
                raise RunError("rule 7: a packed example sees another one, or not all of itself.")
            if bool((labels[start:stop] != IGNORE).any()):
                _check_example(labels[start:stop], ids[start:stop], length, eos_id)
                found.append((ids[start:stop].tolist(), labels[start:stop].tolist()))
    if sorted(found) != sorted((row["input_ids"], row["labels"]) for row in rows):
        raise RunError("rule 7: packing dropped or changed an example.")


def _check_example(labels: torch.Tensor, ids: torch.Tensor, length: int, eos_id: int) -> None:
    if int((labels == eos_id).sum()) != 1 or int(labels[length - 1]) != eos_id:
        raise RunError("rule 7: an example does not carry exactly one labelled EOS at its end.")
    if not bool(((labels == IGNORE) | (labels == ids)).all()):
        raise RunError("rule 7: a label differs from its token.")

"""Scores of choice tasks while a model is pretrained: HellaSwag over training."""

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from vocablab.base.errors import UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.model import Loaded
from vocablab.evaluate.run import score_choices
from vocablab.model.network import Network
from vocablab.pretrain.loop import Hook
from vocablab.tasks.task import Item, Task
from vocablab.vocab.codec import Codec

BATCH = 32


class AsHuggingFace:
    """A network under training with the face that scoring knows: right-padded ids in, logits out."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.config = SimpleNamespace(max_position_embeddings=network.config.n_positions)

    def __call__(self, ids_BT: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """Logits, shape (B, T, V). Padding is on the right, where a causal network cannot see it from the left."""
        assert bool((attention_mask.diff(dim=1) <= 0).all())
        return SimpleNamespace(logits=self._network(ids_BT))


def evaluation_hook(
    tasks: tuple[Task, ...], codec: Codec, corpus: Path, data: Path | None, device: str, context: int
) -> Hook | None:
    """What pretraining calls at every validation reading; None if there is nothing to ask.

    Args:
        tasks: choice tasks; their items are read now, so that a missing file is found before the training.
        codec: the arm's.
        corpus: the arm's prepared corpus, which says what a replacement's lost form costs.
        data: the data directory, or None.
        device: where the network is.
        context: the network's positions.

    Raises:
        UserError: for a task that needs generation, whose data is missing, or which has a choice that is longer than
            the context: before the training, not at its first reading.
    """
    wrong = [task.name for task in tasks if task.kind != "choose"]
    if wrong:
        raise UserError(f"task {wrong[0]} cannot be scored during pretraining: only tasks with choices can.")
    if not tasks:
        return None
    items = [(task, task.items(data)) for task in tasks]
    for task, own in items:
        _require_fit(task, own, codec, context)
    forms = FormCode.load(corpus)

    @torch.no_grad()
    def hook(network: Network) -> dict[str, float]:
        loaded = Loaded(AsHuggingFace(network), codec, forms, device)
        found: dict[str, float] = {}
        for task, own in items:
            rows = score_choices(loaded, task, own, "", BATCH)
            found[f"{task.name}.acc_norm"] = sum(row.score or 0.0 for row in rows) / len(rows)
            found[f"{task.name}.acc"] = sum(row.secondary_score or 0.0 for row in rows) / len(rows)
            found[f"{task.name}.items"] = len(rows)
        return found

    return hook


def _require_fit(task: Task, items: list[Item], codec: Codec, context: int) -> None:
    for item in items:
        for choice in item.choices:
            encoded = codec.encode(item.prompt + choice, f"{task.name}/{item.item_id}")
            if int((encoded.ends > len(item.prompt)).sum()) > context:
                raise UserError(
                    f"{task.name}'s item {item.item_id} has a choice that is longer than the model's context of "
                    f"{context} tokens; give the model more positions, or do not score {task.name} during pretraining."
                )

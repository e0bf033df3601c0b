"""Scores of choice tasks while a model is pretrained: HellaSwag over training."""

from pathlib import Path

import torch

from vocablab.base.errors import UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.choosing import score_choices
from vocablab.evaluate.model import Loaded
from vocablab.model.network import Network
from vocablab.model.reader import NetworkReader
from vocablab.pretrain.loop import Hook
from vocablab.tasks.task import Task
from vocablab.vocab.codec import Codec

BATCH = 32


def evaluation_hook(tasks: tuple[Task, ...], codec: Codec, corpus: Path, data: Path | None) -> Hook | None:
    """What pretraining calls at every validation reading; None if there is nothing to ask.

    Args:
        tasks: choice tasks; their items are read now, so that a missing file is found before the training.
        codec: the arm's.
        corpus: the arm's prepared corpus, which says what a replacement's lost form costs.
        data: the data directory, or None.

    Raises:
        UserError: for a task that needs generation or whose data is missing: before the training, not at its first
            reading.
    """
    wrong = [task.name for task in tasks if task.kind != "choose"]
    if wrong:
        raise UserError(f"task {wrong[0]} cannot be scored during pretraining: only tasks with choices can.")
    if not tasks:
        return None
    items = [(task, task.items(data)) for task in tasks]
    forms = FormCode.load(corpus)

    @torch.no_grad()
    def hook(network: Network) -> dict[str, float]:
        loaded = Loaded(NetworkReader(network), codec, forms)
        found: dict[str, float] = {}
        for task, own in items:
            rows = score_choices(loaded, task, own, "", BATCH)
            found[f"{task.name}.acc_norm"] = sum(row.score or 0.0 for row in rows) / len(rows)
            found[f"{task.name}.acc"] = sum(row.acc or 0.0 for row in rows) / len(rows)
            found[f"{task.name}.items"] = len(rows)
        return found

    return hook

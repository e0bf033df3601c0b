"""What is probed: rows of the added tokens, and hidden states over tokens and over the same facts as plain text.

Shapes: N tokens or texts, L layers, D width.
"""

from collections.abc import Sequence

import numpy as np
import torch

from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.probe.labels import FactLabels
from vocablab.probe.subject import Subject
from vocablab.vocab.forms import canonical_text

CONTEXTS = ("", "Note that ", "It is known that ")
"""What stands between the end-of-text token and the fact; a state is the mean over these, so that it is the fact's."""
_BATCH = 64


def places(subject: Subject) -> dict[str, str]:
    """Name of each table of rows, and which it is: one if they are tied."""
    return {"rows": "input"} if subject.tied else {"input rows": "input", "output rows": "output"}


def rows(subject: Subject, which: str, labels: FactLabels) -> np.ndarray:
    """Rows of the labelled tokens in the table ``input`` or ``output``, (N, D) float64."""
    ids = np.array(subject.ids, dtype=np.int64)[labels.index]
    return subject.table(which)[ids].astype(np.float64)


def initial_rows(subject: Subject, which: str, labels: FactLabels) -> np.ndarray | None:
    """The same rows before training, (N, D) float64; None if unknown."""
    if subject.initial is None or which not in subject.initial:
        return None
    ids = np.array(subject.ids, dtype=np.int64)[labels.index]
    return subject.initial[which][ids].astype(np.float64)


def centred_gram(rows_ND: np.ndarray) -> np.ndarray:
    """Inner products after the mean row is removed, (N, N): what added tokens have in common tells none apart."""
    centred = rows_ND - rows_ND.mean(0)
    return centred @ centred.T


def without(columns_NE: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What least squares on the columns leaves of numbers (N,) or rows (N, D)."""
    left: np.ndarray = values - columns_NE @ np.linalg.lstsq(columns_NE, values, rcond=None)[0]
    return left


def token_states(subject: Subject, labels: FactLabels) -> np.ndarray:
    """Hidden states at added tokens, (1 + L, N, D) float32: the embeddings first, then after each layer.

    Each token follows the end-of-text token and one of `CONTEXTS`.
    """
    ids = [subject.ids[i] for i in labels.index]
    return _mean_states(subject, [[token] for token in ids])


def text_states(subject: Subject, family: Family, facts: Sequence[Fact]) -> np.ndarray:
    """Hidden states at the last token of facts in plain text (``6 * 9 = 54``), as `token_states` gives them."""
    texts = [canonical_text(family, fact) for fact in facts]
    return _mean_states(subject, texts)


def _mean_states(subject: Subject, endings: Sequence[list[int]] | Sequence[str]) -> np.ndarray:
    vocabulary = subject.codec.vocabulary
    total: np.ndarray | None = None
    for context in CONTEXTS:
        sequences = []
        for ending in endings:
            # Plain text is encoded together with its context: " 6" and "6" are different tokens.
            if isinstance(ending, str):
                ids = vocabulary.encode_plain(context + ending).ids.tolist()
            else:
                ids = vocabulary.encode_plain(context).ids.tolist() + ending
            sequences.append([vocabulary.eos_id, *ids])
        found = _last_states(subject, sequences)
        total = found if total is None else total + found
    assert total is not None
    return total / len(CONTEXTS)


@torch.no_grad()
def _last_states(subject: Subject, sequences: Sequence[list[int]]) -> np.ndarray:
    """Hidden states at the last token of each sequence, (1 + L, N, D) float32."""
    parts = []
    for low in range(0, len(sequences), _BATCH):
        batch = sequences[low : low + _BATCH]
        lengths = torch.tensor([len(ids) for ids in batch])
        # Padding on the right of a causal model is seen by nothing that is read.
        ids_BT = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in batch], batch_first=True)
        mask_BT = torch.arange(ids_BT.shape[1])[None] < lengths[:, None]
        # The network without its head: a table of logits over the vocabulary would be most of the work.
        found = subject.model.base_model(
            input_ids=ids_BT.to(subject.device),
            attention_mask=mask_BT.long().to(subject.device),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        here = torch.arange(len(batch)).to(subject.device), (lengths - 1).to(subject.device)
        parts.append(torch.stack([state_BTD[here] for state_BTD in found]).float().cpu().numpy())
    return np.concatenate(parts, axis=1)

"""Bits per byte of held-out documents: in the arm's own form, as plain text, and outside what is replaced."""

from collections.abc import Sequence

from vocablab.evaluate.choosing import common
from vocablab.evaluate.likelihood import score_documents
from vocablab.evaluate.model import Loaded
from vocablab.evaluate.rows import Row
from vocablab.tasks.natural_text import TEXT_TASK, text_items

NATIVE, PLAIN, OUTSIDE = TEXT_MODES = ("native", "plain", "outside")
"""With the intervention; with it off; with it on, but only what no replacement touches is counted."""


def score_texts(
    loaded: Loaded, documents: Sequence[tuple[str, str]], run_id: str, batch_size: int, modes: Sequence[str]
) -> list[Row]:
    """One row per document and mode.

    Args:
        loaded: the model.
        documents: (name, raw text).
        run_id: for the rows.
        batch_size: windows per forward pass; does not change a result.
        modes: of `TEXT_MODES`.
    """
    rows = []
    for mode in modes:
        reading = loaded.plain if mode == PLAIN else loaded
        costs = score_documents(reading, documents, batch_size, outside=mode == OUTSIDE)
        for item, cost in zip(text_items(list(documents)), costs, strict=True):
            rows.append(
                Row(
                    **common(run_id, TEXT_TASK, mode, item, cost),
                    metric="bits_per_byte",
                    score=None,
                    output="",
                    extracted="",
                    ended_eos=False,
                )
            )
    return rows

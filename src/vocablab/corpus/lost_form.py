"""The price of what a replacement loses (rule 5).

A token ``<MUL_6_9_54>`` stands for ``6*9=54`` as well as for ``9 × 6 = 54``. To compare its bits with a model
that must write the characters, the choice of the lost form is charged: minus log2 of the form's share among
the training corpus's replacements (Krichevsky-Trofimov estimate), and an unseen form is spelled out at 8
bits per byte after an escape. So bits per byte of every arm are code lengths of the same raw documents.
"""

import json
import math
from collections import Counter
from pathlib import Path

from vocablab.base.files import read_json
from vocablab.vocab.intervention import Span

FORMS_FILE = "forms.json"
"""Beside a corpus and beside a fine-tuned model: how often each form was replaced in what was learned there."""


class FormCode:
    """A code over the forms seen in training."""

    def __init__(self, counts: Counter[str]) -> None:
        """Make the code from how often each form was replaced in the training documents."""
        self.counts = counts
        self._total = counts.total() + 0.5 * (len(counts) + 1)

    @staticmethod
    def empty() -> "FormCode":
        """The code of a corpus in which nothing was replaced."""
        return FormCode(Counter())

    def bits(self, spans: list[Span]) -> float:
        """Bits to say the lost forms of `spans`."""
        return sum(self.price(span.form) for span in spans)

    def price(self, form: str) -> float:
        """Bits to say one lost form."""
        seen = self.counts.get(form, 0)
        price = -math.log2((seen + 0.5) / self._total)
        return price if seen else price + 8.0 * len(form.encode("utf-8", "surrogatepass"))

    def save(self, directory: Path) -> None:
        """Write the counts into `directory` as `forms.json`."""
        text = json.dumps(dict(sorted(self.counts.items())), ensure_ascii=True, indent=1)
        (directory / FORMS_FILE).write_text(text + "\n", encoding="utf-8")

    @staticmethod
    def load(directory: Path) -> "FormCode":
        """Read what `save` wrote.

        Raises:
            UserError: if it is missing or damaged.
        """
        return FormCode(Counter(read_json(directory / FORMS_FILE, "the code of lost forms")))

"""An exported model with all that scoring it takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from vocablab.corpus.lost_form import FormCode
from vocablab.vocab.codec import Codec, load_codec


@dataclass(frozen=True)
class Loaded:
    """A Hugging Face causal language model in float32, the codec of its arm, and the price of lost forms."""

    model: Any
    """The model, in evaluation mode."""
    codec: Codec
    """How its arm encodes raw text."""
    forms: FormCode
    """What a replacement's lost form costs, from the texts the model learned last."""
    device: str
    """Where it is."""

    @property
    def context(self) -> int:
        """Longest input in tokens."""
        return int(self.model.config.max_position_embeddings)


def load(directory: Path, forms: Path, device: str) -> Loaded:
    """Load an exported model from disk; never asks the network.

    Args:
        directory: the exported model.
        forms: directory with the `forms.json` of the texts it learned.
        device: where to put it.
    """
    model = AutoModelForCausalLM.from_pretrained(directory, local_files_only=True, dtype=torch.float32)
    return Loaded(model.to(device).eval(), load_codec(directory), FormCode.load(forms), device)

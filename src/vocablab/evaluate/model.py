"""An exported model with its codec."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from vocablab.vocab.codec import Codec, load_codec


@dataclass(frozen=True)
class Loaded:
    """A Hugging Face causal language model in float32 and the codec of its arm."""

    model: Any
    """The model, in evaluation mode."""
    codec: Codec
    """How its arm encodes raw text."""
    device: str
    """Where it is."""

    @property
    def context(self) -> int:
        """Longest input in tokens."""
        return int(self.model.config.n_positions)


def load(directory: Path, device: str) -> Loaded:
    """Load an exported directory from disk; never asks the network."""
    model = AutoModelForCausalLM.from_pretrained(directory, local_files_only=True, dtype=torch.float32)
    return Loaded(model.to(device).eval(), load_codec(directory), device)

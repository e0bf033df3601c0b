"""Where a run's weights start: drawn, or from a Hugging Face checkpoint; and what the new rows do at step 0."""

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from vocablab.base.errors import UserError
from vocablab.base.files import read_json, sha256_file
from vocablab.base.model_files import model_directory
from vocablab.model.composition import materialise
from vocablab.model.continuing import load_into
from vocablab.model.hugging_face import from_hugging_face
from vocablab.model.hugging_face_config import config_from_hugging_face
from vocablab.model.network import ModelConfig, Network
from vocablab.model.new_rows import NewRows, set_new_rows
from vocablab.model.step0 import StepZero, step_zero
from vocablab.vocab.codec import Codec
from vocablab.vocab.vocabulary import Vocabulary

WANTED = ("config.json", "*.safetensors", "model.safetensors.index.json", "tokenizer.json", "vocab.json")
"""Files of a checkpoint that are read; pickled weights are not."""
SIZES = {
    "n_positions": "positions",
    "n_layer": "layers",
    "n_embd": "width",
    "n_head": "heads",
    "kv_heads": "key and value heads",
    "head_dim": "head width",
    "mlp_hidden": "MLP width",
    "rope_theta": "rotary base",
    "tied": "tied head",
}
"""What says how a network computes, and its name in a sentence."""
SAMPLE = 256
"""Positions from which the effect of new rows is measured at step 0."""


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face checkpoint, read."""

    name: str
    """As the user gave it."""
    config: ModelConfig
    """Its size."""
    state: dict[str, Tensor]
    """Its parameters under our names."""
    tokens: int
    """How many of its rows have a token."""
    sha256: str
    """Hash over its files: the identity of what a run continues from."""


def read_checkpoint(name: str, revision: str, data: Path | None, vocabulary: Vocabulary) -> Checkpoint:
    """Read a checkpoint from a directory, a folder of the data directory, or the hub.

    Args:
        name: path, or ``owner/name``.
        revision: commit or branch on the hub.
        data: the data directory, or None.
        vocabulary: the run's; its base tokens must have the ids that the checkpoint's tokenizer gives them.

    Raises:
        UserError: if it cannot be found, read, or belongs to another vocabulary or architecture.
    """
    directory = model_directory(name, revision, data, WANTED, "--init-from")
    config = config_from_hugging_face(read_json(directory / "config.json", "the checkpoint's config"))
    files = _weight_files(directory)
    theirs: dict[str, Tensor] = {}
    for file in files:
        try:
            theirs |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise UserError(f"the checkpoint's weights {file} cannot be read: {error}.") from None
    _require_same_tokens(directory, vocabulary)
    digest = hashlib.sha256("".join(sha256_file(f) for f in [directory / "config.json", *files]).encode()).hexdigest()
    state = {key: value.float() for key, value in from_hugging_face(config, theirs).items()}
    return Checkpoint(name, config, state, vocabulary.base_size, digest)


def start(
    architecture: ModelConfig, codec: Codec, new_rows: NewRows, seed: int, checkpoint: Checkpoint | None
) -> tuple[Network, StepZero | None]:
    """The network of a run at step 0, and what its new rows do to its predictions (None without added tokens).

    Raises:
        UserError: if the checkpoint is of another size.
    """
    vocabulary = codec.vocabulary
    network = architecture.build(vocabulary.padded_size, seed)
    if checkpoint is not None:
        _require_same_size(checkpoint, architecture)
        load_into(
            network, checkpoint.state, checkpoint.tokens, new_rows, vocabulary, codec.intervention, seed
        )  # fmt: skip
    if not vocabulary.added_ids:
        return network, None
    before = copy.deepcopy(network)
    before.composition = None
    if checkpoint is None:
        set_new_rows(network, new_rows, vocabulary, codec.intervention, seed)
    return network, step_zero(before, network, _sample(vocabulary, architecture.n_positions), vocabulary)


def with_tokens(network: Network, codec: Codec, new_rows: NewRows, seed: int) -> tuple[Network, StepZero | None]:
    """A trained network with plain rows for the tokens of `codec`, and what they do to its predictions (None if there
    are no tokens).

    Args:
        network: trained without them.
        codec: of the arm that has them.
        new_rows: how the rows start.
        seed: of drawn rows.
    """
    vocabulary = codec.vocabulary
    if not vocabulary.added_ids:
        return network, None
    found = network.config.network(vocabulary.padded_size)
    load_into(found, network.state_dict(), vocabulary.base_size, new_rows, vocabulary, codec.intervention, seed)
    materialise(found)
    return found.eval(), step_zero(network, found, _sample(vocabulary, network.config.n_positions), vocabulary)


def _sample(vocabulary: Vocabulary, positions: int) -> Tensor:
    length = min(SAMPLE, positions)
    generator = torch.Generator().manual_seed(0)
    # Any base tokens do: how much a new row attracts depends on its size and direction, hardly on the text.
    return torch.randint(vocabulary.base_size, (SAMPLE // length, length), generator=generator)


def _require_same_size(checkpoint: Checkpoint, architecture: ModelConfig) -> None:
    """Not left to the tensors: another number of heads, or base of wavelengths, has the same shapes."""
    theirs = checkpoint.config
    if type(theirs) is not type(architecture):
        raise UserError(
            f"{checkpoint.name} is a {type(theirs).__name__}, the recipe's model a {type(architecture).__name__}."
        )
    for name, said in SIZES.items():
        there, here = getattr(theirs, name, None), getattr(architecture, name, None)
        if there != here:
            raise UserError(f"{checkpoint.name} has {said}: {there}, the recipe's model {here}: they must be equal.")


def _weight_files(directory: Path) -> list[Path]:
    index = directory / "model.safetensors.index.json"
    if index.exists():
        places = read_json(index, "the index of weights").get("weight_map")
        if not isinstance(places, dict):
            raise UserError(f"the index of weights has no weight_map: {index}.")
        return [directory / name for name in sorted(set(places.values()))]
    if (directory / "model.safetensors").exists():
        return [directory / "model.safetensors"]
    raise UserError(f"{directory} has no model.safetensors; pickled weights are not read.")


def _require_same_tokens(directory: Path, vocabulary: Vocabulary) -> None:
    """Rows mean something only under the tokenizer they were trained with."""
    if (directory / "tokenizer.json").exists():
        try:
            known = Tokenizer.from_file(str(directory / "tokenizer.json")).get_vocab(with_added_tokens=True)
        except Exception as error:  # tokenizers raises Exception itself
            raise UserError(f"the checkpoint's {directory / 'tokenizer.json'} cannot be read: {error}.") from None
    elif (directory / "vocab.json").exists():
        known = read_json(directory / "vocab.json", "the checkpoint's vocabulary")
    else:
        raise UserError(f"{directory} has neither tokenizer.json nor vocab.json: its rows could belong to any tokens.")
    ours = vocabulary.base.get_vocab(with_added_tokens=True)
    for token, index in ours.items():
        if known.get(token) != index:
            raise UserError(
                f"the checkpoint {directory} gives {token!r} the id {known.get(token)}, the run's base vocabulary "
                f"{index}: its rows belong to other tokens."
            )
    if len(known) != len(ours):
        raise UserError(
            f"the checkpoint {directory} has {len(known)} tokens, the run's base vocabulary {len(ours)}: continue from "
            "a checkpoint without added tokens."
        )

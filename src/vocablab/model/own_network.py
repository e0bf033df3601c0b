"""A causal model of transformers as one of our networks, which answer faster."""

from typing import Any

from vocablab.base.errors import UserError
from vocablab.model.hugging_face import from_hugging_face
from vocablab.model.hugging_face_config import config_from_hugging_face
from vocablab.model.network import Network
from vocablab.model.reader import NetworkReader, Reader, TransformersReader


def own_network(theirs: Any) -> Network | None:
    """The same model as one of our networks, in evaluation mode and with weights of its own; None if it is of another
    architecture."""
    try:
        config = config_from_hugging_face(theirs.config.to_dict())
        state = from_hugging_face(config, theirs.state_dict())
    except UserError:
        return None
    network = config.network(theirs.get_output_embeddings().weight.shape[0])
    network.load_state_dict(state)
    return network.eval()


class Follower:
    """Reads with a model of transformers that is being trained, as it is at the moment."""

    def __init__(self, theirs: Any) -> None:
        """Follow `theirs`."""
        self._theirs = theirs
        network = own_network(theirs)
        self._network = None if network is None else network.to(theirs.device)

    def reader(self) -> Reader:
        """A reader of the weights as they are now; of no use once they have moved."""
        if self._network is None:
            return TransformersReader(self._theirs)
        self._network.load_state_dict(from_hugging_face(self._network.config, self._theirs.state_dict()))
        return NetworkReader(self._network)

"""A network with its loss in one module: what is compiled, distributed and differentiated."""

from torch import Tensor, nn

from vocablab.model.network import Network
from vocablab.training.loss import cross_entropy


class NextToken(nn.Module):
    """Sum of the cross entropy of the next token."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Sum in nats over the targets that are not `vocablab.training.loss.IGNORED`."""
        rows_in, rows_out = self.network.tables()
        hidden = self.network.hidden(ids_BT, rows_in)
        return cross_entropy(hidden.flatten(0, 1), rows_out, targets_BT.flatten())

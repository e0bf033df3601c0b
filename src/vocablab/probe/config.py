"""How thoroughly a model is probed."""

from dataclasses import dataclass

from vocablab.base.errors import UserError


@dataclass(frozen=True)
class Probing:
    """How a model is probed."""

    permutations: int = 1000
    """Of labels, for the p of what is measured on rows; p is at least one over it."""
    layer_permutations: int = 200
    """The same for each layer's hidden states."""
    least_exposures: int = 100
    """Below this dose a token is named as under-trained."""
    seed: int = 0
    """Of permutations and samples."""

    def __post_init__(self) -> None:
        if min(self.permutations, self.layer_permutations) < 20:
            raise UserError("probe: under 20 permutations there is no p below 0.05.")

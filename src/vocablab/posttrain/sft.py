"""How a checkpoint is fine-tuned: problems alone, problems and synthetic drills together, or drills first.

The three forms of the roadmap. A1: facts stand in the targets of the problems, where the arm's intervention finds them.
A2: drills of single facts are mixed with the problems, or alternate with them. A3: drills first, then problems, each
stage with its own schedule. An arm without tokens learns the same problems and drills in plain text.
"""

from dataclasses import dataclass

from vocablab.base.config import execution_only
from vocablab.base.errors import UserError
from vocablab.tasks.drills import Drills
from vocablab.tasks.task import Task

ORDERS = ("mixed", "interleaved", "drills_first")
KEPT = ("last", "best")


@dataclass(frozen=True)
class SupervisedFineTuning:
    """How a checkpoint is fine-tuned."""

    epochs: float
    """Passes over the problems."""
    batch_size: int
    """Examples per step."""
    learning_rate: float
    """Peak rate of the cosine schedule."""
    warmup_share: float = 0.05
    """Share of the steps spent warming up."""
    weight_decay: float = 0.0
    """AdamW's decay."""
    tasks: tuple[Task, ...] = ()
    """Whose training examples are the problems; none: the tasks of the evaluation."""
    drills: Drills | None = None
    """Synthetic drills beside the problems; None for none."""
    drill_share: float = 0.5
    """Share of drills among all examples of an epoch, where they are mixed or interleaved. Drills are drawn anew in
    every epoch, each once before any comes twice."""
    order: str = "mixed"
    """``mixed``: drills and problems in one random order. ``interleaved``: whole batches of one kind in turn, in the
    proportion of the share. ``drills_first``: a stage of drills, then one of problems, each with its own schedule."""
    drill_epochs: float = 1.0
    """Passes over the drills, where they come first."""
    held_out_share: float = 0.05
    """Share of the problems (evenly spaced, and as much of the drills) that is never learned, and read at the end of
    every epoch: what ``best`` goes by."""
    use: str = "last"
    """Which weights the next stage takes: those of the ``last`` step, or the ``best`` at the end of an epoch. Both are
    kept."""
    precision: str = execution_only("auto")
    """Format of products: ``float32``, ``bfloat16``, or ``auto``: bfloat16 on a GPU, and for wide models on a CPU that
    is fast at it. Weights and optimiser state are float32 always."""
    micro_batch: int = execution_only(64)
    """Examples per forward pass."""
    packing: bool = execution_only(True)
    """Whether several examples share a row of a forward pass, unseen by one another. Changes speed only."""
    checkpoint_seconds: float = execution_only(120.0)
    """Seconds between two checkpoints that an interrupted run goes on from."""

    def __post_init__(self) -> None:
        for name, given, known in (("order", self.order, ORDERS), ("use", self.use, KEPT)):
            if given not in known:
                raise UserError(f"sft.{name}: '{given}' is none of {', '.join(known)}.")
        if not 0 < self.drill_share < 1:
            raise UserError(f"sft.drill_share: {self.drill_share} is not over 0 and under 1.")
        if not 0 <= self.held_out_share < 0.5:
            raise UserError(f"sft.held_out_share: {self.held_out_share} is not from 0 to under 0.5.")
        if self.use == "best" and not self.held_out_share:
            raise UserError("sft.use: the best epoch cannot be told with sft.held_out_share 0.")
        for name in ("epochs", "drill_epochs", "learning_rate", "checkpoint_seconds"):
            if not getattr(self, name) >= 0 or (name != "checkpoint_seconds" and not getattr(self, name)):
                raise UserError(f"sft.{name}: {getattr(self, name)} is not above 0.")
        if self.batch_size < 1 or self.micro_batch < 1:
            raise UserError("sft: batch_size and micro_batch are at least 1.")

    @property
    def examples_at_once(self) -> int:
        """Examples per forward pass; they divide the batch.

        Raises:
            UserError: if they do not.
        """
        at_once = min(self.micro_batch, self.batch_size)
        if self.batch_size % at_once:
            raise UserError(f"sft.batch_size {self.batch_size} is no multiple of micro_batch {at_once}.")
        return at_once

"""How an arm is pretrained, as data."""

from dataclasses import dataclass

from vocablab.base.config import execution_only
from vocablab.base.errors import UserError
from vocablab.model.new_rows import NewRows, RandomRows
from vocablab.training.budget import Budget
from vocablab.training.optimizer import Optimizer
from vocablab.training.precision import CHOICES as PRECISIONS
from vocablab.training.schedule import Schedule

COMPILE = ("auto", "always", "never")


@dataclass(frozen=True)
class Pretraining:
    """How an arm is pretrained."""

    budget: Budget
    """How much text, tokens or FLOPs every arm gets."""
    batch_size: int
    """Sequences per step, over all devices."""
    optimizer: Optimizer
    """What steps, with its peak learning rate."""
    schedule: Schedule
    """The learning rate over the run."""
    clip: float = 1.0
    """Largest global gradient norm."""
    max_epochs: float = 1.0
    """How often the corpus may be read; a longer run is refused (rule 12)."""
    precision: str = "auto"
    """Of matrix products: bfloat16, float32, or auto: bfloat16 where the hardware is faster at it. Weights, moments and
    the softmax of the loss are float32 in any case."""
    new_rows: NewRows = RandomRows()
    """How the rows of added tokens start."""
    init_from: str = ""
    """A Hugging Face checkpoint to continue from: a directory, a folder of the data directory, or a name on the hub."""
    init_revision: str = "main"
    """Its revision on the hub."""
    divergence: float = 2.0
    """The run stops if its smoothed loss climbs this far above its lowest, in nats per token."""
    evaluate_every: float = 0.2
    """Share of the run between two validation readings (and calls of the evaluation hook)."""
    validation_documents: int = 64
    """Documents of a validation reading: the first ones held out."""
    keep_checkpoints: bool = False
    """Keep the weights of every validation reading."""
    micro_batch: int = execution_only(64)
    """Sequences per forward pass of a device; gradients are accumulated over the step."""
    checkpoint_seconds: float = execution_only(20.0)
    """Least time between two checkpoints; longer where writing one takes long."""
    compile: str = execution_only("auto")
    """Compile the blocks: always, never, or auto: on a GPU, and on a CPU for runs long enough to earn it back."""
    parallel: str = execution_only("ddp")
    """Under torchrun: ddp (every device has a copy) or fsdp (parameters are sharded)."""

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("precision", self.precision, PRECISIONS),
            ("compile", self.compile, COMPILE),
            ("parallel", self.parallel, ("ddp", "fsdp")),
        ):
            if value not in choices:
                raise UserError(f"Pretraining.{name}: '{value}' is none of {', '.join(choices)}.")
        for name, number in (("batch_size", self.batch_size), ("micro_batch", self.micro_batch)):
            if number < 1:
                raise UserError(f"Pretraining.{name}: {number} is below 1.")

"""How a checkpoint is trained by reward: GRPO with a bounded bonus for fact tokens, and contrastive pairs.

GRPO: Shao et al. 2024, arXiv:2402.03300; its loss variants by their names in TRL (`grpo`; `dr_grpo`: Liu et al. 2025,
arXiv:2503.20783; `dapo`: Yu et al. 2025, arXiv:2503.14476; `bnpo`).
"""

from dataclasses import dataclass

from vocablab.base.config import execution_only
from vocablab.base.errors import UserError
from vocablab.tasks.task import Task

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo")
SCALES = ("group", "batch", "none")
AGGREGATIONS = ("sum_then_normalize", "normalize_then_sum")
CONTRASTS = ("banned", "prompted")
COUNTED = ("used", "any")
ORDERS = ("random", "easy_first")


@dataclass(frozen=True)
class TokenBonus:
    """What added tokens in an answer are worth.

    The default pays for what is wanted: a right answer is worth 1, and more for each distinct fact token that is true
    and used in it. ``TokenBonus(gated=False, counts="any")`` is the roadmap's first form, 0.1 for any token whether or
    not the answer is right: a model can earn it by saying tokens that have nothing to do with the problem.
    """

    per_token: float = 0.1
    """For each counted token."""
    at_most: float = 0.5
    """For all of them together."""
    gated: bool = True
    """Whether it multiplies the reward for a right answer, ``correct x (1 + bonus)``, instead of being added to it."""
    counts: str = "used"
    """``used``: each distinct token whose fact is true, whose operands are numbers of the problem or results of earlier
    steps, and whose result is taken up after it. ``any``: every added token, repeats too."""

    def __post_init__(self) -> None:
        if self.counts not in COUNTED:
            raise UserError(f"rl.bonus.counts: '{self.counts}' is none of {', '.join(COUNTED)}.")
        if not 0 < self.per_token <= self.at_most:
            raise UserError(f"rl.bonus: per_token {self.per_token} is not over 0 and at most at_most {self.at_most}.")
        if self.at_most > 0.5:
            raise UserError(
                f"rl.bonus.at_most: {self.at_most} is above 0.5; a right answer must stay worth more than any tokens."
            )


@dataclass(frozen=True)
class Contrast:
    """Answers in pairs: one with fact tokens, one without; the advantage is within the pair."""

    without: str = "banned"
    """How the pair differs. ``banned``: the second member may emit no added token. ``prompted``: the first member reads
    `hint` behind the question, the second does not; both are learned as answers to the question without it."""
    hint: str = " Use a fact where one fits."
    """What ``prompted`` adds to the question."""

    def __post_init__(self) -> None:
        if self.without not in CONTRASTS:
            raise UserError(f"rl.contrast.without: '{self.without}' is none of {', '.join(CONTRASTS)}.")


@dataclass(frozen=True)
class Curriculum:
    """Which problems are worth an attempt: those whose answers are neither all right nor all wrong."""

    samples: int = 8
    """Answers per problem by which its pass rate is measured, before the first step and whenever it is again."""
    least: float = 0.1
    """Lowest pass rate of a problem that is kept."""
    most: float = 0.9
    """Highest."""
    order: str = "random"
    """``random``, or ``easy_first``: by pass rate, from the highest down, in each pass over the problems."""
    again_every: int = 0
    """Steps after which the rates of all problems are measured anew and the problems chosen anew, so that the model
    meets what it can learn now; 0: once. Training stops if they leave fewer problems than a step needs."""

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise UserError(f"rl.curriculum.order: '{self.order}' is none of {', '.join(ORDERS)}.")
        if self.samples < 1 or self.again_every < 0 or not 0 <= self.least < self.most <= 1:
            raise UserError("rl.curriculum: samples is at least 1, again_every at least 0, and 0 <= least < most <= 1.")


@dataclass(frozen=True)
class Limits:
    """When training stops because it has gone astray: a reading beyond its limit, several times in a row."""

    kl: float | None = None
    """Highest divergence from the starting model in nats per token; needs `beta` above 0."""
    entropy: float = 0.01
    """Lowest entropy of the next token, in nats: below it every answer to a problem is the same."""
    length: float | None = None
    """Highest mean length of an answer in tokens."""
    repetition: float = 0.5
    """Highest share of runs of four tokens that occurred before in the same answer."""
    truncated: float = 0.8
    """Highest share of answers that did not end by themselves."""
    idle_tokens: float = 2.0
    """Most added tokens per answer that are not true, not used or repeated: what a gamed bonus looks like."""
    patience: int = 3
    """Readings in a row."""

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise UserError(f"rl.limits.patience: {self.patience} is below 1.")


@dataclass(frozen=True)
class GRPO:
    """Group-relative policy optimisation of a checkpoint on a task's problems."""

    task: Task
    """Its `problems` are trained on; its `items` are read at the start, on the way and at the end."""
    steps: int
    """Optimiser steps on new answers."""
    prompts: int
    """Problems per step."""
    group: int = 8
    """Answers per problem: the group that an advantage is relative to; 2 with a contrast."""
    learning_rate: float = 1e-5
    """Constant after the warm-up."""
    max_new_tokens: int = 48
    """Longest answer."""
    temperature: float = 1.0
    """Of sampling, and of the probabilities that are trained."""
    bonus: TokenBonus | None = None
    """What added tokens are worth; None: only a right answer counts."""
    contrast: Contrast | None = None
    """Pairs with and without fact tokens; None for free answers."""
    curriculum: Curriculum | None = None
    """Which problems, and in which order; None: all of them, at random."""
    beta: float = 0.02
    """Weight of the divergence from the starting model."""
    epsilon: float = 0.2
    """How far a probability may move per step before it is clipped, downwards."""
    epsilon_high: float = 0.28
    """The same upwards (DAPO's value)."""
    loss: str = "dapo"
    """How tokens are weighed: TRL's ``loss_type``."""
    scale: str = "group"
    """What advantages are divided by: the deviation of the ``group``, of the ``batch``, or ``none`` (Dr. GRPO)."""
    aggregation: str = "sum_then_normalize"
    """``sum_then_normalize``: components of the reward are added, then normalised. ``normalize_then_sum``: each is
    normalised in its group by itself, their sum in the batch (GDPO, arXiv:2601.05242), so that a small bonus weighs as
    much as the answer."""
    iterations: int = 1
    """Optimiser steps on each batch of answers."""
    limits: Limits = Limits()
    """When to stop."""
    split: str = ""
    """Split of the task's items that is read; empty for all."""
    held_out: int = 64
    """Held-out items that are read, evenly spaced."""
    held_out_samples: int = 4
    """Sampled answers per item of a reading."""
    read_every: int = 20
    """Steps between two readings."""
    log_every: int = 5
    """Steps between two lines of the log, completions included."""
    precision: str = execution_only("auto")
    """Format of products in training; answers are sampled in float32."""
    micro_batch: int = execution_only(64)
    """Answers per forward pass of training."""
    checkpoint_seconds: float = execution_only(120.0)
    """Seconds between two checkpoints that an interrupted run goes on from."""

    def __post_init__(self) -> None:
        for name, known in (("loss", LOSSES), ("scale", SCALES), ("aggregation", AGGREGATIONS)):
            if getattr(self, name) not in known:
                raise UserError(f"rl.{name}: '{getattr(self, name)}' is none of {', '.join(known)}.")
        for name in (
            "steps",
            "prompts",
            "max_new_tokens",
            "iterations",
            "held_out",
            "held_out_samples",
            "read_every",
            "log_every",
            "micro_batch",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"rl.{name}: {getattr(self, name)} is below 1.")
        if self.group < 2:
            raise UserError(f"rl.group: {self.group}; an advantage is relative to another answer, so 2 is the least.")
        if self.contrast is not None and self.group != 2:
            raise UserError(f"rl.group: {self.group}; a contrast works on pairs, so it must be 2.")
        if self.aggregation == "normalize_then_sum" and self.scale != "group":
            raise UserError("rl.scale is of no effect with aggregation normalize_then_sum: leave it at group.")
        if self.learning_rate <= 0 or self.temperature <= 0 or self.beta < 0:
            raise UserError("rl: learning_rate and temperature are above 0, beta is at least 0.")
        if self.limits.kl is not None and self.beta == 0:
            raise UserError("rl.limits.kl: the divergence is not measured with rl.beta 0.")

    @property
    def answers(self) -> int:
        """Answers per step."""
        return self.prompts * self.group

    @property
    def answers_at_once(self) -> int:
        """Answers per forward pass of training; they divide those of a step.

        Raises:
            UserError: if they do not.
        """
        at_once = min(self.micro_batch, self.answers)
        if self.answers % at_once:
            raise UserError(
                f"rl: {self.prompts} prompts x {self.group} answers = {self.answers} is no multiple of micro_batch "
                f"{at_once}."
            )
        if self.loss == "bnpo" and at_once < self.answers:
            raise UserError(
                f"rl.loss bnpo weighs the tokens of each forward pass by themselves: micro_batch must be "
                f"{self.answers}, all answers of a step."
            )
        return at_once

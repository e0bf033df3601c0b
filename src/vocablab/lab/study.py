"""What a study is: arms x seeds, claims, and the recipe that every arm shares."""

from dataclasses import dataclass, replace

from vocablab.analysis.claims import Benefit, Claim
from vocablab.base.errors import UserError
from vocablab.corpus.corpus import Corpus
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.posttrain.rl import GRPO
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.pretrain.config import Pretraining
from vocablab.probe.config import Probing
from vocablab.tasks.task import Task
from vocablab.training.budget import Budget, Flops, SourceBytes
from vocablab.vocab.base_vocabulary import BaseVocabulary
from vocablab.vocab.intervention import Intervention, NoChange
from vocablab.vocab.vocabulary import padded

TOKENS_FROM = ("pretrain", "sft")


@dataclass(frozen=True)
class Evaluation:
    """What a finished model is asked."""

    tasks: tuple[Task, ...]
    """Tasks with a grader; their training examples are what fine-tuning learns."""
    text_documents: int
    """How many held-out documents are scored in bits per byte (task ``text``)."""
    max_new_tokens: int
    """Longest answer in tokens."""
    decodings: tuple[str, ...] = ("free",)
    """How answers are made: see `vocablab.evaluate.answering`."""
    text_modes: tuple[str, ...] = ("native",)
    """How held-out documents are read: see `vocablab.evaluate.documents`."""
    forced_prefix: bool = False
    """Whether to ask for the fact tokens themselves: see `vocablab.evaluate.forced_prefix`."""
    during_pretraining: tuple[Task, ...] = ()
    """Choice tasks that are scored at every validation reading of pretraining: HellaSwag over training."""


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a model except its intervention."""

    model: GPT2Config | ModernConfig
    """The network."""
    base_vocabulary: BaseVocabulary
    """The tokens every arm has."""
    corpus: Corpus
    """What it is pretrained on."""
    pretrain: Pretraining
    """How."""
    sft: SupervisedFineTuning
    """How it is fine-tuned."""
    evaluate: Evaluation
    """What it is asked."""
    rl: GRPO | None = None
    """How the fine-tuned model is trained by reward; None for not at all."""
    probe: Probing | None = None
    """How the finished model is probed; None for not at all."""


@dataclass(frozen=True)
class Arm:
    """One condition."""

    name: str
    """Name of the arm and of its folder."""
    recipe: Recipe
    """How its models are made."""
    intervention: Intervention
    """What is changed."""
    description: str = ""
    """One phrase for the report."""
    tokens_from: str = "pretrain"
    """The first stage that has the intervention: ``pretrain``, or ``sft``: corpus and pretrained model are the
    control's, shared by all such arms, and the tokens' rows are made (`Pretraining.new_rows`) when it is exported."""
    seed_offset: int = 0
    """Added to the seed of initialisation and fine-tuning, never to that of the documents, which all arms share. An
    arm that differs from another in nothing else differs from it by chance alone (study `aa-null`). It is identity
    through the seed that a stage's record holds, so an offset of 0 leaves every fingerprint as it was."""

    def __post_init__(self) -> None:
        if self.tokens_from not in TOKENS_FROM:
            raise UserError(f"arm {self.name}: tokens_from '{self.tokens_from}' is none of {', '.join(TOKENS_FROM)}.")

    @property
    def pretrained_with(self) -> Intervention:
        """The intervention on the corpus."""
        return self.intervention if self.tokens_from == "pretrain" else NoChange()

    def drawn_seed(self, seed: int) -> int:
        """The seed that initialisation and fine-tuning draw from in the run `seed` of this arm."""
        return seed + self.seed_offset


@dataclass(frozen=True)
class Study:
    """Arms x seeds with claims about treatment minus control."""

    name: str
    """Name of the study and of its folder."""
    arms: tuple[Arm, ...]
    """All conditions, the control among them."""
    seeds: tuple[int, ...]
    """Seeds: initialisation, document order and generated text."""
    control: str
    """Name of the arm everything is compared with."""
    treatment: str
    """Name of the arm the claims are about."""
    primary: tuple[Claim, ...]
    """One to three claims, fixed before the first run."""
    confirmatory: bool = False
    """Whether the study is refused where its plan cannot detect the delta of a primary `Benefit` at 80 % power. Where
    and whether it may start, not what it finds: no stage's fingerprint holds it."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise UserError(f"study {self.name}: two arms have the same name.")
        for role, name in (("control", self.control), ("treatment", self.treatment)):
            if name not in names:
                raise UserError(f"study {self.name}: {role} '{name}' is not one of its arms {names}.")
        if not 1 <= len(self.primary) <= 3:
            raise UserError(f"study {self.name}: one to three primary claims, not {len(self.primary)}.")
        for claim in self.primary:
            for name in claim.baselines if isinstance(claim, Benefit) else ():
                if name not in names or name == self.treatment:
                    raise UserError(f"study {self.name}: baseline '{name}' of a claim is no other arm of {names}.")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise UserError(f"study {self.name}: seeds must be at least one and all different.")

    def arm(self, name: str) -> Arm:
        """The arm called `name`.

        Raises:
            UserError: if there is none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UserError(f"study {self.name} has no arm '{name}'; it has {[arm.name for arm in self.arms]}.")


def equal_flops(arm: Arm, like: Arm, tokens_per_byte: float | None = None) -> Arm:
    """`arm` with the training FLOPs of `like`: a baseline that the same compute buys.

    Args:
        arm: what is trained.
        like: whose pretraining FLOPs it gets, the head's share included.
        tokens_per_byte: of `like`'s shard; needed where its budget is in source bytes, because how many tokens those
            are depends on its vocabulary. `train.tokens` / `train.raw_bytes` in the record of its stage `prepare`.

    Raises:
        UserError: if `like`'s budget is in source bytes and nothing says how many tokens they are.
    """
    flops = _flops_per_token(arm, like)
    budget = Flops(flops * _tokens(like, tokens_per_byte, flops))
    return _with_budget(arm, budget, f"{arm.name}_equal_flops", f"with as many FLOPs as {like.name}")


def equal_bytes(arm: Arm, like: Arm, tokens_per_byte: float | None = None) -> Arm:
    """`arm` with as many source bytes as `like` reads: a baseline that saw the same text.

    Args:
        arm: what is trained.
        like: whose amount of text it gets.
        tokens_per_byte: of `like`'s shard; needed where its budget is in tokens or FLOPs.

    Raises:
        UserError: if `like`'s budget is in another unit and nothing says how many bytes it is.
    """
    budget = like.recipe.pretrain.budget
    if not isinstance(budget, SourceBytes):
        density = _stated(tokens_per_byte, like)
        budget = SourceBytes(budget.tokens(density, _flops_per_token(arm, like)) / density)
    return _with_budget(arm, budget, f"{arm.name}_equal_bytes", f"with as many source bytes as {like.name}")


def _tokens(like: Arm, tokens_per_byte: float | None, flops_per_token: float) -> int:
    budget = like.recipe.pretrain.budget
    # Only a budget in bytes asks for the density; the number given for the others is never looked at.
    density = _stated(tokens_per_byte, like) if isinstance(budget, SourceBytes) else 1.0
    return budget.tokens(density, flops_per_token)


def _stated(tokens_per_byte: float | None, like: Arm) -> float:
    if tokens_per_byte is None or not tokens_per_byte > 0:
        raise UserError(
            f"the budget of arm {like.name} is in {type(like.recipe.pretrain.budget).__name__}: give tokens_per_byte, "
            "as the record of its stage prepare has it (train.tokens / train.raw_bytes)."
        )
    return tokens_per_byte


def _flops_per_token(arm: Arm, like: Arm) -> float:
    """Of `like`'s network, with the rows that a study of the two arms pads to."""
    added = max(len(one.intervention.tokens()) for one in (arm, like))
    return sum(like.recipe.model.flops_per_token(padded(like.recipe.base_vocabulary.expected_size + added)).values())


def _with_budget(arm: Arm, budget: Budget, name: str, description: str) -> Arm:
    pretrain = replace(arm.recipe.pretrain, budget=budget)
    said = f"{arm.description}, {description}" if arm.description else description
    return replace(arm, name=name, recipe=replace(arm.recipe, pretrain=pretrain), description=said)

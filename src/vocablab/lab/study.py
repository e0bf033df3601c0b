"""What a study is: arms x seeds, claims, and the recipe that every arm shares."""

from dataclasses import dataclass

from vocablab.analysis.claims import Claim
from vocablab.base.errors import UserError
from vocablab.corpus.corpus import Corpus
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.pretrain.config import Pretraining
from vocablab.tasks.task import Task
from vocablab.vocab.base_vocabulary import BaseVocabulary
from vocablab.vocab.intervention import Intervention


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
    """How it is fine-tuned on the evaluation tasks' training examples."""
    evaluate: Evaluation
    """What it is asked."""


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

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise UserError(f"study {self.name}: two arms have the same name.")
        for role, name in (("control", self.control), ("treatment", self.treatment)):
            if name not in names:
                raise UserError(f"study {self.name}: {role} '{name}' is not one of its arms {names}.")
        if not 1 <= len(self.primary) <= 3:
            raise UserError(f"study {self.name}: one to three primary claims, not {len(self.primary)}.")
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

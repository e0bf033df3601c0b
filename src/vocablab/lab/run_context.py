"""One run under way: where it lies, and what its stages need."""

from dataclasses import dataclass
from pathlib import Path

from vocablab.base.progress import Progress, silent
from vocablab.lab.study import Arm, Study
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.vocabulary import Vocabulary


@dataclass(frozen=True)
class Place:
    """Where and how a study runs: nothing here changes a result."""

    runs: Path
    """Directory of all studies' runs."""
    data: Path | None
    """The data directory, or None."""
    device: str = "cpu"
    """Device the models run on."""

    def study(self, study: Study) -> Path:
        """The study's directory."""
        return self.runs / study.name

    def stage(self, study: Study, arm: str, seed: int, stage: str) -> Path:
        """Directory of one stage of one run."""
        return self.study(study) / arm / f"seed{seed}" / stage


@dataclass
class RunContext:
    """One run under way; keeps what several of its stages need."""

    study: Study
    arm: Arm
    seed: int
    place: Place
    progress: Progress = silent

    def path(self, stage: str) -> Path:
        """Directory of a stage of this run."""
        return self.place.stage(self.study, self.arm.name, self.seed, stage)

    @property
    def finished(self) -> str:
        """The stage that makes the arm's last model."""
        return "sft" if self.arm.recipe.rl is None else "rl"

    def codec(self) -> Codec:
        """The arm's codec: the study's vocabulary with this arm's tokens."""
        return self._codec(self.arm.intervention)

    def corpus_codec(self) -> Codec:
        """The codec of what the arm is pretrained on."""
        return self._codec(self.arm.pretrained_with)

    def _codec(self, rule: Intervention) -> Codec:
        shared = Vocabulary.load(self.place.study(self.study) / "vocabulary")
        return Codec(Vocabulary(shared.base, rule.tokens(), shared.padded_size), rule)

"""What several tests build their models from."""

from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.vocabulary import Vocabulary, padded

TEXT = "The answer is 54 apples. User: how many?\nAssistant: 6 * 9 = 54. Grüße 九九 and 7*8=56 again. "


def make_codec(intervention: Intervention) -> Codec:
    """A small vocabulary with some padding ids."""
    base = TrainedBPE(300).build([TEXT] * 4)
    return Codec(
        Vocabulary(base, intervention.tokens(), padded(300 + max(45, len(intervention.tokens())))), intervention
    )

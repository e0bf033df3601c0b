"""Answers for reinforcement learning: our own decoder instead of `generate`, as TRL's ``rollout_func``.

Every answer is drawn from a stream of its own, named by seed, step and place in the batch: a resumed run draws what
the uninterrupted one would have drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vocablab.base.errors import UserError
from vocablab.base.random_streams import stream_seed
from vocablab.model.decoding import Answer, Decoder, Request
from vocablab.model.own_network import Follower
from vocablab.posttrain.rl import GRPO, Contrast
from vocablab.tasks.task import ASSISTANT, Item
from vocablab.vocab.codec import Codec


@dataclass(frozen=True)
class Problem:
    """An item as a model reads it."""

    item: Item
    """What is asked."""
    ids: list[int]
    """EOS and the prompt."""
    hinted: list[int]
    """The same with the contrast's hint; the prompt itself without one."""


def problem(codec: Codec, item: Item, contrast: Contrast | None) -> Problem:
    """Encode an item; tokens of the arm stand in its prompt as they would in a corpus."""
    hinted = item.prompt
    if contrast is not None and contrast.without == "prompted":
        before, assistant, after = item.prompt.rpartition(ASSISTANT)
        if not assistant:
            raise UserError(
                f"rl.contrast: the prompt of {item.item_id} has no place for a hint, '{ASSISTANT.strip()}'."
            )
        hinted = before + contrast.hint + assistant + after
    return Problem(item, _ids(codec, item.prompt, item.item_id), _ids(codec, hinted, item.item_id))


def _ids(codec: Codec, text: str, name: str) -> list[int]:
    return [codec.vocabulary.eos_id, *codec.encode(text, name).ids.tolist()]


class Rollouts:
    """Draws answers from a model that is being trained."""

    def __init__(self, config: GRPO, codec: Codec, model: Any, seed: int) -> None:
        """Draw from `model`, whatever its weights are at the time."""
        self._config, self._codec, self._seed = config, codec, seed
        self._follower = Follower(model)
        self._nameless = codec.nameless(int(model.get_output_embeddings().weight.shape[0]))

    def draw(
        self, problems: Sequence[Problem], purpose: str, step: int, *, temperature: float, contrast: bool = False
    ) -> list[list[int]]:
        """New tokens for each problem, the EOS of an answer that ended among them.

        Args:
            problems: in their order; of pairs, the first member and then the second.
            purpose: names the streams of random numbers.
            step: so does the step.
            temperature: 0 for the most probable tokens.
            contrast: whether problems stand in pairs that differ as the config says.
        """
        reader = self._follower.reader()
        how = self._config.contrast if contrast else None
        requests = []
        for place, one in enumerate(problems):
            first = place % 2 == 0
            ids = one.hinted if how is not None and how.without == "prompted" and first else one.ids
            requests.append(
                Request(
                    ids, self._config.max_new_tokens, None, temperature,
                    stream_seed(self._seed, "rollout", purpose, step, place),
                )
            )  # fmt: skip
        if how is None or how.without == "prompted":
            answers = self._decoder(reader, ()).answers(requests)
        else:
            banned = tuple(self._codec.vocabulary.added_ids.values())
            free = self._decoder(reader, ()).answers(requests[::2])
            plain = self._decoder(reader, banned).answers(requests[1::2])
            answers = [answer for pair in zip(free, plain, strict=True) for answer in pair]
        return [self._with_end(answer) for answer in answers]

    def _decoder(self, reader: Any, banned: Sequence[int]) -> Decoder:
        return Decoder(reader, eos=self._codec.vocabulary.eos_id, banned=[*self._nameless, *banned])

    def _with_end(self, answer: Answer) -> list[int]:
        return [*answer.ids, self._codec.vocabulary.eos_id] if answer.ended else answer.ids


def require_room(problems: Sequence[Problem], config: GRPO, context: int) -> None:
    """Every prompt and its longest answer fit the context.

    Raises:
        UserError: naming the first problem that does not.
    """
    for one in problems:
        if max(len(one.ids), len(one.hinted)) + config.max_new_tokens > context:
            raise UserError(
                f"rl: the prompt of {one.item.item_id} has {len(one.ids)} tokens and leaves no room for "
                f"{config.max_new_tokens} new ones in a context of {context}; lower rl.max_new_tokens."
            )

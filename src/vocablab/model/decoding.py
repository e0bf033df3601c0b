"""Answers of many prompts at a time, greedy or sampled: a causal language model of transformers, its own cache.

What `generate` of transformers does slowly for many prompts is done otherwise here, with the same tokens as result:

* a prompt that has ended makes room for the next one, instead of being padded until the longest has ended;
* keys and values stand at their positions in one buffer that is never copied, so that prompts need no padding;
* where a model repeats itself or copies from its prompt, several tokens are guessed and checked in one pass (prompt
  lookup: Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding; speculative decoding: Leviathan et al. 2023,
  arXiv:2211.17192). A guess is kept only where it is what the model itself would have chosen.

What a prompt is answered does not depend on the others: sampling draws from a stream of the request's own.

Shapes: B rows, Q tokens of a pass, T positions of the cache, V rows of the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocablab.base.errors import UserError
from vocablab.model.key_values import KeyValues
from vocablab.model.reader import Reader

SLOTS = 64
"""Prompts under way at a time: matrix products of 64 rows run at twice the speed of 16 on two cores (docs/log.md)."""
GUESSES = 4
"""Tokens guessed at most per pass and row."""
NGRAMS = (3, 2)
"""Lengths of the endings that are looked up, the longest first."""
PASS = 32
"""What a pass costs beside its tokens, in tokens: reading the weights, calling the kernels. A guess from the speed of
products on two cores (docs/log.md); smaller models, and any model on a GPU, could guess more freely."""
PROMPT_TOKENS = 8192
"""Tokens of prompts that are read in one pass, about."""
MEMORY = 0.8
"""Weight of the past in a row's running share of right guesses."""
MOST_MEMORY = 2 << 30
"""Bytes that keys and values may take on a CPU: 64 texts of 450 tokens for GPT-2 small."""
MOST_MEMORY_GPU = 16 << 30
"""The same on a GPU."""
START = 64
"""Positions of a new cache beyond the longest prompt; it doubles when it is full."""


@dataclass(frozen=True)
class Request:
    """A prompt to answer."""

    ids: Sequence[int]
    """Its tokens, at least one."""
    max_new_tokens: int
    """Longest answer, its end included."""
    first: Sequence[int] | None = None
    """The ids that the first token is chosen among; None for all."""
    temperature: float = 0.0
    """0 takes the most probable token; else samples from the distribution sharpened by it."""
    seed: int = 0
    """Of this request's own stream of random numbers."""


@dataclass(frozen=True)
class Answer:
    """What a model answered."""

    ids: list[int]
    """The new tokens, without the one that ends it."""
    ended: bool
    """Whether it stopped by itself."""


REPEATED_RUN = 4
"""Tokens of a run that counts as repeated when it occurs again."""


def repetition(ids: Sequence[int]) -> float:
    """Share of runs of four tokens that occurred before (Welleck et al. 2019, seq-rep-4); 0 for a shorter answer."""
    runs = [tuple(ids[i : i + REPEATED_RUN]) for i in range(len(ids) - REPEATED_RUN + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


class _Row:
    """One request under way."""

    def __init__(self, number: int, request: Request) -> None:
        self.number, self.request = number, request
        self.tokens = list(request.ids)
        self.done = 0
        """Tokens whose keys and values are in the cache."""
        self.rng = np.random.default_rng(request.seed) if request.temperature else None
        self.right = 1.0
        """Running share of right guesses."""
        self._places: dict[tuple[int, ...], int] = {}
        self._indexed = 0

    @property
    def new(self) -> int:
        """Tokens answered so far."""
        return len(self.tokens) - len(self.request.ids)

    def guess(self, most: int) -> list[int]:
        """What followed the last time that the text ended as it does now; sampled answers are not guessed."""
        if self.rng is not None or most < 1:
            return []
        tokens = self.tokens
        # Endings of the text before its last token, each with the place after it; a later place replaces an earlier.
        for end in range(max(self._indexed, min(NGRAMS)), len(tokens)):
            for n in NGRAMS:
                if end >= n:
                    self._places[tuple(tokens[end - n : end])] = end
        self._indexed = len(tokens)
        for n in NGRAMS:
            place = self._places.get(tuple(tokens[-n:])) if len(tokens) >= n else None
            if place is not None:
                found = tokens[place : place + most]
                # A short cycle goes on as it began.
                while len(found) < most:
                    found.append(found[len(found) - (len(tokens) - place)])
                return found
        return []


class Decoder:
    """Answers requests with one model."""

    def __init__(self, reader: Reader, *, eos: int, banned: Sequence[int] = (), guesses: int = GUESSES) -> None:
        """Make it.

        Args:
            reader: the model.
            eos: the id that ends an answer; it is not part of it.
            banned: ids that are never emitted.
            guesses: tokens guessed at most; 0 for none.
        """
        self._reader, self._eos, self._guesses = reader, eos, guesses
        self._device = reader.device
        self._banned: Tensor | None = None
        if len(banned):
            self._banned = torch.zeros(reader.vocabulary, device=self._device)
            self._banned[torch.tensor(list(banned), device=self._device)] = float("-inf")

    @torch.inference_mode()
    def answers(self, requests: Sequence[Request], slots: int = SLOTS) -> list[Answer]:
        """Answer all requests, in their order.

        Args:
            requests: the prompts.
            slots: how many are under way at a time; does not change an answer.

        Raises:
            UserError: for an empty prompt, or one that leaves no room for its answer.
        """
        for request in requests:
            self._require_room(request)
        found: dict[int, Answer] = {}
        # Long prompts first: what is left at the end is short and ends early.
        waiting = sorted(range(len(requests)), key=lambda i: len(requests[i].ids))
        memory = KeyValues(self._rows(requests, slots))
        rows: list[_Row] = []
        while waiting or rows:
            free = memory.rows - len(rows)
            # One at a time would make many small passes; so room gathers first.
            if waiting and free >= min(len(waiting), max(1, memory.rows // 4)):
                coming = [_Row(i, requests[i]) for i in (waiting.pop() for _ in range(min(free, len(waiting))))]
                self._read_prompts(memory, len(rows), coming)
                rows += coming
            else:
                self._pass(memory, rows)
            self._take_ended(memory, rows, found)
        return [found[i] for i in range(len(requests))]

    def _rows(self, requests: Sequence[Request], slots: int) -> int:
        """How many texts are under way: no more than their keys and values have room for."""
        longest = max((len(request.ids) + request.max_new_tokens for request in requests), default=1)
        most = MOST_MEMORY if self._device.type == "cpu" else MOST_MEMORY_GPU
        return max(1, min(slots, len(requests), most // (longest * self._reader.position_bytes)))

    def _require_room(self, request: Request) -> None:
        if not request.ids:
            raise UserError("a prompt has no token.")
        if request.max_new_tokens < 1:
            raise UserError(f"an answer has at least one token, not {request.max_new_tokens}.")
        if len(request.ids) + request.max_new_tokens > self._reader.context:
            raise UserError(
                f"a prompt of {len(request.ids)} tokens leaves no room for {request.max_new_tokens} new ones in a "
                f"context of {self._reader.context}."
            )

    def _take_ended(self, memory: KeyValues, rows: list[_Row], found: dict[int, Answer]) -> None:
        """Take out the rows that have ended; the last row takes the place of each, so that rows stay neighbours."""
        for place in range(len(rows) - 1, -1, -1):
            row = rows[place]
            new = row.tokens[len(row.request.ids) :]
            ended = new[-1] == self._eos
            if ended or len(new) >= row.request.max_new_tokens:
                found[row.number] = Answer(new[:-1] if ended else new, ended)
                last = rows.pop()
                if place < len(rows):
                    rows[place] = last
                    memory.move(len(rows), place, last.done)

    def _read_prompts(self, memory: KeyValues, first: int, coming: list[_Row]) -> None:
        """Read the prompts of new rows and choose their first tokens, a stretch of them at a time.

        A prompt that several rows have is read once: the others get a copy of its keys and values. `coming` is put in
        the order of the rows that they are given.
        """
        longest = max(len(row.tokens) for row in coming)
        memory.make_room(min(self._reader.context, longest + START) + self._guesses)
        at_once = max(1, PROMPT_TOKENS // longest)
        groups: dict[tuple[int, ...], list[_Row]] = {}
        for row in coming:
            groups.setdefault(tuple(row.tokens), []).append(row)
        alike, place = list(groups.values()), first
        coming.clear()
        for start in range(0, len(alike), at_once):
            part = alike[start : start + at_once]
            readers = [group[0] for group in part]
            copies = [(i, row) for i, group in enumerate(part) for row in group[1:]]
            pending = [row.tokens for row in readers]
            states_BQD = self._states(memory, place, readers, pending)
            for number, (source, row) in enumerate(copies):
                memory.move(place + source, place + len(readers) + number, len(row.tokens))
            rows = [*readers, *(row for _, row in copies)]
            which = [*range(len(readers)), *(source for source, _ in copies)]
            self._choose(rows, [row.tokens for row in rows], states_BQD, which)
            coming += rows
            place += len(rows)

    def _pass(self, memory: KeyValues, rows: list[_Row]) -> None:
        """One more token of every row, or several where guesses hold."""
        pending = [row.tokens[row.done :] for row in rows]
        if self._guesses:
            guesses = [row.guess(min(self._guesses, row.request.max_new_tokens - row.new - 1)) for row in rows]
            expected = sum(row.right * len(g) for row, g in zip(rows, guesses, strict=True))
            cost = len(rows) * max(len(g) for g in guesses)
            # A pass of R tokens takes as long as PASS + R; more tokens per time is what is wanted.
            if expected * (PASS + len(rows)) > len(rows) * cost:
                pending = [p + g for p, g in zip(pending, guesses, strict=True)]
        states_BQD = self._states(memory, 0, rows, pending)
        self._choose(rows, pending, states_BQD, range(len(rows)))

    def _states(self, memory: KeyValues, first: int, rows: list[_Row], pending: list[list[int]]) -> Tensor:
        """One pass over the pending tokens of neighbouring rows, the first of them in row `first` of the cache."""
        width = max(len(p) for p in pending)
        ids_BQ = torch.tensor([p + [self._eos] * (width - len(p)) for p in pending], device=self._device)
        starts_B1 = torch.tensor([[row.done] for row in rows], device=self._device)
        positions_BQ = starts_B1 + torch.arange(width, device=self._device)
        length = max(row.done for row in rows) + width
        if length > memory.positions:
            memory.make_room(max(length, min(2 * length, self._reader.context + self._guesses)))
        memory.aim(slice(first, first + len(rows)), positions_BQ, length)
        seen_T = torch.arange(length, device=self._device)
        mask_B1QT = torch.zeros((len(rows), 1, width, length), dtype=self._reader.dtype, device=self._device)
        mask_B1QT.masked_fill_((seen_T > positions_BQ.unsqueeze(-1)).unsqueeze(1), self._reader.lowest)
        # Padding may lie beyond the last position; nothing looks at it.
        places_BQ = positions_BQ.clamp(max=self._reader.context - 1)
        return self._reader.states(ids_BQ, places_BQ, mask_B1QT, memory)

    def _choose(self, rows: list[_Row], pending: list[list[int]], states_BQD: Tensor, which: Sequence[int]) -> None:
        """Choose after the last known token of each row and after each guess: keep what the model agrees with, and one
        more. `which` is the row of the states that each row looks at."""
        known = [len(row.tokens) - row.done for row in rows]
        places = [(i, q) for i, p in enumerate(pending) for q in range(known[i] - 1, len(p))]
        at = torch.tensor([(which[i], q) for i, q in places], device=self._device)
        scores_NV = self._reader.scores(states_BQD[at[:, 0], at[:, 1]])
        if self._banned is not None:
            scores_NV += self._banned
        chosen, first = self._chosen(rows, places, scores_NV), 0
        for row, p, start in zip(rows, pending, known, strict=True):
            guesses = p[start:]
            mine = chosen[first : first + len(guesses) + 1]
            first += len(mine)
            agreed = 0
            while agreed < len(guesses) and guesses[agreed] == mine[agreed]:
                agreed += 1
            if guesses:
                row.right = MEMORY * row.right + (1 - MEMORY) * agreed / len(guesses)
            else:
                # Trust comes back slowly, so that a row is tried again.
                row.right = min(1.0, row.right + 0.02)
            row.done = len(row.tokens) + agreed
            new = mine[: agreed + 1]
            row.tokens += new[: new.index(self._eos) + 1] if self._eos in new else new

    def _chosen(self, rows: list[_Row], places: list[tuple[int, int]], scores_NV: Tensor) -> list[int]:
        for n, (i, _) in enumerate(places):
            row = rows[i]
            if row.request.first is not None and row.new == 0:
                allowed = torch.full_like(scores_NV[n], float("-inf"))
                ids = torch.tensor(list(row.request.first), device=self._device)
                allowed[ids] = scores_NV[n, ids]
                scores_NV[n] = allowed
        chosen: list[int] = scores_NV.argmax(-1).tolist()
        sampled = [n for n, (i, _) in enumerate(places) if rows[i].rng is not None]
        if sampled:
            own = [rows[places[n][0]] for n in sampled]
            warmth = torch.tensor([[row.request.temperature] for row in own], device=self._device)
            shares = (scores_NV[sampled].double() / warmth).softmax(-1).cumsum(-1)
            drawn = torch.tensor([[row.rng.random()] for row in own if row.rng], device=self._device)
            found = torch.searchsorted(shares, drawn * shares[:, -1:], right=True)[:, 0]
            for n, value in zip(sampled, found.tolist(), strict=True):
                chosen[n] = value
        return chosen

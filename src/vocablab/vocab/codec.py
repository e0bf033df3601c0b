"""A vocabulary together with an intervention: raw text to ids and back, one place for every arm."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import vocablab.vocab.interventions  # noqa: F401  (their classes must exist for `load_codec` to find them)
from vocablab.base.config import from_json, to_json
from vocablab.base.files import read_json
from vocablab.vocab.batch_encoding import EncodedBatch
from vocablab.vocab.intervention import Intervention, Span
from vocablab.vocab.vocabulary import Encoded, Vocabulary, _to_text

INTERVENTION_FILE = "intervention.json"


@dataclass(frozen=True)
class Codec:
    """Encodes raw text in an arm's own way; renders ids to text that is the same kind of text for every arm."""

    vocabulary: Vocabulary
    """The arm's tokens."""
    intervention: Intervention
    """The arm's rule."""

    def encode(self, text: str, document: str = "") -> Encoded:
        """Encode `text` with the intervention applied.

        Args:
            text: any raw text.
            document: its stable name, the seed of interventions that draw at random.

        Returns:
            Ids with, for each, the raw character where it ends. All tokens of a replaced stretch end where
            the stretch ends, since no part of a replacement stands for a part of the raw stretch.
        """
        return self.encode_spans(text, self.intervention.spans(text, document))

    def encode_spans(self, text: str, spans: list[Span]) -> Encoded:
        """Encode `text` with the given replacements (see `encode`)."""
        if not spans:
            return self.vocabulary.encode_plain(text)
        ids: list[np.ndarray] = []
        ends: list[np.ndarray] = []
        for piece, raw_ends in stream_pieces(text, spans):
            if raw_ends is None:
                span = piece
                assert isinstance(span, Span)
                ids.append(np.array([self.vocabulary.added_ids[span.replacement]], dtype=np.int32))
                ends.append(np.array([span.end], dtype=np.int64))
            else:
                assert isinstance(piece, str)
                encoded = self.vocabulary.encode_plain(piece)
                ids.append(encoded.ids)
                ends.append(raw_ends[encoded.ends - 1])
        return Encoded(np.concatenate(ids), np.concatenate(ends))

    def encode_spans_many(self, texts: list[str], spans: list[list[Span]]) -> list[Encoded]:
        """`encode_spans` of many texts; those without replacements on all cores."""
        plain = iter(self.vocabulary.encode_plain_many([t for t, s in zip(texts, spans, strict=True) if not s]))
        return [self.encode_spans(t, s) if s else next(plain) for t, s in zip(texts, spans, strict=True)]

    def encode_batch(self, texts: list[str], spans: list[list[Span]]) -> list[np.ndarray]:
        """Ids of many texts with the given replacements: the fast path for corpora.

        Args:
            texts: raw texts.
            spans: for each, what `Intervention.spans` returned.

        Returns:
            For each text the ids of `encode_spans`: int32.
        """
        runs: list[str] = []
        # For each text, its first run, and the id that stands after each of its runs but the last.
        layout: list[tuple[int, list[int]]] = []
        added = self.vocabulary.added_ids
        for text, found in zip(texts, spans, strict=True):
            first, between = len(runs), []
            run, position = "", 0
            for span in found:
                run += text[position : span.start]
                if span.is_token:
                    runs.append(run)
                    between.append(added[span.replacement])
                    run = ""
                else:
                    run += span.replacement
                position = span.end
            runs.append(run + text[position:] if position else text)
            layout.append((first, between))
        plain = self.vocabulary.encode_plain_batch(runs)
        return [_interleaved(plain, first, between) for first, between in layout]

    def decode(self, ids: list[int] | np.ndarray) -> str:
        """Ids to text with every added token shown by its name."""
        return self.vocabulary.decode(ids)

    def render(self, ids: list[int] | np.ndarray) -> str:
        """Ids to neutral text: added tokens become what they say (`Intervention.neutral`), ids without a token
        and EOS become nothing. Answers are extracted from this text only."""
        out: list[bytes] = []
        for value in ids:
            index = int(value)
            if index == self.vocabulary.eos_id:
                continue
            if self.vocabulary.base_size <= index < self.vocabulary.size:
                name = self.vocabulary.added[index - self.vocabulary.base_size]
                out.append(self.intervention.neutral(name).encode())
            else:
                out.append(self.vocabulary.token_bytes(index))
        return _to_text(b"".join(out))

    def nameless(self, rows: int) -> list[int]:
        """Ids below `rows` that have no token: never emitted."""
        known = set(self.vocabulary.base.get_vocab(with_added_tokens=True).values())
        known |= set(self.vocabulary.added_ids.values())
        return [i for i in range(rows) if i not in known]

    def restore(self, text: str, spans: list[Span]) -> str:
        """Rebuild the raw text from the changed stream (as text) and its spans: proves a replacement reversible.

        Args:
            text: the raw text the spans were found in, used only outside the spans.
            spans: what `Intervention.spans` returned for it.
        """
        out, position = [], 0
        for span in spans:
            out.append(text[position : span.start])
            out.append(self.intervention.surface(span.replacement, span.form))
            position = span.end
        out.append(text[position:])
        return "".join(out)


def _interleaved(plain: EncodedBatch, first: int, between: list[int]) -> np.ndarray:
    """Runs ``first``, ``first + 1``, ... with one id between each two."""
    stops = plain.offsets[first : first + len(between) + 2]
    ids = plain.ids[stops[0] : stops[-1]]
    return np.insert(ids, stops[1:-1] - stops[0], between) if between else ids


def stream_pieces(text: str, spans: list[Span]) -> list[tuple[str | Span, np.ndarray | None]]:
    """Cut a raw text with replacements into runs of plain text and single tokens.

    Returns:
        For a token: ``(span, None)``. For a run of text, plain replacements merged in so that it is
        tokenized in one go: ``(run, raw_ends)`` where ``raw_ends[i]`` is the raw position after the run's
        i-th character (int64, shape (len(run),)).
    """
    pieces: list[tuple[str | Span, np.ndarray | None]] = []
    run: list[str] = []
    run_ends: list[np.ndarray] = []

    def flush() -> None:
        joined = "".join(run)
        if joined:
            pieces.append((joined, np.concatenate(run_ends)))
        run.clear()
        run_ends.clear()

    position = 0
    for span in spans:
        run.append(text[position : span.start])
        run_ends.append(np.arange(position + 1, span.start + 1, dtype=np.int64))
        if span.is_token:
            flush()
            pieces.append((span, None))
        else:
            run.append(span.replacement)
            run_ends.append(np.full(len(span.replacement), span.end, dtype=np.int64))
        position = span.end
    run.append(text[position:])
    run_ends.append(np.arange(position + 1, len(text) + 1, dtype=np.int64))
    flush()
    return pieces


def save_codec(codec: Codec, directory: Path) -> None:
    """Write `vocabulary.json` and `intervention.json` into `directory`."""
    codec.vocabulary.save(directory)
    (directory / INTERVENTION_FILE).write_text(json.dumps(to_json(codec.intervention), indent=1), encoding="utf-8")


def load_codec(directory: Path) -> Codec:
    """Read what `save_codec` wrote.

    Raises:
        UserError: if a file is missing or damaged.
    """
    data = read_json(directory / INTERVENTION_FILE, "the intervention of a model")
    return Codec(Vocabulary.load(directory), from_json(Intervention, data, INTERVENTION_FILE))

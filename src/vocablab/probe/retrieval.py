"""Does a question bring up the right fact token, and the beginning of a fact its end?  (Roadmap F2, forced prefix.)

Everything is asked of the model as it is, without examples. A ranking is compared with chance and, where it is known
how often training showed each token, with the order by that number alone, which knows nothing of the question.
"""

from collections.abc import Container, Sequence

import numpy as np
import torch

from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.model.decoding import Decoder, Request
from vocablab.model.reader import TransformersReader
from vocablab.probe.causal import ANSWER_TOKENS, nameless
from vocablab.probe.contexts import begun, facts_in_play, has_fact_tokens, mode_of, spell, token_ids
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.passes import states_at
from vocablab.probe.shares import chance_reciprocal_rank, paired_difference, ranks, reciprocal_ranks, share
from vocablab.probe.subject import Subject, untaught_ids
from vocablab.tasks.answers import leading_answer
from vocablab.tasks.arithmetic import EVALUATION_PHRASING, TRAINED_PHRASINGS, Arithmetic
from vocablab.tasks.task import Item, chat_prompt, evenly
from vocablab.vocab.forms import question_text

PROBE = "retrieval"
ITEMS = 24
"""Questions that are answered in full: few enough for each to be about another fact, see `paired_difference`."""
FULL_ANSWER = 20
"""Tokens of a full answer: the equation spelled, and the sentence after it."""
COMPARED = (("free", "banned"), ("forced", "banned"), ("forced", "free"))
"""Ways to answer, the second subtracted from the first, question by question."""


def retrieval(subject: Subject) -> Findings:
    """Completion of begun facts, ranking of tokens by question, and answers free, without tokens and with one."""
    family, facts = facts_in_play(subject)
    found = _completions(subject, family, facts)
    if has_fact_tokens(subject):
        found += _rankings(subject, family)
        if mode_of(subject) == "annotate":
            found.notes.append(
                f"{subject.name}: its tokens follow a spelled fact and never a question, so ranking them or forcing "
                "one after a question is not what it was trained for."
            )
    else:
        found.notes.append(
            f"{subject.name} has no tokens that state a fact: no token was ranked, banned or forced; answers are free."
        )
    found += _answers(subject, family)
    return found


def phrasings(family: Family, fact: Fact) -> dict[str, str]:
    """Questions about a fact, by name; three of products are those of fine-tuning, the last only of evaluation."""
    if fact.relation == "MUL" and len(fact.operands) == 2:
        a, b = fact.operands
        asked = {**TRAINED_PHRASINGS, EVALUATION_PHRASING[0]: EVALUATION_PHRASING[1]}
        return {name: chat_prompt(text.format(a=a, b=b)) for name, text in asked.items()}
    question = question_text(family, fact)
    return {"what-is": chat_prompt(f"What is {question}?"), "compute": chat_prompt(f"Compute {question}.")}


def question_texts(subject: Subject, prompts: Sequence[str]) -> list[list[int]]:
    """Ids of prompts up to the place of a token: end-of-text, the spelled question, and the space before an answer."""
    # Spelled also in weak mode, whose rule would put the right token into the question itself.
    return [[subject.codec.vocabulary.eos_id, *spell(subject, prompt + " ")] for prompt in prompts]


def _completions(subject: Subject, family: Family, facts: Sequence[Fact]) -> Findings:
    """Greedy ends of ``6 * 9 =`` and of a token's name, spelled."""
    found = Findings()
    texts_of = {"equation": [begun(family, f) for f in facts]}
    if has_fact_tokens(subject):
        texts_of["spelled token"] = [family.token_name(f).removesuffix(f"{f.answer}>") for f in facts]
    for name, texts in texts_of.items():
        prompts = [[subject.codec.vocabulary.eos_id, *spell(subject, text)] for text in texts]
        given = [leading_answer(subject.codec.render(ids)) for ids in _greedy(subject, prompts, ANSWER_TOKENS)]
        hits = [answer == str(fact.answer) for answer, fact in zip(given, facts, strict=True)]
        # Every answer against every fact: what knowing the answers, but not which is whose, would give.
        chance = float(np.mean([[answer == str(fact.answer) for fact in facts] for answer in given]))
        note = "Control: the same completions against all facts."
        found.measures.append(share(PROBE, "greedy", f"begun {name}", "completed", hits, chance, len(facts), note))
    return found


def _rankings(subject: Subject, family: Family) -> Findings:
    """Rank of the right token among all fact tokens after each phrasing of its question."""
    found = Findings()
    ids = token_ids(subject)
    facts, candidates = list(ids), list(ids.values())
    right = np.arange(len(facts))
    chance = chance_reciprocal_rank(len(facts))
    series = []
    for name in phrasings(family, facts[0]):
        texts = question_texts(subject, [phrasings(family, fact)[name] for fact in facts])
        scores = token_scores(subject, texts, candidates)
        rank = ranks(scores, right)
        hits = [bool(r == 1) for r in rank]
        target = f"token by {name}"
        note = "Control: chance."
        found.measures += [
            share(PROBE, "output", target, "accuracy at 1", hits, 1 / len(facts), len(facts), note),
            Measure(PROBE, "output", target, "mean reciprocal rank", float(reciprocal_ranks(scores, right).mean()),
                    chance, None, len(facts), note),
        ]  # fmt: skip
        within = [float((rank <= k).mean()) for k in range(1, len(facts) + 1)]
        series.append({"name": name, "x": list(range(1, len(facts) + 1)), "y": within})
    if subject.exposures is not None:
        found.measures.append(_by_frequency(subject, chance))
    found.figures.append(
        Figure(
            "retrieval-ranks", "Share of questions whose right token is among the first k", "lines",
            "k (tokens)", "share of facts", {"series": series},
        )
    )  # fmt: skip
    return found


def token_scores(subject: Subject, texts: Sequence[Sequence[int]], candidates: Sequence[int]) -> np.ndarray:
    """Logits of candidate tokens after each text, (texts, candidates)."""
    states = torch.stack([s[0] for s in states_at(subject, texts, [[len(t) - 1] for t in texts])])
    with torch.inference_mode():
        logits = subject.model.get_output_embeddings()(states)[:, list(candidates)]
    found: np.ndarray = logits.float().cpu().numpy()
    return found


def _by_frequency(subject: Subject, chance: float) -> Measure:
    """The order by exposure, the same for every question: what a ranking can reach that ignores the question."""
    assert subject.exposures is not None
    shown = np.array([n for n, fact in zip(subject.exposures, subject.facts, strict=True) if fact is not None], float)
    value = float(reciprocal_ranks(np.tile(shown, (len(shown), 1)), np.arange(len(shown))).mean())
    note = "Order by exposure alone; control: chance."
    return Measure(
        PROBE, "exposure", "token by frequency", "mean reciprocal rank", value, chance, None, len(shown), note
    )


def _answers(subject: Subject, family: Family) -> Findings:
    """Right answers to full questions: free, with fact tokens banned, and with a fact token forced at the start.

    All ways answer the same questions, so that they are also compared question by question.
    """
    found = Findings()
    if family.facts(ordered=False)[0].relation != "MUL":
        found.notes.append(f"{subject.name}: full questions are about products, which its family has none of.")
        return found
    task = Arithmetic()
    items = _questions(task, {fact.key for fact in untaught_ids(subject.codec)})
    facts = [item.fact_key for item in items]
    eos = subject.codec.vocabulary.eos_id
    free = [[eos, *spell(subject, item.prompt)] for item in items]
    ways: dict[str, tuple[list[list[int]], tuple[int, ...], tuple[int, ...] | None]] = {"free": (free, (), None)}
    if has_fact_tokens(subject):
        known = tuple(token_ids(subject).values())
        ways["banned"] = (free, subject.ids, None)
        ways["forced"] = (question_texts(subject, [item.prompt for item in items]), (), known)
    hits: dict[str, list[bool]] = {}
    for name, (prompts, banned, first) in ways.items():
        given = _greedy(subject, prompts, FULL_ANSWER, banned, first)
        texts = [subject.codec.render(ids) for ids in given]
        hits[name] = [task.grade(item, text).strict == 1 for item, text in zip(items, texts, strict=True)]
        chance = float(np.mean([task.grade(item, text).strict for text in texts for item in items]))
        note = "Control: the same answers graded for all questions."
        found.measures.append(
            share(PROBE, "greedy", f"questions, {name}", "accuracy", hits[name], chance, len(set(facts)), note)
        )
    for one, other in COMPARED:
        if one in hits and other in hits:
            target, metric = f"questions, {one} - {other}", "accuracy difference"
            found.measures.append(paired_difference(PROBE, "greedy", target, metric, hits[one], hits[other], facts))
    accuracies = [sum(right) / len(right) for right in hits.values()]
    series = [{"name": "accuracy", "x": list(hits), "y": accuracies}]
    title = "Right answers: free, without tokens, and made to use one"
    found.figures.append(Figure("retrieval-decoding", title, "bars", "decoding", "accuracy", {"series": series}))
    return found


def _questions(task: Arithmetic, untaught: Container[str]) -> list[Item]:
    """Questions about different facts, in turn of each kind that there is.

    None is about a fact whose token was never taught: no token that could be forced would be right.
    """
    by_fact: dict[str, list[Item]] = {}
    for item in task.items(None):
        if item.split != "heldout" and item.fact_key not in untaught:
            by_fact.setdefault(item.fact_key, []).append(item)
    return [items[n % len(items)] for n, (_, items) in enumerate(evenly(list(by_fact.values()), ITEMS))]


def _greedy(
    subject: Subject,
    prompts: Sequence[Sequence[int]],
    most: int,
    banned: Sequence[int] = (),
    first: Sequence[int] | None = None,
) -> list[list[int]]:
    """Greedy continuations; `first` limits the first token."""
    decoder = Decoder(
        TransformersReader(subject.model),
        eos=subject.codec.vocabulary.eos_id,
        banned=[*nameless(subject), *banned],
    )
    return [answer.ids for answer in decoder.answers([Request(prompt, most, first) for prompt in prompts])]

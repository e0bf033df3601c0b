"""What to run for how much: the roadmap's questions, and four budgets that answer some of them, as data.

Only questions, arms, seeds and stated shares are written here. Every cost is computed from the recipes' FLOPs, so that
it follows a change of a recipe.
"""

from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vocablab.base.errors import UserError
from vocablab.lab.catalog import built_in_names
from vocablab.lab.plan import accelerator_hours, assumed_speed
from vocablab.lab.recipes import gpt2_124m, gpt2_350m
from vocablab.training.budget import Tokens
from vocablab.vocab.interventions import named_interventions
from vocablab.vocab.vocabulary import padded

TOKENS = 10e9
"""Of one pretraining run: the roadmap's baseline."""
SHARES = {"evaluate": 0.005, "sft": 0.02, "drills": 0.02, "two-stage": 0.04, "rl": 0.10}
"""What one run of a step costs, as a share of one pretraining run of its model: assumed. Answers to GSM8K, HellaSwag
and the arithmetic probes; fine-tuning on GSM8K; on synthetic drills; on both in turn; reinforcement learning, where
sampling costs most."""
PRETRAINED = "pretrain"
"""A question whose models are pretrained, then fine-tuned and evaluated."""
NOT_BUILT_IN = "not built in yet"
CHECKS = ("aa-null", "planted-effect")
"""Studies of the laboratory itself, minutes on a CPU: nothing is found where nothing is, and what is there is found."""


@dataclass(frozen=True)
class Question:
    """One line of the roadmap."""

    code: str
    """Its name there."""
    title: str
    """What is tried."""
    step: str
    """The dearest thing it does per arm and seed: `PRETRAINED`, or a key of `SHARES`, done to existing checkpoints."""
    treatment: str
    """The intervention, as `vocablab inject` names it; mined ones have no name there."""
    why: str
    """What the answer is good for."""
    study: str = ""
    """The built-in study that asks it, if there is one."""
    by_hand: str = ""
    """The command that asks it without a study, if there is one."""
    medium: bool = False
    """Whether its model is the 350M one."""
    compared: bool = True
    """Whether it has a control arm: a probe of one model has none."""

    @property
    def said(self) -> str:
        """The built-in study's name, or that there is none yet and what to run instead."""
        if self.study in built_in_names():
            return self.study
        return NOT_BUILT_IN + (f"; by hand: {self.by_hand}" if self.by_hand else "")


QUESTIONS = (
    Question(
        "F3", "OpenAI's GPT-2 as a yardstick", "evaluate", "control", compared=False,
        why="what a good 124M model does on these tasks: a claim where it is at the floor is idle",
        by_hand="vocablab evaluate openai-community/gpt2 --tasks gsm8k,hellaswag,arithmetic",
    ),
    Question(
        "A1", "facts in SFT targets", "sft", "mul_facts", study="sft-injected",
        why="the cheapest test on GSM8K: an existing checkpoint, tokens in the worked answers",
    ),
    Question(
        "A2", "synthetic drills", "drills", "mul_facts", study="sft-drills",
        why="whether enough exposure in fine-tuning makes up for none in pretraining",
    ),
    Question(
        "A3", "two-stage SFT", "two-stage", "mul_facts", study="sft-two-stage",
        why="whether drills first and problems second beat both at once",
    ),
    Question(
        "F1", "embedding probes", "evaluate", "mul_facts", compared=False,
        why="whether the rows of facts hold operands and answer; no training",
        by_hand="vocablab probe MODEL --out DIR",
    ),
    Question(
        "F2", "forced prefix", "evaluate", "mul_facts", compared=False,
        why="whether a model knows the token where one fits; no training",
        by_hand="vocablab evaluate MODEL --tasks forced_prefix",
    ),
    Question("E1", "digit tokens", "sft", "digits", why="the strongest rival: no fact, only place value"),
    Question("E2", "hybrids of facts and digits", "sft", "hybrid", why="whether facts add to digits"),
    Question(
        "B1", "10x more facts in pretraining", PRETRAINED, "mul_facts",
        why="natural text states two products per megabyte: without a dose the tokens are never learned",
    ),
    Question("B2", "math-heavy corpora", PRETRAINED, "mul_facts", why="whether natural text can give that dose"),
    Question(
        "C1", "GRPO with a bounded token bonus", "rl", "mul_facts", study="grpo-bonus",
        why="whether use of the tokens can be rewarded and not gamed",
    ),
    Question(
        "C2", "contrastive RL", "rl", "mul_facts", study="rl-contrastive",
        why="whether answers with the token are to be preferred to those without",
    ),
    Question(
        "D1", "350M models", PRETRAINED, "mul_facts", medium=True, why="whether an effect grows or fades with size"
    ),
    Question(
        "D2", "composed embeddings", PRETRAINED, "mul_facts",
        why="whether rows made of operands and answer need less exposure",
    ),
    Question("G1", "formula tokens", "sft", "circle_facts", why="whether the idea is more than a times table"),
    Question("G2", "code tokens", PRETRAINED, "mined tokens", why="the same for idioms of code (`vocablab mine`)"),
    Question("G3", "Chinese-rhyme tokens", "sft", "rhyme", why="a language where the facts are words of their own"),
)  # fmt: skip
"""The roadmap."""


@dataclass(frozen=True)
class Budget:
    """How much is to be spent, and on which questions."""

    name: str
    """As `--budget` names it."""
    aim: str
    """What it can say in the end."""
    seeds: int
    """Runs per arm."""
    controls: tuple[str, ...]
    """Arms beside treatment and control, by what they are."""
    codes: tuple[str, ...]
    """Questions in the order they are to be asked."""
    rule: str
    """When to stop, or to go on to the next."""


CONTROLS = {
    "plain_facts": "the same exposure in plain text, no token",
    "sham": "a placebo: tokens at the same sites without content",
    "pause": "a placebo: more computation at the same sites",
    "widened": "the same extra parameters, unused",
    "control_equal_flops": "the control with the treatment's FLOPs (`equal_flops` in lab/study.py)",
    "control_equal_bytes": "the control with the treatment's source bytes (`equal_bytes`)",
}
"""What each further arm takes away from a claim that has it not."""

BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            "minimal",
            "the cheapest that can say anything: no pretraining, existing checkpoints; pilots, not verdicts",
            3,
            (),
            ("F3", "A1", "A2", "F1", "F2", "E1"),
            "stop where F3 or the coverage ceiling shows that no effect could be seen",
        ),
        Budget(
            "publishable",
            "verdicts on the main questions, with the control that separates the token from its exposure",
            5,
            ("plain_facts", "sham"),
            ("F3", "A1", "A2", "E1", "B1", "F1", "F2", "E2"),
            "B1 only if A1 or A2 is not REFUTED; seeds are fixed before the first run",
        ),
        Budget(
            "rigorous",
            "verdicts that survive a sceptic: placebo arms, and baselines of equal compute and equal text",
            8,
            ("plain_facts", "sham", "pause", "widened", "control_equal_flops", "control_equal_bytes"),
            ("F3", "A1", "A2", "A3", "E1", "E2", "B1", "B2", "D2", "C1", "D1", "F1", "F2"),
            "each study is planned with the variance of the one before (`vocablab plan STUDY --pilot`); more than 8 "
            "seeds where that says so",
        ),
        Budget(
            "exploratory",
            "many ideas once each: what is worth a second look, and nothing that may be claimed",
            1,
            (),
            ("F3", "A1", "F1", "F2", "A2", "A3", "E1", "E2", "G1", "G3", "C1", "C2", "B1", "B2", "D2", "G2", "D1"),
            "an idea that looks good here is asked again with new seeds: a winner among many is partly luck",
        ),
    )
}
"""The four budgets by name."""


def answer(name: str) -> dict[str, Any]:
    """Which studies in which order, at what cost, and why, as JSON values.

    Raises:
        UserError: for a name that is no budget.
    """
    if name not in BUDGETS:
        raise UserError(f"--budget {name}: there is {', '.join(BUDGETS)}.")
    budget = BUDGETS[name]
    by_code = {question.code: question for question in QUESTIONS}
    studies = [_line(order, by_code[code], budget) for order, code in enumerate(budget.codes, 1)]
    return {
        "budget": budget.name,
        "aim": budget.aim,
        "seeds": budget.seeds,
        "controls": {arm: CONTROLS[arm] for arm in budget.controls},
        "rule": budget.rule,
        "first": [study for study in CHECKS if study in built_in_names()],
        "studies": studies,
        "tokens": sum(line["tokens"] for line in studies),
        "flops": sum(line["flops"] for line in studies),
        "h200_hours": sum(line["h200_hours"] for line in studies),
        "assumptions": _assumptions(),
    }


def run_flops(*, medium: bool = False) -> float:
    """Training FLOPs of one pretraining run of the roadmap's recipe, all arms' tokens in the vocabulary."""
    recipe = (gpt2_350m if medium else gpt2_124m)(Tokens(TOKENS))
    known = named_interventions()
    added = max(len(known[q.treatment].tokens()) for q in QUESTIONS if q.treatment in known)
    per_token = sum(recipe.model.flops_per_token(padded(recipe.base_vocabulary.expected_size + added)).values())
    return per_token * recipe.pretrain.budget.tokens(1.0, per_token)


def _line(order: int, question: Question, budget: Budget) -> dict[str, Any]:
    arms = ["control", question.treatment, *budget.controls] if question.compared else ["existing models"]
    seeds = budget.seeds if question.compared else 1
    runs, one, share = len(arms) * seeds, run_flops(medium=question.medium), _share(question.step)
    return {
        "order": order,
        "code": question.code,
        "title": question.title,
        "study": question.said,
        "arms": arms,
        "seeds": seeds,
        "runs": runs,
        "model": "GPT-2 350M" if question.medium else "GPT-2 124M",
        "tokens": round(TOKENS * share * runs),
        "flops": one * share * runs,
        "h200_hours": accelerator_hours(one * share * runs),
        "why": question.why,
    }


def _share(step: str) -> float:
    """Cost of one run, evaluation included, in pretraining runs."""
    if step == PRETRAINED:
        return 1 + SHARES["sft"] + SHARES["evaluate"]
    return SHARES[step] + (SHARES["evaluate"] if step != "evaluate" else 0.0)


def _assumptions() -> list[str]:
    small, medium = run_flops(), run_flops(medium=True)
    return [
        f"A pretraining run reads {TOKENS / 1e9:g}B tokens: {small:.2e} FLOPs for GPT-2 124M "
        f"({accelerator_hours(small):.1f} H200 hours), {medium:.2e} for 350M ({accelerator_hours(medium):.1f}), "
        "forward and backward, attention and head included.",
        f"H200: {assumed_speed()}.",
        "Shares of a pretraining run, assumed: " + ", ".join(f"{step} {share:.1%}" for step, share in SHARES.items())
        + ". A pretrained run is fine-tuned and evaluated, too. Tokens of such steps are the same share of "
        f"{TOKENS / 1e9:g}B: what the FLOPs would read.",
        "Built-in studies may differ from these sizes: gsm8k-mul-facts pretrains models of its own; its cost is what "
        "`vocablab plan gsm8k-mul-facts --preset full` says.",
        "Steps without pretraining start from an existing checkpoint, whose own cost is not counted.",
        "An arm of equal FLOPs or bytes is counted as a whole run.",
        "Corpora are prepared on CPUs: not counted. Seeds are a rule of thumb until a pilot gives the variance.",
    ]  # fmt: skip


def print_answer(found: dict[str, Any], console: Console) -> None:
    """Print what `answer` gives, for people."""
    console.print(Text(f"Budget {found['budget']}: {found['aim']}.", style="bold"))
    if found["first"]:
        commands = " and ".join(f"`vocablab run {study}`" for study in found["first"])
        console.print(Text(f"First, in minutes on any machine, to see that the laboratory can be trusted: {commands}."))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("", "question", "study", "arms", "seeds", "runs", "tokens", "H200 h"):
        table.add_column(head, justify="right" if head in ("", "seeds", "runs", "tokens", "H200 h") else "left")
    table.add_column("why")
    for line in found["studies"]:
        table.add_row(
            str(line["order"]), f"{line['code']} {line['title']}", line["study"], ", ".join(line["arms"]),
            str(line["seeds"]), str(line["runs"]), f"{line['tokens'] / 1e9:,.1f}B", f"{line['h200_hours']:,.1f}",
            line["why"],
        )  # fmt: skip
    console.print(table)
    console.print(f"Together {found['h200_hours']:,.0f} H200 hours, {found['flops']:.2e} FLOPs.")
    for arm, meaning in found["controls"].items():
        console.print(Text(f"Arm {arm}: {meaning}."))
    console.print(Text(f"Rule: {found['rule']}."))
    for line in found["assumptions"]:
        console.print(Text(f"Assumed: {line}"))

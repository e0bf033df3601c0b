"""The README.md of an exported model, as Hugging Face shows it: what it is, how it was made, how to use it.

Nothing is invented: what the records do not say is left out. Text from data stands in code spans and fenced blocks
only, so that no name or path can change the page.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from vocablab.base.config import to_json
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.network import ModelConfig
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.vocabulary import Vocabulary

CARD_FILE = "README.md"
LONGEST_RULE = 4000
"""Characters of an intervention that is shown in full."""
EXAMPLES = 3
"""Added tokens that are shown."""
LANGUAGE = re.compile(r"[a-z]{2,3}")
"""ISO 639 codes, which is what the hub knows."""
LOADING = """\
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer
{imports}
directory = "path/to/this/directory"
model = AutoModelForCausalLM.from_pretrained(directory)
tokenizer = AutoTokenizer.from_pretrained(directory)
{prompt}
inputs = tokenizer(prompt, return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=20, do_sample=False)[0]))
"""
INJECTED = """\
intervention = load_codec(Path(directory)).intervention
prompt = inject("The answer: 6 * 9 = 54.", intervention).text  # raw text never goes to the tokenizer as it is
"""


def model_card(config: ModelConfig, codec: Codec, card: Mapping[str, Any], difference: float, compared: int) -> str:
    """The card's text, Markdown with a YAML head.

    Args:
        config: the network's size.
        codec: of its arm.
        card: any of ``name``, ``language``, ``stage``, ``source``, ``continues_from``, ``steps``, ``tokens``,
            ``source_bytes``, ``train_bits_per_byte``, ``val_bits_per_byte``, ``seed``, ``git``, ``versions``,
            ``fingerprint``, ``finished`` and ``notes``; others are not told.
        difference: largest difference of logits between the network and the exported model.
        compared: over so many tokens.
    """
    architecture = "GPT-2" if isinstance(config, GPT2Config) else "Qwen3"
    title = _code(str(card["name"])) if card.get("name") else f"A {architecture} of vocablab"
    parts = [
        _head(architecture, codec, card.get("language")),
        f"# {title}\n\nA decoder of the architecture {architecture}, made with vocablab to find out what single tokens "
        "for facts do to a language model. It is a research object, not an assistant.",
        _model(config, codec.vocabulary),
        _intervention(codec),
        _training(card),
        "## Proof of the export\n\nThe directory was loaded back with `AutoModelForCausalLM` and compared with the "
        f"trained network, float32 weights in float64 arithmetic, over {compared:,} tokens with every added id among "
        f"them: the largest difference of a logit is {difference:.1e}.",
        _use(codec),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(architecture: str, codec: Codec, language: Any) -> str:
    # Only fixed words and letters, digits and dashes: nothing here needs YAML's quoting.
    rule = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(codec.intervention).__name__).lower()
    tags = ["vocablab", architecture.lower().replace("-", ""), re.sub(r"[^a-z0-9-]", "", rule)]
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if isinstance(language, str) and LANGUAGE.fullmatch(language):
        lines.append(f'language: "{language}"')
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _model(config: ModelConfig, vocabulary: Vocabulary) -> str:
    return _section(
        "Model",
        [
            f"{config.parameters(vocabulary.padded_size):,} parameters: {config.n_layer} layers, width "
            f"{config.n_embd}, {config.n_head} heads, context of {config.n_positions:,} tokens",
            f"vocabulary: {vocabulary.base_size:,} base tokens, {len(vocabulary.added):,} added ones, padded to "
            f"{vocabulary.padded_size:,} rows; ids from {vocabulary.size:,} up have no token, and the generation "
            "config suppresses them",
            f"end of text and padding: {_code(vocabulary.token_bytes(vocabulary.eos_id).decode())}, id "
            f"{vocabulary.eos_id}",
        ],
    )


def _intervention(codec: Codec) -> str:
    if isinstance(codec.intervention, NoChange):
        return "## Intervention\n\nNone: the model was trained on raw text."
    added = codec.vocabulary.added
    shown = ", ".join(_code(name) for name in added[:EXAMPLES])
    names = f" Added tokens: {shown}{', ...' if len(added) > EXAMPLES else ''}." if added else ""
    rule = json.dumps(to_json(codec.intervention), indent=1, ensure_ascii=True)
    said = "in `intervention.json`." if len(rule) > LONGEST_RULE else f"in full:\n\n{_block(rule, 'json')}"
    return (
        f"## Intervention\n\nThe training text was changed by a rule before it was tokenized.{names} The rule, {said}"
    )


def _training(card: Mapping[str, Any]) -> str:
    numbers = {
        "steps": "steps", "tokens": "tokens read", "source_bytes": "bytes of raw text", "seed": "seed of the weights",
    }  # fmt: skip
    lines = [f"{said}: {card[key]:,}" for key, said in numbers.items() if _is_number(card.get(key))]
    losses = {"train_bits_per_byte": "in training", "val_bits_per_byte": "held out"}
    found = [f"{card[key]:.4f} {said}" for key, said in losses.items() if _is_number(card.get(key))]
    lines += [f"bits per byte of raw text: {', '.join(found)}"] if found else []
    texts = {
        "source": "imported from", "continues_from": "continues from", "finished": "finished (UTC)",
        "fingerprint": "fingerprint of the run",
    }  # fmt: skip
    lines += [f"{said}: {_code(str(card[key]))}" for key, said in texts.items() if card.get(key)]
    git = card.get("git") or {}
    if git.get("commit"):
        state = f", {'with' if git['dirty'] else 'without'} uncommitted changes" if "dirty" in git else ""
        lines.append(f"commit of vocablab: {_code(str(git['commit']))}{state}")
    versions = card.get("versions") or {}
    if versions:
        lines.append("versions: " + ", ".join(_code(f"{name} {number}") for name, number in versions.items()))
    lines += [_code(str(note)) for note in card.get("notes") or ()]
    return _section("Training", lines) if lines else ""


def _use(codec: Codec) -> str:
    if isinstance(codec.intervention, NoChange):
        code = LOADING.format(imports="", prompt='prompt = "The answer is"\n').replace(
            "from pathlib import Path\n\n", ""
        )
        return f"## How to use it\n\n{_block(code.strip(), 'python')}"
    imports = "from vocablab.vocab.codec import load_codec\nfrom vocablab.vocab.inject import inject\n"
    code = LOADING.format(imports=imports, prompt=INJECTED)
    return (
        "## How to use it\n\nThe model has read changed text only, and its tokenizer does not apply the rule: raw text "
        "must be injected first, with `vocablab inject --intervention intervention.json < raw` or in Python. In text "
        "that is not injected, a fact stays spelled out; a token's name that a text happens to hold becomes that "
        f"token.\n\n{_block(code.strip(), 'python')}"
    )


def _section(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _code(text: str) -> str:
    """A code span: nothing in it is markup. What is no printable character is escaped."""
    shown = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    # A blank on both sides is dropped by Markdown, and keeps a backtick at an end apart from the fence.
    return f"{fence} {shown} {fence}" if shown.startswith("`") or shown.endswith("`") else f"{fence}{shown}{fence}"


def _block(text: str, language: str) -> str:
    fence = "`" * max(3, max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text}\n{fence}"

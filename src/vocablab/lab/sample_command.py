"""`vocablab sample`: what a model says next."""

import json
import sys
from typing import Annotated

import typer

from vocablab.base.errors import UserError


def sample_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As for `vocablab evaluate`.")],
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT]...", help="Texts to go on from; else lines of the input.")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Ask as `User: PROMPT` and `Assistant:`.")] = False,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer.")] = 48,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 for the most probable token.")] = 0.0,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Answers per prompt; needs a temperature.")] = 1,
    ban: Annotated[bool, typer.Option("--ban", help="Never emit an added token.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the samples.")] = 0,
    revision: Annotated[str, typer.Option("--revision", help="Of a model on the hub.")] = "main",
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")] = "auto",
    data: Annotated[str | None, typer.Option("--data", help="Local data directory (else VOCABLAB_DATA).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per answer.")] = False,
) -> None:
    """Answer prompts: added tokens by their names, and the plain text that an answer is read from."""
    from vocablab.base.data import data_directory
    from vocablab.base.random_streams import stream_seed
    from vocablab.evaluate.generation import Prompt, generate
    from vocablab.lab.devices import chosen_device
    from vocablab.lab.models import model_source
    from vocablab.tasks.task import chat_prompt

    if samples > 1 and not temperature:
        raise UserError(f"--samples {samples}: the most probable answer is one; give a --temperature above 0.")
    given = prompts or [line.rstrip("\n") for line in sys.stdin]
    texts = [chat_prompt(text) if chat else text for text in given for _ in range(samples)]
    if not texts:
        raise UserError("there is no prompt: give one, or lines on standard input.")
    loaded = model_source(model, revision, data_directory(data)).load(chosen_device(device))
    asked = [Prompt(f"prompt {i}", text, seed=stream_seed(seed, "sample", i)) for i, text in enumerate(texts)]
    banned = tuple(loaded.codec.vocabulary.added_ids.values()) if ban else ()
    answers = generate(loaded, asked, max_new_tokens, banned=banned, temperature=temperature)
    for text, answer in zip(texts, answers, strict=True):
        said, plain = loaded.codec.decode(answer.ids), loaded.codec.render(answer.ids)
        if as_json:
            print(json.dumps({"prompt": text, "output": said, "text": plain, "ended": answer.ended_eos}))
            continue
        print(f"{text}{said}" + ("" if answer.ended_eos else " ..."))
        if plain != said:
            print(f"  in plain text:{plain}")

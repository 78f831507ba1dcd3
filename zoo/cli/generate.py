"""The verb `zoo generate`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from zoo.cli import console, inputs

SEPARATOR = "---"  # between texts, which have lines of their own
# What draws tokens where neither the caller nor the model's files choose.
DRAWN = {"temperature": 0.8, "top_k": 50}


def generate(
    name: console.Name,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help="Beginning of the text; '-' is each line of standard input, and each is continued.",
        ),
    ] = None,
    file: inputs.Lines = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Take prompts for messages to a chat model, and print its answers.")
    ] = False,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            "--max-new-tokens",
            metavar="N",
            min=1,
            help="Largest number of tokens to add, as far as the model's longest text.  [default: 100]",
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            min=0,
            help="Temperature of the draw; 0 takes the likeliest token.  [default: the model's, or 0.8]",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Draw from this many of the likeliest tokens.  [default: the model's, or 50]",
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="Draw from the likeliest tokens whose probabilities add up to this, above 0.",
        ),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(metavar="P", min=0, max=1, help="Draw from tokens this likely, beside the likeliest."),
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(metavar="X", help="Above 1, tokens of the text become less likely.")
    ] = None,
    no_repeat_ngram_size: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Length of the runs of tokens that come once only.")
    ] = None,
    min_new_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Smallest number of tokens to add.")
    ] = None,
    num_return_sequences: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of texts for each prompt.")
    ] = None,
    num_beams: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of beams of a search for the likeliest text."),
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(metavar="X", help="Above 0, beams of many tokens win more often.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End the text behind this; may be given again.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the random draw.")] = 0,
    dtype: console.Dtype = None,
    json: console.Json = False,
) -> None:
    """Continue texts, and print them token by token.

    Several have a line of --- between them.
    """
    from zoo._inference.chat import prompt_of
    from zoo._inference.continue_texts import continued, streamed
    from zoo._inference.subject import subject

    if prompt is None and file is None:
        inputs.check_given(None, None, "a prompt")
    of = subject(name, dtype=dtype)
    options: Any = {
        "max_new_tokens": tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "min_new_tokens": min_new_tokens,
        "num_return_sequences": num_return_sequences,
        "num_beams": num_beams,
        "length_penalty": length_penalty,
        "stop": stop or None,
        "seed": seed,
    }
    if (num_beams or 1) == 1 and not {"do_sample", "num_beams"} & {*of.entry.generation}:
        options |= {key: value for key, value in DRAWN.items() if options[key] is None}
    prompts = _prompts(name, prompt, file)
    asked = [prompt_of(of, [{"role": "user", "content": each}]) for each in prompts] if chat else prompts
    if file is None and prompt != inputs.STDIN and not json and (num_return_sequences or 1) == 1:
        for piece in streamed(of, asked[0], replies=chat, **options):
            print(piece, end="", flush=True)
        print()
        return
    found = continued(of, asked, replies=chat, **options)
    if json:
        several = len(found) // len(prompts)
        rows = [(prompts[index // several], text) for index, text in enumerate(found)]
        console.table(("prompt", "text"), rows, json=True)
    else:
        print(*found, sep=f"\n{SEPARATOR}\n")


def _prompts(name: str, prompt: str | None, file: Any) -> Sequence[str]:
    """Returns the prompts: the argument, lines of standard input in its place, and those of the file."""
    given = [] if prompt is None else [prompt]
    if file is None and given != [inputs.STDIN]:
        return given
    return [*inputs.texts(given, file, f"generate {name}")]

"""Options of `generate`: the caller's, else those of generation_config.json, else neutral ones."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypedDict, cast

import numpy as np

from zoo._errors import ZooError
from zoo._inference.prompts import written_tokens
from zoo._loading import generation_config
from zoo._model import Model

USUAL = 100  # tokens to add where nobody says how many


class Options(TypedDict, total=False):
    """Keywords of `generate` that are passed on to the loop."""

    max_new_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    min_new_tokens: int | None
    num_return_sequences: int | None
    num_beams: int | None
    length_penalty: float | None
    early_stopping: bool | str | None
    eos_token_id: int | Sequence[int] | None
    stop: str | Sequence[str] | None
    suppress_tokens: Sequence[int] | None
    begin_suppress_tokens: Sequence[int] | None
    bad_words_ids: Sequence[Sequence[int]] | None
    forced_bos_token_id: int | None
    forced_eos_token_id: int | Sequence[int] | None
    forced_decoder_ids: Sequence[tuple[int, int | None]] | None
    seed: int
    generation_config: Mapping[str, Any] | None


class Settled(TypedDict):
    """The same with a value for each; an option that is off has its neutral value."""

    max_new_tokens: int | None
    max_length: int | None
    min_length: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    min_new_tokens: int
    num_return_sequences: int
    num_beams: int
    length_penalty: float
    early_stopping: bool | str
    eos_token_id: tuple[int, ...]
    pad_token_id: int | None
    stop: tuple[str, ...]
    suppress_tokens: tuple[int, ...]
    begin_suppress_tokens: tuple[int, ...]
    bad_words_ids: tuple[tuple[int, ...], ...]
    forced_bos_token_id: int | None
    forced_eos_token_id: tuple[int, ...]
    forced_decoder_ids: tuple[tuple[int, int | None], ...]
    seed: int


NEUTRAL = Settled(
    max_new_tokens=None,
    max_length=None,
    min_length=0,
    temperature=0.0,
    top_k=0,
    top_p=1.0,
    min_p=0.0,
    repetition_penalty=1.0,
    no_repeat_ngram_size=0,
    min_new_tokens=0,
    num_return_sequences=1,
    num_beams=1,
    length_penalty=1.0,
    early_stopping=False,
    eos_token_id=(),
    pad_token_id=None,
    stop=(),
    suppress_tokens=(),
    begin_suppress_tokens=(),
    bad_words_ids=(),
    forced_bos_token_id=None,
    forced_eos_token_id=(),
    forced_decoder_ids=(),
    seed=0,
)
_TOKENS = (
    "eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_eos_token_id",
    "forced_bos_token_id",
)


def settled(model: Model, options: Options) -> Settled:
    """Returns a value for each option; `max_new_tokens` stays None where nobody says it.

    Raises:
        ZooError: the model's files ask for what the zoo lacks, or a token is none of the model's.
        TypeError: there is no such option.
    """
    for name in options:
        if name not in Options.__annotations__:
            near = get_close_matches(name, Options.__annotations__, 1)
            raise TypeError(
                f"generate() has no keyword {name!r}{f'; did you mean {near[0]!r}?' if near else ''}"
            )
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    said = given.pop("generation_config", model.entry.generation if model.entry else {})
    module = model.module
    own = {
        "eos_token_id": getattr(module, "eos_token_id", ()),
        "pad_token_id": getattr(module, "pad_token_id", None),
    }
    found: dict[str, Any] = {**NEUTRAL, **own, **generation_config.options(said), **given}
    if "min_new_tokens" in given:
        found["min_length"] = 0
    generation_config.check(model.name, said, drawn=found["temperature"] > 0, beams=found["num_beams"] > 1)
    for name in _TOKENS[:-1]:
        found[name] = tuple(int(each) for each in np.atleast_1d(np.asarray(found[name], int)))
    found["stop"] = (found["stop"],) if isinstance(found["stop"], str) else tuple(found["stop"])
    for name in ("bad_words_ids", "forced_decoder_ids"):
        found[name] = tuple(map(tuple, found[name]))
    made = cast(Settled, {name: found[name] for name in NEUTRAL})
    _check_tokens(made, written_tokens(module))
    return made


def new_tokens(options: Settled, most: int, prompt: int) -> int:
    """Returns how many tokens follow a prompt.

    Where nobody says how many, it is as many as the longest text by the model's files has, or USUAL.

    Args:
        options: All options.
        most: The model's longest text, in tokens.
        prompt: Number of tokens of the prompt.

    Raises:
        ZooError: there is no room for that many.
    """
    count, room = options["max_new_tokens"], most - prompt
    if count is None:
        longest = options["max_length"] or 0
        return min(longest - prompt if longest > prompt else USUAL, room)
    if not 1 <= count <= room:
        raise ZooError(
            f"max_new_tokens={count} after {prompt} tokens; expected 1 to {room}, since the model takes "
            f"texts of {most}."
        )
    return count


def _check_tokens(options: Settled, count: int) -> None:
    """Checks that the model has all tokens; another one would be no change, or one of another token."""
    values: Mapping[str, Any] = options
    tokens: dict[str, Any] = {name: np.atleast_1d(values[name]).tolist() for name in _TOKENS}
    tokens["bad_words_ids"] = [token for word in options["bad_words_ids"] for token in word]
    tokens["forced_decoder_ids"] = [token for _, token in options["forced_decoder_ids"]]
    for name, several in tokens.items():
        wrong = [each for each in several if each is not None and not 0 <= each < count]
        if wrong:
            raise ZooError(f"{name} has {wrong[0]}; the model has tokens 0 to {count - 1}.")

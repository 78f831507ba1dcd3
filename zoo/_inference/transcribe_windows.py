"""Speech to text in windows of one length, by a model with an encoder of spectrograms: Whisper.

The tokens that a text begins with, and those that it may not have, are as transformers reads them from
generation_config.json.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zoo import _progress
from zoo._errors import ZooError
from zoo._inference.decoding import first_logits
from zoo._inference.generate import generated
from zoo._inference.generation_options import Options, Settled, settled
from zoo._inference.prompts import Prompts, encoder_context
from zoo._loading.companions import companion
from zoo._loading.generation_config import GENERATION
from zoo._loading.located import Located
from zoo._loading.sentence_transformers import parsed
from zoo._model import Model
from zoo._preprocessing.sound import Wave
from zoo._preprocessing.speech import Hearing
from zoo._preprocessing.text import tokenizer_of
from zoo._registry.manifest import CONFIG

WINDOWS = 8  # at a time
LANGUAGES, TASKS, WITHOUT_TIMES = "lang_to_id", "task_to_id", "no_timestamps_token_id"


class Window(NamedTuple):
    """A part of a sound.

    Attributes:
        samples: (samples,), as many as the model takes at most.
        sound: Index of the sound.
        is_first: If true, it is the sound's beginning.
    """

    samples: Wave
    sound: int
    is_first: bool


def transcribe(
    model: Model,
    files: Located,
    waves: Sequence[Wave],
    hears: Hearing,
    *,
    language: str | None = None,
    task: str | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
) -> list[str]:
    """Returns the texts of sounds; see `zoo.transcribe`."""
    tokenizer, said = tokenizer_of(files), generation(files)
    found = [list[int]() for _ in waves]
    for window, ids in token_ids(
        model,
        said,
        waves,
        hears,
        language=language,
        task=task,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    ):
        # What follows the last of the other tokens are times.
        found[window.sound] += [each for each in ids if each <= said.get(WITHOUT_TIMES, each)]
    return [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in found]


def generation(files: Located) -> Mapping[str, Any]:
    """Returns the attributes of generation_config.json; of config.json where there is none.

    Raises:
        ManifestError: it is none of JSON.
    """
    for file in (GENERATION, CONFIG):
        content = companion(files, file)
        if content is not None:
            found = parsed(f"{files.entry.name}: {file}", content, dict)
            return {name: value for name, value in found.items() if value is not None}
    return {}


def token_ids(
    model: Model,
    said: Mapping[str, Any],
    waves: Sequence[Wave],
    hears: Hearing,
    *,
    language: str | None = None,
    task: str | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
) -> Iterator[tuple[Window, list[int]]]:
    """Yields the windows of sounds in turn, each with its tokens after the prompt and before the end.

    Args:
        model: With the head "lm".
        said: Attributes of generation_config.json.
        waves: The sounds.
        hears: How samples become spectrograms.
        language, task, max_new_tokens, batch_size: As for `zoo.transcribe`.
    """
    windows = [*_windows(waves, int(hears.window or 0))]
    rows = min(batch_size or WINDOWS, len(windows))
    begin = prompt(said, model.module.decoder_start_token_id, language=language, task=task)
    options = _options(model, said, len(begin), max_new_tokens)
    languages: dict[int, int] = {}
    with _progress.steps_bar("transcribing", len(windows), transient=True) as show:
        for start in range(0, len(windows), rows):
            part = windows[start : start + rows]
            filled = [*part, *[part[0]] * (rows - len(part))]  # one compilation for all
            context = encoder_context(model, hears([each.samples for each in filled]))
            if None in begin:
                told = _languages(model, context, begin[0], tuple(said[LANGUAGES].values()))
                languages |= {
                    each.sound: token for each, token in zip(part, told, strict=False) if each.is_first
                }
            tokens = np.array(
                [[languages[each.sound] if id is None else id for id in begin] for each in filled], np.int32
            )
            made = generated(model, Prompts(tokens, np.ones(tokens.shape, bool), context), options)
            for window, row in zip(part, made[:, len(begin) :], strict=False):
                yield window, _before(row.tolist(), options["eos_token_id"])
            show(start + len(part), "")


def prompt(
    said: Mapping[str, Any], start: int | None, *, language: str | None, task: str | None
) -> list[int | None]:
    """Returns the tokens that texts begin with; None where the language's is to be told by the speech.

    Raises:
        ZooError: the model has no such language or task, or its file forces tokens in no order.
    """
    start = said.get("decoder_start_token_id", start)
    if start is None:
        raise ZooError(f"{GENERATION} names no decoder_start_token_id, which every text begins with.")
    languages, tasks = said.get(LANGUAGES, {}), said.get(TASKS, {})
    for name, value, known in (("language", language, languages), ("task", task, tasks)):
        if value is not None and not known:
            raise ZooError(f"{name}={value!r}; the model knows one alone, leave it out.")
    language, task = language or said.get("language"), task or said.get("task")
    begin: list[int | None] = [start]
    if language is None and task is None:
        begin += _forced(said.get("forced_decoder_ids") or ())
    if language is not None:
        begin[1:2] = [_token("language", f"<|{language.lower().strip('<|>')}|>", languages)]
    elif languages and (len(begin) < 2 or begin[1] is None):
        begin[1:2] = [None]
    else:
        begin = [each for each in begin if each is not None]
    if task is not None:
        begin.append(_token("task", task, tasks))
    elif language is not None and tasks and not {*begin} & {*tasks.values()}:
        begin.append(tasks["transcribe"])
    if WITHOUT_TIMES in said and begin[-1] != said[WITHOUT_TIMES]:
        begin.append(said[WITHOUT_TIMES])
    return begin[:2] + [each for each in begin[2:] if each is not None]


def _forced(pairs: Sequence[Sequence[Any]]) -> list[int | None]:
    """Returns the tokens of forced_decoder_ids, whose places are 1, 2 ..."""
    if [place for place, _ in pairs] != [*range(1, len(pairs) + 1)]:
        raise ZooError(f"forced_decoder_ids {pairs}; expected the places 1, 2 and so on.")
    return [token for _, token in pairs]


def _token(name: str, value: str, known: Mapping[str, int]) -> int:
    if value not in known:
        names = ", ".join(each.strip("<|>") for each in known)
        raise ZooError(f"no {name} {value.strip('<|>')!r}; the model has {names}.")
    return known[value]


def _windows(waves: Sequence[Wave], length: int) -> Iterator[Window]:
    for sound, wave in enumerate(waves):
        for start in range(0, len(wave), length):
            yield Window(wave[start : start + length], sound, start == 0)


def _options(model: Model, said: Mapping[str, Any], begun: int, count: int | None) -> Settled:
    """Returns the options of the loop: the likeliest tokens, but for those that are suppressed."""
    most = model.module.max_length
    # transformers counts a file's longest text without the prompt.
    longest = min(said.get("max_length", most) + begun, most)
    chosen: Options = {
        "suppress_tokens": said.get("suppress_tokens", ()),
        "begin_suppress_tokens": said.get("begin_suppress_tokens", ()),
        "eos_token_id": said.get("eos_token_id", model.module.eos_token_id),
        "max_new_tokens": count or longest - begun,
        "generation_config": {},
    }
    return settled(model, chosen)


@partial(jax.jit, static_argnames=("start", "known"))
def _spoken(model: Model, context: Any, start: int, known: tuple[int, ...]) -> jax.Array:
    """Returns the likeliest of the known tokens after the first one."""
    rows = len(jax.tree.leaves(context)[0])
    tokens, mask = jnp.full((rows, 1), start, jnp.int32), jnp.ones((rows, 1), bool)
    logits, _ = first_logits(model, tokens, mask, jnp.asarray(1), context)
    # The first of several that are as likely has the smallest id.
    ids = jnp.asarray(sorted(known))
    return ids[jnp.argmax(logits[:, ids], -1)]


def _languages(model: Model, context: Any, start: int | None, known: tuple[int, ...]) -> list[int]:
    assert start is not None  # every text begins with it
    found: list[int] = _spoken(model, context, start, known).tolist()
    return found


def _before(ids: list[int], ends: Sequence[int]) -> list[int]:
    """Returns the tokens before the first one that ends a text."""
    return ids[: next((place for place, each in enumerate(ids) if each in ends), len(ids))]

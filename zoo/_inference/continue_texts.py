"""A language model with its tokenizer, which continues texts."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from zoo._errors import ZooError
from zoo._inference import generate as loop
from zoo._inference.purpose import continues_texts, purpose
from zoo._inference.sampling import choices
from zoo._inference.subject import Subject
from zoo._loading.text_settings import text_settings
from zoo._model import Model
from zoo._preprocessing.text import check_tokens, encoded, tokenizer_of
from zoo._progress import steps_bar
from zoo._registry import families

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_SIZE = 16
USUAL = 100  # tokens to add where nobody says how many
PACE = 4  # tokens between two pieces of a text: asking for each one costs more


class Options(TypedDict, total=False):
    """Keywords of `generate` that are passed on to the loop."""

    temperature: float
    top_k: int | None
    top_p: float | None
    eos_token_id: int | Sequence[int] | None
    num_beams: int
    seed: int
    repetition_penalty: float
    no_repeat_ngram_size: int
    min_new_tokens: int
    num_return_sequences: int


def checked(of: Subject) -> Subject:
    """Returns the model itself.

    Raises:
        ZooError: it continues no texts.
    """
    if not continues_texts(of.entry):
        raise ZooError(f"{of.entry.name!r} continues no texts; {purpose(of.entry)}.")
    return of


def seeded(options: Options, start: int) -> Options:
    """Returns the options with other draws for each batch."""
    return {**options, "seed": options.get("seed", 0) + start}


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """A language model with its tokenizer.

    Attributes:
        model: The model.
        tokenizer: Its tokenizer.
        begin: Id of the token that begins a text without a prompt, if there is any.
        ends: Ids of the tokens that end a text.
    """

    model: Model
    tokenizer: "Tokenizer"
    begin: int | None
    ends: tuple[int, ...]

    def ids(self, prompt: str) -> list[int]:
        """Returns the tokens of a prompt; an empty one is the first token.

        Raises:
            ZooError: there is no such token, or the prompt leaves no room.
        """
        most = self.model.module.max_length
        if not prompt:
            if self.begin is None:
                raise ZooError("the model has no token to begin a text with; give it a prompt.")
            return [self.begin]
        (found,) = encoded([prompt], self.tokenizer, len(prompt.encode()) + most)
        ids: list[int] = found.ids
        if len(ids) >= most:
            raise ZooError(
                f"the prompt has {len(ids):,} tokens; the model takes texts of {most:,}, with what follows: "
                "give a shorter one, such as its end."
            )
        return ids

    def room(self, ids: Sequence[int], max_new_tokens: int | None) -> int:
        """Returns how many tokens may follow a prompt; no more than USUAL where nobody says.

        Raises:
            ZooError: none, or more than any text has.
        """
        most = self.model.module.max_length
        if max_new_tokens is not None and not 1 <= max_new_tokens <= most:
            raise ZooError(
                f"max_new_tokens={max_new_tokens}; expected 1 to {most}, the model's longest text."
            )
        return int(min(max_new_tokens or USUAL, most - len(ids)))

    def text(self, ids: Sequence[int], prompt: int) -> str:
        """Returns the text of ids, of which so many are the prompt, up to the one that ends it."""
        end = next((place for place in range(prompt, len(ids)) if ids[place] in self.ends), len(ids))
        text: str = self.tokenizer.decode([*ids[: end + 1]])
        return text


def _writer(of: Subject, ends: int | Sequence[int] | None) -> _Writer:
    family = families.family(checked(of).entry)
    tokens = tokenizer_of(of.located)
    model = of.load()
    check_tokens(of.entry.name, tokens, model.module)
    end = tokens.token_to_id(family.end_token) if family.end_token else None
    said = text_settings(of.located).begin
    own = getattr(model.module, "eos_token_id", ()) or (() if end is None else (end,))
    chosen = own if ends is None else np.atleast_1d(np.asarray(ends, int)).tolist()
    return _Writer(
        model=model, tokenizer=tokens, begin=end if said is None else said, ends=tuple(map(int, chosen))
    )


def continued(
    of: Subject,
    prompts: Sequence[str],
    max_new_tokens: int | None,
    *,
    batch_size: int = BATCH_SIZE,
    **options: Unpack[Options],
) -> list[str]:
    """Returns the prompts with what follows; arguments as for `generate`."""
    writer = _writer(of, options.get("eos_token_id"))
    ids = [writer.ids(prompt) for prompt in prompts]
    rooms = [writer.room(each, max_new_tokens) for each in ids]
    found: dict[int, list[str]] = {}
    alone = len(prompts) <= batch_size
    with nullcontext() if alone else steps_bar("generating", len(prompts), transient=True) as show:
        for start, places in _batches(ids, rooms, batch_size):
            made = loop.generate(
                writer.model,
                # Few numbers of rows, since each is compiled.
                [ids[place] for place in (*places, *places[:1] * (_power(len(places)) - len(places)))],
                max_new_tokens=rooms[places[0]],
                **seeded({**options, "eos_token_id": writer.ends}, start),
            )
            longest, several = (
                max(len(ids[place]) for place in places),
                options.get("num_return_sequences", 1),
            )
            for index, place in enumerate(places):
                rows = made[index * several : (index + 1) * several, longest - len(ids[place]) :]
                found[place] = [writer.text(row, len(ids[place])) for row in rows.tolist()]
            if show:
                show(len(found), "")
    return [text for place in range(len(prompts)) for text in found[place]]


def _batches(
    ids: Sequence[Sequence[int]], rooms: Sequence[int], size: int
) -> Iterator[tuple[int, list[int]]]:
    """Yields how many prompts came before, and the places of those that go on for as many tokens."""
    order = sorted(range(len(ids)), key=lambda place: (rooms[place], len(ids[place])))
    done = 0
    for _, group in groupby(order, rooms.__getitem__):
        places = [*group]
        for start in range(0, len(places), size):
            part = places[start : start + size]
            yield done, part
            done += len(part)


def _power(count: int) -> int:
    """Returns the smallest power of two that is not smaller."""
    return 1 << (count - 1).bit_length()


def stream(
    of: Subject,
    prompt: str,
    max_new_tokens: int | None,
    *,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
) -> Iterator[str]:
    """Yields the prompt, then what follows, in pieces as they come; arguments as for `generate`."""
    writer = _writer(of, None)
    ids = writer.ids(prompt)
    room = writer.room(ids, max_new_tokens)
    sampling, draw = choices(
        temperature=temperature, top_k=top_k, top_p=top_p, eos_token_id=writer.ends, seed=seed
    )
    tokens = np.array([ids], np.int32)
    shown = ""
    for texts in loop.steps(writer.model, tokens, None, sampling, draw, max_new_tokens=room, pace=PACE):
        text = writer.text(texts[0].tolist(), len(ids))
        if not text.endswith("\ufffd"):  # a character whose bytes are not all there yet
            yield text[len(shown) :]
            shown = text
    yield text[len(shown) :]

"""A language model with its tokenizer, which continues texts."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np

from zoo._errors import ZooError
from zoo._inference import generate as loop
from zoo._inference.generation_options import Options, Settled, new_tokens, settled
from zoo._inference.prompts import Prompts, encodes, prompts_of
from zoo._inference.purpose import continues_texts, purpose
from zoo._inference.sampling import fill
from zoo._inference.stop_strings import cut
from zoo._inference.subject import Subject
from zoo._loading.text_settings import text_settings
from zoo._model import Model
from zoo._preprocessing.text import check_tokens, encoded, tokenizer_of
from zoo._progress import steps_bar
from zoo._registry import families

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_SIZE = 16
PACE = 4  # tokens between two pieces of a text: asking for each one costs more


def checked(of: Subject) -> Subject:
    """Returns the model itself.

    Raises:
        ZooError: it continues no texts.
    """
    if not continues_texts(of.entry):
        raise ZooError(f"{of.entry.name!r} continues no texts; {purpose(of.entry)}.")
    return of


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A language model with its tokenizer, and the options that it writes with.

    Attributes:
        model: The model.
        tokenizer: Its tokenizer.
        begin: Id of the token that begins a text without a prompt, if there is any.
        options: All options.
        replies: If true, prompts are written out with all their special tokens, and texts are without them.
    """

    model: Model
    tokenizer: "Tokenizer"
    begin: int | None
    options: Settled
    replies: bool

    @property
    def encodes(self) -> bool:
        """Returns true if an encoder reads the prompts, which are then no part of the texts."""
        return encodes(self.model.module)

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
        (found,) = encoded([prompt], self.tokenizer, len(prompt.encode()) + most, special=not self.replies)
        ids: list[int] = found.ids
        if len(ids) >= most + self.encodes:
            raise ZooError(
                f"the prompt has {len(ids):,} tokens; the model takes texts of {most:,}, with what follows: "
                "give a shorter one, such as its end."
            )
        return ids

    def room(self, ids: Sequence[int]) -> int:
        """Returns how many tokens may follow a prompt, at most as many as the model's longest text leaves.

        Raises:
            ZooError: none, or more than any text has.
        """
        most, count = self.model.module.max_length, self.options["max_new_tokens"]
        begun = 1 if self.encodes else len(ids)
        if count is None:
            return new_tokens(self.options, most, begun)
        if not 1 <= count <= most:
            raise ZooError(f"max_new_tokens={count}; expected 1 to {most}, the model's longest text.")
        return int(min(count, most - begun))

    def begun(self, ids: Sequence[Sequence[int]]) -> Prompts:
        """Returns prompts for the loop."""
        filler = fill(self.options["pad_token_id"], self.options["eos_token_id"])
        return prompts_of(self.model, ids, None, None, filler)

    def changed(self, **options: Any) -> Settled:
        """Returns the options with some changed."""
        return cast(Settled, {**self.options, **options})

    def text(self, ids: Sequence[int], start: int) -> str:
        """Returns the text of ids, of which so many are the beginning, up to where it ends."""
        stops = self.options["eos_token_id"]
        end = next((place for place in range(start, len(ids)) if ids[place] in stops), len(ids))
        alone = self.replies or self.encodes
        text: str = self.tokenizer.decode([*ids[start if alone else 0 : end + 1]])
        if self.options["stop"]:
            before = 0 if alone else len(self.tokenizer.decode([*ids[:start]]))
            place = cut(text[before:], self.options["stop"])
            text = text if place is None else text[: before + place]
        return text


def writer(of: Subject, options: Options, *, replies: bool = False) -> Writer:
    """Returns a model with what it needs to write."""
    family = families.family(checked(of).entry)
    tokens = tokenizer_of(of.located)
    model = of.load()
    check_tokens(of.entry.name, tokens, model.module)
    end = tokens.token_to_id(family.end_token) if family.end_token else None
    own = getattr(model.module, "eos_token_id", ()) or (() if end is None else (end,))
    said = text_settings(of.located).begin
    if options.get("eos_token_id") is None:
        options = {**options, "eos_token_id": own}
    return Writer(
        model=model,
        tokenizer=tokens,
        begin=end if said is None else said,
        options=settled(model, options),
        replies=replies,
    )


def continued(
    of: Subject,
    prompts: Sequence[str],
    *,
    batch_size: int = BATCH_SIZE,
    replies: bool = False,
    **options: Unpack[Options],
) -> list[str]:
    """Returns the prompts with what follows, or that alone; arguments as for `generate`."""
    hand = writer(of, options, replies=replies)
    ids = [hand.ids(prompt) for prompt in prompts]
    rooms = [hand.room(each) for each in ids]
    found: dict[int, list[str]] = {}
    alone = len(prompts) <= batch_size
    with nullcontext() if alone else steps_bar("generating", len(prompts), transient=True) as show:
        for start, places in _batches(ids, rooms, batch_size):
            seed = hand.options["seed"] + start
            found |= _written(hand, ids, places, hand.changed(max_new_tokens=rooms[places[0]], seed=seed))
            if show:
                show(len(found), "")
    return [text for place in range(len(prompts)) for text in found[place]]


def _written(
    hand: Writer, ids: Sequence[Sequence[int]], places: Sequence[int], options: Settled
) -> dict[int, list[str]]:
    """Returns the texts of some of the prompts by their places."""
    # Few numbers of rows, since each is compiled.
    rows = [*places, *[places[0]] * (_power(len(places)) - len(places))]
    begun = hand.begun([ids[place] for place in rows])
    made = loop.generated(hand.model, begun, options, hand.tokenizer)
    several, start = options["num_return_sequences"], begun.tokens.shape[1]
    return {
        place: [
            hand.text(row[before:].tolist(), start - before)
            for row in made[index * several : (index + 1) * several]
        ]
        for index, (place, before) in enumerate(zip(places, begun.padding.tolist(), strict=False))
    }


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


def streamed(of: Subject, prompt: str, *, replies: bool = False, **options: Unpack[Options]) -> Iterator[str]:
    """Yields a prompt with what follows, or that alone, in pieces; arguments as for `generate`."""
    hand = writer(of, options, replies=replies)
    if hand.options["num_return_sequences"] != 1:
        raise ZooError("num_return_sequences= goes with zoo.generate: pieces are of one text; leave it out.")
    ids = hand.ids(prompt)
    count = hand.room(ids)
    begun = hand.begun([ids])
    start, shown, text = begun.tokens.shape[1], "", ""
    for texts in _growing(hand, begun, count):
        text = hand.text(texts[0].tolist(), start)
        if not text.endswith("\ufffd"):  # a character whose bytes are not all there yet
            yield text[len(shown) :]
            shown = text
    yield text[len(shown) :]


def _growing(hand: Writer, begun: Prompts, count: int) -> Iterator[np.ndarray]:
    """Yields a text again and again as it grows; that of a beam search once, at its end."""
    options = hand.changed(max_new_tokens=count)
    if options["num_beams"] > 1:
        yield loop.generated(hand.model, begun, options)
        return
    ended = loop.stop_strings(options, begun, hand.tokenizer) if options["stop"] else None
    yield from loop.steps(hand.model, begun, options, max_new_tokens=count, pace=PACE, ended=ended)

"""Texts and token ids continued by a language model."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np
from jax.typing import ArrayLike

from zoo._errors import ZooError
from zoo._inference import generate as loop
from zoo._inference.purpose import continues_texts, purpose
from zoo._inference.sampling import choices, fill
from zoo._inference.subject import Subject, subject
from zoo._loading.resolve import Name
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


class _Others(Options, total=False):
    attention_mask: ArrayLike | None
    batch_size: int | None


@overload
def generate(
    model: Name | Model, prompts: str | Sequence[str], *, max_new_tokens: int, **options: Unpack[_Others]
) -> list[str]: ...
@overload
def generate(
    model: Name | Model,
    prompts: ArrayLike | Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    **options: Unpack[_Others],
) -> np.ndarray: ...
def generate(
    model: Name | Model,
    prompts: Any,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    num_beams: int = 1,
    seed: int = 0,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
    min_new_tokens: int = 0,
    num_return_sequences: int = 1,
    attention_mask: ArrayLike | None = None,
    batch_size: int | None = None,
) -> list[str] | np.ndarray:
    """Continues texts, each as it would be continued alone.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        prompts: Texts, or token ids: an array (batch, prompt), or lists of several lengths.
        max_new_tokens: Number of tokens to add. A text ends earlier at the longest that the model takes; with
            ids, there has to be room for all.
        temperature: 0 takes the likeliest token; else the logits are divided by it, and one is drawn.
        top_k: Draws from that many of the likeliest tokens.
        top_p: Draws from the likeliest tokens that together have this probability.
        eos_token_id: One or several that end a text, by default those that the model's files name; () is
            none.
        num_beams: 1: there is no beam search.
        seed: Seed of the draws.
        repetition_penalty: Makes tokens that a text has less likely (above 1) or likelier (below).
        no_repeat_ngram_size: Length of the runs of tokens that no text has twice; 0 for any.
        min_new_tokens: Number of new tokens before which no text ends.
        num_return_sequences: Texts drawn for each prompt, one after the other in the result.
        attention_mask: (batch, prompt), 1 for tokens to keep, for ids that are padded on the left.
        batch_size: Prompts at a time.

    Returns:
        Of texts the prompts with what follows. Of ids (batch, prompt + new) of them; each row begins with its
        prompt, and is filled on the right with the padding token, or else the first that ends a text.

    Raises:
        ZooError: the model continues no texts, has no tokenizer for some, or an option is out of its range.
    """
    options: Options = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "eos_token_id": eos_token_id,
        "num_beams": num_beams,
        "seed": seed,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "min_new_tokens": min_new_tokens,
        "num_return_sequences": num_return_sequences,
    }
    if batch_size is not None and batch_size < 1:
        raise ZooError(f"batch_size={batch_size}; expected 1 or more.")
    size = batch_size or BATCH_SIZE
    if isinstance(prompts, Sequence) and not isinstance(prompts, str) and not len(prompts):
        return []
    if not _are_texts(prompts):
        loaded = model if isinstance(model, Model) else _checked(subject(model)).load()
        return _continued_ids(loaded, prompts, attention_mask, size, max_new_tokens, options)
    if attention_mask is not None:
        raise ZooError("attention_mask= goes with token ids; leave it out.")
    several = [prompts] if isinstance(prompts, str) else prompts
    return continued(subject(model), several, max_new_tokens, batch_size=size, **options)


def _are_texts(prompts: Any) -> bool:
    if isinstance(prompts, str):
        return True
    found = isinstance(prompts, Sequence) and {isinstance(each, str) for each in prompts}
    if found == {True, False}:
        raise ZooError("prompts are texts and token ids; expected all texts, or all ids.")
    return found == {True}


def _checked(of: Subject) -> Subject:
    """Returns the model itself.

    Raises:
        ZooError: it continues no texts.
    """
    if not continues_texts(of.entry):
        raise ZooError(f"{of.entry.name!r} continues no texts; {purpose(of.entry)}.")
    return of


def _continued_ids(
    model: Model, prompts: Any, mask: Any, size: int, max_new_tokens: int, options: Options
) -> np.ndarray:
    """Continues ids in batches; see `generate`."""
    rows: list[np.ndarray] = []
    for start in range(0, len(prompts), size):
        part = prompts[start : start + size]
        kept = None if mask is None else np.asarray(mask)[start : start + size]
        found = loop.generate(
            model, part, max_new_tokens=max_new_tokens, attention_mask=kept, **_seeded(options, start)
        )
        longest = max(map(len, part))
        before = [longest - len(each) for each in part] if kept is None else kept.argmax(1)
        several = len(found) // len(part)
        rows += [row[before[index // several] :] for index, row in enumerate(found)]
    ends = options["eos_token_id"]
    filler = fill(
        model.module.pad_token_id, getattr(model.module, "eos_token_id", ()) if ends is None else ends
    )
    made = np.full((len(rows), max(map(len, rows))), filler, rows[0].dtype)
    for row, ids in zip(made, rows, strict=True):
        row[: len(ids)] = ids
    return made


def _seeded(options: Options, start: int) -> Options:
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
    family = families.family(_checked(of).entry)
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
                **_seeded({**options, "eos_token_id": writer.ends}, start),
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

"""Texts and token ids continued by a language model."""

from collections.abc import Sequence
from typing import Any, Unpack, overload

import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from zoo._errors import ZooError
from zoo._inference import generate as loop
from zoo._inference.continue_texts import BATCH_SIZE, Options, checked, continued, seeded
from zoo._inference.sampling import fill
from zoo._inference.subject import subject
from zoo._loading.nnx_model import in_linen
from zoo._loading.resolve import Name
from zoo._model import Model


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
) -> NDArray[np.integer]: ...
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
) -> list[str] | NDArray[np.integer]:
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
        prompt, and is filled on the right with the padding token, or else the first that ends a text. A
        model with neither never ends a text: each prompt gets all its new tokens, and what is behind them in
        a row, where others have longer prompts, is 0.

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
    model = in_linen(model)
    if not _are_texts(prompts):
        loaded = model if isinstance(model, Model) else checked(subject(model)).load()
        return _continued_ids(loaded, prompts, attention_mask, size, max_new_tokens, options)
    if attention_mask is not None:
        raise ZooError("attention_mask= goes with token ids; leave it out.")
    several = [prompts] if isinstance(prompts, str) else prompts
    return continued(subject(model), several, max_new_tokens, batch_size=size, **options)


def _are_texts(prompts: Any) -> bool:
    if isinstance(prompts, str):
        return True
    if not isinstance(prompts, Sequence) and not np.ndim(prompts):
        raise ZooError(f"prompts are {prompts!r}; expected texts or token ids, such as [[1, 2, 3]].")
    found = isinstance(prompts, Sequence) and {isinstance(each, str) for each in prompts}
    if found == {True, False}:
        raise ZooError("prompts are texts and token ids; expected all texts, or all ids.")
    return found == {True}


def _continued_ids(
    model: Model, prompts: Any, mask: Any, size: int, max_new_tokens: int, options: Options
) -> np.ndarray:
    """Continues ids in batches; see `generate`."""
    rows: list[np.ndarray] = []
    for start in range(0, len(prompts), size):
        part = prompts[start : start + size]
        kept = None if mask is None else np.asarray(mask)[start : start + size]
        found = loop.generate(
            model, part, max_new_tokens=max_new_tokens, attention_mask=kept, **seeded(options, start)
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

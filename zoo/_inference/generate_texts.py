"""Texts and token ids continued by a language model."""

from collections.abc import Sequence
from typing import Any, Unpack, overload

import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from zoo._errors import ZooError
from zoo._inference import generate as loop
from zoo._inference.continue_texts import BATCH_SIZE, checked, continued
from zoo._inference.generation_options import Options, settled
from zoo._inference.prompts import Ids, encodes
from zoo._inference.sampling import fill
from zoo._inference.subject import subject
from zoo._loading.nnx_model import in_linen
from zoo._loading.resolve import Name
from zoo._model import Model


class _Others(Options, total=False):
    attention_mask: ArrayLike | None
    decoder_input_ids: Ids | None
    batch_size: int | None


@overload
def generate(model: Name | Model, prompts: str | Sequence[str], **options: Unpack[_Others]) -> list[str]: ...
@overload
def generate(
    model: Name | Model, prompts: ArrayLike | Sequence[Sequence[int]], **options: Unpack[_Others]
) -> NDArray[np.integer]: ...
def generate(
    model: Name | Model,
    prompts: Any,
    *,
    attention_mask: ArrayLike | None = None,
    decoder_input_ids: Ids | None = None,
    batch_size: int | None = None,
    **options: Unpack[Options],
) -> list[str] | NDArray[np.integer]:
    """Continues texts, each as it would be continued alone; or answers the prompts of an encoder.

    Options that are left out, or None, are those of the model's generation_config.json, or else off.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        prompts: Texts, or token ids: an array (batch, prompt), or lists of several lengths.
        attention_mask: (batch, prompt), 1 for tokens to keep, for ids that are padded already.
        decoder_input_ids: (batch, length) token ids that the texts of a decoder with an encoder begin with;
            by default its first token alone.
        batch_size: Prompts at a time.
        max_new_tokens: Number of tokens to add, by default 100. A text ends earlier at the longest that the
            model takes; with ids, there has to be room for all.
        temperature: 0 takes the likeliest token; else the logits are divided by it, and one is drawn.
        top_k: Draws from that many of the likeliest tokens; 0 is all.
        top_p: Draws from the likeliest tokens that together have this probability; 1 is all.
        min_p: Draws from tokens that are at least this much as likely as the likeliest; 0 is all.
        eos_token_id: One or several that end a text, by default those that the model's files name; () is
            none.
        stop: One or several strings that end a text, which is cut behind the first that comes.
        num_beams: Number of texts that a beam search compares for each prompt; 1 is no search.
        length_penalty: Power of the length that a beam's log-probability is divided by: above 0, long texts
            win more often.
        early_stopping: True ends a beam search at as many texts as beams; False where longer ones are hardly
            better; "never" where none can be.
        num_return_sequences: Texts for each prompt, one after the other in the result: as many draws, or the
            best beams.
        repetition_penalty: Makes tokens that a text has less likely (above 1) or likelier (below).
        no_repeat_ngram_size: Length of the runs of tokens that no text has twice; 0 for any.
        min_new_tokens: Number of new tokens before which no text ends.
        bad_words_ids: Runs of tokens that no text gets.
        suppress_tokens: Tokens that no text gets.
        begin_suppress_tokens: Tokens that no text gets first.
        forced_bos_token_id: The token that follows a first one that a text begins with.
        forced_eos_token_id: One or several, of which a text that has not ended yet gets one as its last.
        forced_decoder_ids: Pairs of a place in the text, from 0, and the token there.
        seed: Seed of the draws.
        generation_config: Attributes in place of those of the file; {} is none.

    Returns:
        Of texts the prompts with what follows; of an encoder's prompts what follows alone. Of ids (batch,
        prompt + new) of them; each row begins with its prompt, and is filled on the right with the padding
        token, or else the first that ends a text. A model with neither never ends a text: each prompt gets
        all its new tokens, and what is behind them in a row, where others have longer prompts, is 0.

    Raises:
        ZooError: the model continues no texts, has no tokenizer for some, or an option is out of its range.
    """
    if batch_size is not None and batch_size < 1:
        raise ZooError(f"batch_size={batch_size}; expected 1 or more.")
    size = batch_size or BATCH_SIZE
    if isinstance(prompts, Sequence) and not isinstance(prompts, str) and not len(prompts):
        return []
    model = in_linen(model)
    if not _are_texts(prompts):
        loaded = model if isinstance(model, Model) else checked(subject(model)).load()
        return _continued_ids(loaded, prompts, (attention_mask, decoder_input_ids), size, options)
    if attention_mask is not None or decoder_input_ids is not None:
        name = "decoder_input_ids" if attention_mask is None else "attention_mask"
        raise ZooError(f"{name}= goes with token ids; leave it out.")
    several = [prompts] if isinstance(prompts, str) else prompts
    return continued(subject(model), several, batch_size=size, **options)


def _are_texts(prompts: Any) -> bool:
    if isinstance(prompts, str):
        return True
    if not isinstance(prompts, Sequence) and not np.ndim(prompts):
        raise ZooError(f"prompts are {prompts!r}; expected texts or token ids, such as [[1, 2, 3]].")
    found = isinstance(prompts, Sequence) and {isinstance(each, str) for each in prompts}
    if found == {True, False}:
        raise ZooError("prompts are texts and token ids; expected all texts, or all ids.")
    return found == {True}


def _seeded(options: Options, start: int) -> Options:
    """Returns the options with other draws for each batch."""
    return {**options, "seed": options.get("seed", 0) + start}


def _continued_ids(
    model: Model, prompts: Any, others: tuple[Any, Any], size: int, options: Options
) -> np.ndarray:
    """Continues ids in batches; see `generate`. The others are the mask and the decoder's ids, if any."""
    rows: list[np.ndarray] = []
    for start in range(0, len(prompts), size):
        part = prompts[start : start + size]
        kept, begun = (None if each is None else each[start : start + size] for each in others)
        found = loop.generate(
            model, part, attention_mask=kept, decoder_input_ids=begun, **_seeded(options, start)
        )
        if encodes(model.module):
            rows += [*found]
            continue
        longest = max(map(len, part))
        before = [longest - len(each) for each in part] if kept is None else np.asarray(kept).argmax(1)
        several = len(found) // len(part)
        rows += [row[before[index // several] :] for index, row in enumerate(found)]
    chosen = settled(model, options)
    made = np.full(
        (len(rows), max(map(len, rows))),
        fill(chosen["pad_token_id"], chosen["eos_token_id"]),
        rows[0].dtype,
    )
    for row, ids in zip(made, rows, strict=True):
        row[: len(ids)] = ids
    return made

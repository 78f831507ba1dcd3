"""Prompts as arrays: checked, padded, and encoded where a model has an encoder."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import jax
import numpy as np
from jax.typing import ArrayLike

from zoo._errors import ZooError
from zoo._inference.decoding import SHORTEST, size
from zoo._model import Model

Ids: TypeAlias = ArrayLike | Sequence[Sequence[int]]


class Prompts(NamedTuple):
    """Beginnings of texts.

    Attributes:
        tokens: (batch, length) token ids.
        mask: (batch, length), True for tokens that are no padding; the last column is.
        context: What a decoder reads of its encoder; None for models without one.
    """

    tokens: np.ndarray
    mask: np.ndarray
    context: Any = None

    @property
    def padding(self) -> np.ndarray:
        """(batch,) number of columns before each text."""
        found: np.ndarray = self.mask.argmax(1)
        return found


def written_tokens(module: Any) -> int:
    """Returns the number of tokens that a model writes; one with an encoder may read others."""
    return int(getattr(module, "decoder_vocab_size", module.vocab_size))


def encodes(module: Any) -> bool:
    """Returns whether a model has an encoder, which reads the prompts, and begins texts of its own."""
    return hasattr(module, "context")


def prompts_of(
    model: Model, input_ids: Ids, attention_mask: ArrayLike | None, decoder_input_ids: Ids | None, fill: int
) -> Prompts:
    """Returns prompts; those of an encoder have been read by it.

    Args:
        model: With the head "lm".
        input_ids: Token ids; lists of several lengths are padded, on the right for an encoder. One of speech
            takes (batch, frames, mel_bins) spectrograms instead.
        attention_mask: (batch, length), 1 for tokens to keep.
        decoder_input_ids: Token ids that a decoder begins with; by default its first token alone.
        fill: Token for the padding.

    Raises:
        ZooError: they do not fit the model.
    """
    module = model.module
    if getattr(module, "head", None) != "lm":
        raise ZooError(f"{type(module).__name__} continues no texts; load it with head='lm'.")
    if not encodes(module):
        if decoder_input_ids is not None:
            raise ZooError(
                f"{type(module).__name__} has no encoder: the prompts begin its texts; leave "
                "decoder_input_ids out."
            )
        return Prompts(*_checked(module, *_padded(input_ids, attention_mask, fill, left=True)))
    context = _context_of(model, input_ids, attention_mask, fill)
    count = len(jax.tree.leaves(context)[0])
    if decoder_input_ids is None:
        if module.decoder_start_token_id is None:
            raise ZooError(
                "the model has no decoder_start_token_id: pass decoder_input_ids, such as the token of the "
                "language to write."
            )
        decoder_input_ids = [[module.decoder_start_token_id]] * count
    texts = _checked(module, *_padded(decoder_input_ids, None, fill, left=True))
    if len(texts[0]) != count:
        raise ZooError(f"{len(texts[0])} decoder_input_ids for {count} prompts; expected one for each.")
    return Prompts(*texts, context)


def _context_of(model: Model, given: Ids, attention_mask: ArrayLike | None, fill: int) -> Any:
    """Returns what the encoder makes of its prompts: token ids, or numbers as of a spectrogram."""
    features = None if _are_lists(given) else np.asarray(given)
    if features is not None and features.dtype.kind == "f" and attention_mask is None:
        return encoder_context(model, features)
    tokens, mask = _padded(given, attention_mask, fill, left=False)
    check_ids(model.module.vocab_size, tokens, mask)
    length, most = tokens.shape[1], model.module.max_length
    if length > most:
        raise ZooError(f"a prompt of {length} tokens; the model takes {most}: give a shorter one.")
    room = ((0, 0), (0, size(length, SHORTEST, most) - length))
    return encoder_context(model, np.pad(tokens, room).astype(np.int32), np.pad(mask, room))


@jax.jit
def encoder_context(model: Model, *inputs: ArrayLike) -> Any:
    """Returns what a decoder reads of its encoder, as pytrees of arrays whose first axis is the batch."""
    return model(*inputs, method="context")


def _are_lists(input_ids: Ids) -> TypeGuard[Sequence[Sequence[int]]]:
    """Returns whether prompts are a sequence of ids for each text."""
    return isinstance(input_ids, Sequence) and all(isinstance(each, Sequence) for each in input_ids)


def _padded(
    input_ids: Ids, attention_mask: ArrayLike | None, fill: int, *, left: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns prompts and their mask as arrays."""
    lengths = {len(each) for each in input_ids} if _are_lists(input_ids) else set()
    if not _are_lists(input_ids) or len(lengths) < 2:
        tokens = np.asarray(input_ids)
        kept = np.ones(tokens.shape, bool) if attention_mask is None else np.asarray(attention_mask)
        return tokens, kept.astype(bool)
    if attention_mask is not None or 0 in lengths:
        raise ZooError(
            "prompts of several lengths make their own mask, and have at least one token each; leave "
            "attention_mask out."
        )
    texts = [np.asarray(each) for each in input_ids]
    shape = (len(texts), max(lengths))
    tokens, kept = np.full(shape, fill, np.result_type(*texts)), np.zeros(shape, bool)
    for row, text in enumerate(texts):
        place = slice(-len(text), None) if left else slice(len(text))
        tokens[row, place], kept[row, place] = text, True
    return tokens, kept


def _checked(module: Any, tokens: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the beginnings of texts, whole numbers of 32 bits, and their mask."""
    check_ids(written_tokens(module), tokens, mask)
    if not mask[:, -1].all():
        raise ZooError("a text ends in tokens that are masked; pad on the left, so that it can be continued.")
    if tokens.shape[1] >= module.max_length:
        raise ZooError(
            f"a prompt of {tokens.shape[1]} tokens leaves no room: the model takes texts of "
            f"{module.max_length}, with what follows; give a shorter one, such as its end."
        )
    return tokens.astype(np.int32), mask


def check_ids(count: int, tokens: np.ndarray, mask: np.ndarray) -> None:
    """Checks that tokens are the model's, and their mask is of their shape.

    Raises:
        ZooError: they are not.
    """
    if tokens.ndim != 2 or not tokens.size or tokens.dtype.kind not in "iu" or mask.shape != tokens.shape:
        raise ZooError(
            f"input_ids are {tokens.dtype} {tokens.shape}, attention_mask {mask.shape}; "
            "expected whole numbers of shape (batch, length), and a mask of the same shape."
        )
    if tokens.min() < 0 or tokens.max() >= count:
        raise ZooError(f"tokens from {tokens.min()} to {tokens.max()}; the model has 0 to {count - 1}.")

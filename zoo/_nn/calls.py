"""Troubles of a model's call: pixels that were not preprocessed, and Flax's errors in the words of a call."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError, ModifyScopeVariableError, ScopeCollectionNotFound

from zoo._errors import ZooError
from zoo._nn.images import check_floats
from zoo._nn.indices import known
from zoo._registry.entry import Entry, Photos

SPARE = 4  # times the largest pixel of any picture: what an experiment does to images stays below it
LEAST = 16  # and no less than that: of 255, dark pixels that were not rescaled


def check_pixels(images: Any, entry: Entry) -> None:
    """Checks that images are no pixels from 0 to 255; warns of floats that look like such.

    Looks at the first image, where its values are known: in a compiled program they are not.

    Args:
        images: First argument of a model's call.
        entry: The model's record; nothing is known of what other modules take.

    Raises:
        ZooError: they are integers.
    """
    dtype = getattr(images, "dtype", None)
    if entry.family is None or not entry.takes_images or dtype is None:
        return
    name = entry.inputs[0].name
    check_floats(dtype, name)
    if isinstance(images, jax.core.Tracer) or not images.ndim or not jnp.issubdtype(dtype, jnp.floating):
        return
    first = known(images[:1])
    if first is None or not first.size:
        return
    largest = entry.preprocess.largest if isinstance(entry.preprocess, Photos) else 1.0
    low, high = float(first.min()), float(first.max())
    if low >= 0 and high > max(LEAST, SPARE * largest):
        warnings.warn(
            f"{name} have values up to {high:g}, and those of {entry.name!r} are {largest:.3g} at most: "
            f"zoo.preprocess({entry.name!r}) makes them of pixels from 0 to 255.",
            stacklevel=3,
        )


@contextmanager
def explained() -> Iterator[None]:
    """Says what a call lacks: variables, a mutable collection, or random numbers.

    Raises:
        ZooError: instead of Flax's error.
    """
    try:
        yield
    except ScopeCollectionNotFound as error:
        collection = _quoted(r'from collection "([^"]+)"', error)
        raise ZooError(
            f"the variables have no collection {collection!r}, which the call reads; expected a mapping of "
            "all collections, {'params': ...}, as module.init gives it."
        ) from error
    except ModifyScopeVariableError as error:
        collection = _quoted(r'collection "([^"]+)"', error)
        raise ZooError(
            f"the call updates {collection!r}, as train=True does; with mutable=[{collection!r}] it returns "
            f"a pair, the output and the updated collections: "
            f"output, updated = model(..., train=True, mutable=[{collection!r}])."
        ) from error
    except InvalidRngError as error:
        stream = _quoted(r'PRNG for "([^"]+)"', error)
        raise ZooError(
            f"the call draws random numbers of the stream {stream!r}, as train=True does with dropout; pass "
            f"a key: model(..., rngs={{{stream!r}: jax.random.key(0)}})."
        ) from error


def _quoted(pattern: str, error: Exception) -> str:
    """Returns the name in Flax's message; raises the error itself where that says something else."""
    found = re.search(pattern, str(error))
    if found is None:
        raise error
    return found[1]

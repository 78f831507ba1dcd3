"""Any number of pictures through a model: read in threads while the batch before them is computed."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from converters.errors import ConverterError
from zoo._errors import ZooError
from zoo._inference.predict_all import predict_all
from zoo._model import Model

if TYPE_CHECKING:
    from zoo._preprocessing.images import Picture
    from zoo._preprocessing.preprocess import Preprocessor

BATCH_SIZE = 32
THREADS = 4  # that read pictures, or as many as there are processors
Refused = Callable[["Picture", Exception], None]
Item = TypeVar("Item")


def logits(
    load: Callable[[], Model],
    pictures: Iterable["Picture"],
    read: "Preprocessor",
    *,
    batch_size: int | None,
    refused: Refused,
    function: Callable[[Model, jax.Array], jax.Array] | None = None,
) -> Iterator[tuple["Picture", np.ndarray]]:
    """Yields each picture that can be read, with the model's logits for it, float32.

    Args:
        load: Returns a classifier of pictures; not called where none can be read.
        pictures: Names of files, Pillow images or arrays; read a few batches at a time.
        read: Function that makes the model's input of them.
        batch_size: Pictures at a time.
        refused: Called with each picture that cannot be read, and why.
        function: Function with a name, of the model and images, whose output is yielded instead of logits.
    """
    names: deque[Picture] = deque()

    def arrays() -> Iterator[np.ndarray]:
        for picture, array in _read(pictures, read, batch_size or BATCH_SIZE, refused):
            names.append(picture)
            yield array

    rest = arrays()
    first = [*islice(rest, batch_size or BATCH_SIZE)]
    if not first:
        return
    size = batch_size or min(BATCH_SIZE, 1 << (len(first) - 1).bit_length())
    examples: Iterable[np.ndarray] = chain(first, rest)
    if isinstance(pictures, Sized):
        examples = _Counted(examples, len(pictures))
    found = predict_all(load(), examples, batch_size=size, function=function or _logits)
    yield from ((names.popleft(), each) for each in found)


@dataclass
class _Counted:
    """Examples whose number is known before they are there, for a progress bar."""

    examples: Iterable[np.ndarray]
    count: int

    def __iter__(self) -> Iterator[Any]:
        return iter(self.examples)

    def __len__(self) -> int:
        return self.count


def _read(
    pictures: Iterable["Picture"], read: "Preprocessor", count: int, refused: Refused
) -> Iterator[tuple["Picture", np.ndarray]]:
    """Yields pictures as the model's input; threads have read the next ones by then."""
    shape: tuple[int, ...] | None = None
    threads = min(THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, "zoo picture") as pool:
        try:
            # A list of one: no picture is several.
            for picture, array in _in_order(pool, lambda each: read([each]), pictures, count):
                try:
                    made = array.result()[0]
                    shape = shape or made.shape
                    _check_size(made.shape, shape)
                except (ZooError, ConverterError, OSError) as error:
                    refused(picture, _named(picture, error))
                else:
                    yield picture, made
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _named(picture: "Picture", error: Exception) -> Exception:
    """Returns the error with the picture's file in its message."""
    if not isinstance(picture, str | os.PathLike) or os.fspath(picture) in str(error):
        return error
    return ZooError(f"{os.fspath(picture)!r}: {error}")


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterable[Item], count: int
) -> Iterator[tuple[Item, "Future[Any]"]]:
    """Yields each item with what a thread makes of it, while as many as `count` after it are under way."""
    pending: deque[tuple[Item, Future[Any]]] = deque()
    for item in items:
        pending.append((item, pool.submit(function, item)))
        if len(pending) > count:
            yield pending.popleft()
    yield from pending


def _check_size(found: tuple[int, ...], first: tuple[int, ...]) -> None:
    if found != first:
        height, width = found[:2]
        raise ZooError(
            f"the model takes pictures in their own sizes, and this one has {height} x {width}, the first "
            f"one {first[0]} x {first[1]}; give those of one size together."
        )


def _logits(model: Model, images: jax.Array) -> jax.Array:
    found: jax.Array = model(images).astype(jnp.float32)
    return found

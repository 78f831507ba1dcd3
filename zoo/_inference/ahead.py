"""Batches computed while the ones before them are fetched and used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax

AHEAD = 2  # batches that are computed before the first of them is waited for
Label = TypeVar("Label")
Batch = TypeVar("Batch")


def ahead(
    compute: Callable[[Batch], Any], batches: Iterable[tuple[Label, Batch]]
) -> Iterator[tuple[Label, Any]]:
    """Yields the label and the outputs of each batch in turn, as NumPy arrays.

    A batch is made while the device computes the one before it.

    Args:
        compute: Compiled function of a batch.
        batches: Batches with whatever their maker has to know about them afterwards.
    """
    computed: deque[tuple[Label, Any]] = deque()
    for label, batch in batches:
        computed.append((label, compute(batch)))
        if len(computed) == AHEAD:
            first, outputs = computed.popleft()
            yield first, jax.device_get(outputs)
    for label, outputs in computed:
        yield label, jax.device_get(outputs)

"""All that the project uses of Flax and Flax does not document; a test tells when a version lacks it."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import flax.linen as nn
from flax.core import Scope
from flax.core.scope import LazyRng
from flax.linen.module import _context

__all__ = ["LazyRng", "alone", "draw_from"]


@contextmanager
def alone() -> Iterator[None]:
    """Runs code of others within a linen module's: modules that it makes are none of that module's."""
    stack: list[nn.Module | None] = _context.module_stack
    stack.append(None)
    try:
        yield
    finally:
        stack.pop()


def draw_from(scope: Scope, streams: dict[str, LazyRng]) -> None:
    """Lets a scope and those below it draw random numbers from streams."""
    scope.rngs = streams
    scope.rng_counters = defaultdict(int)

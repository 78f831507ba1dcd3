"""Keys and values of the tokens so far, which decoders keep between two calls."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import jax


class Cache(NamedTuple):
    """Keys and values of the tokens so far, each (batch, heads, length, head_dim).

    XLA multiplies matrices of this order as they lie; it would copy others first.
    """

    keys: jax.Array
    values: jax.Array

    def written(self, new: "Cache", column: jax.Array | int) -> "Cache":
        """Returns the cache with the new token in that column."""
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=column, axis=2)
        return Cache(put(self.keys, new.keys), put(self.values, new.values))


Caches: TypeAlias = Sequence[Cache] | Cache  # one for each block; with scan, the first axis is the blocks

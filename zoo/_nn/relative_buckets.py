"""Relative positions in buckets, as T5 has them: one for each small distance, ever wider ones behind.

Raffel et al., https://arxiv.org/abs/1910.10683, section 2.1.
"""

import math
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zoo._nn.options import check_options


class Buckets(NamedTuple):
    """Number of buckets, and the distance from which on all are in the last one, in tokens."""

    number: int
    max_distance: int

    def of(self, queries: jax.Array, keys: jax.Array, *, both_sides: bool) -> jax.Array:
        """(queries,) and (keys,) columns -> (queries, keys) buckets.

        Args:
            queries: Columns of the tokens that attend.
            keys: Columns of those attended to.
            both_sides: If true, keys behind their query have half of the buckets; else all have the first.
        """
        after = keys[None] - queries[:, None]
        table = jnp.asarray(_of_distances(self.number // 2 if both_sides else self.number, self.max_distance))
        distance = jnp.abs(after) if both_sides else -after
        found = table[jnp.clip(distance, 0, self.max_distance)]
        return found + jnp.where(after > 0, self.number // 2, 0) if both_sides else found


@cache
def _of_distances(count: int, max_distance: int) -> np.ndarray:
    """Returns the bucket of each distance from 0 to `max_distance`.

    In float32, as PyTorch computes it: where a bucket ends is a question of rounding.
    """
    exact = count // 2
    distances = np.arange(max_distance + 1)
    logs = np.log(np.maximum(distances, 1).astype(np.float32) / np.float32(exact))
    parts = logs / np.float32(math.log(max_distance / exact)) * np.float32(count - exact)
    wide = np.minimum(exact + parts.astype(np.int32), count - 1)
    return np.where(distances < exact, distances, wide).astype(np.int32)


def checked_buckets(count: int, max_distance: int) -> Buckets:
    """Returns the buckets.

    Raises:
        ZooError: too few for both sides, or wide ones that would be narrower than a token.
    """
    check_options(
        ("buckets", count, count >= 4 and not count % 4, "a multiple of four"),
        (
            "max_distance",
            max_distance,
            max_distance > count // 2,
            f"more than {count // 2}, half the buckets",
        ),
    )
    return Buckets(count, max_distance)

"""The Frechet distance of two sets of features, each taken for a Gaussian's.

Heusel et al., https://arxiv.org/abs/1706.08500, equation 6.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from zoo._errors import ZooError

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
_ROWS = 512  # features that are added to the sums at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """Mean and covariance of features, in float64.

    Attributes:
        count: Number of the features.
        mean: (width,)
        covariance: (width, width), unbiased.
    """

    count: int
    mean: Floats
    covariance: Floats


def statistics(features: Iterable[Any]) -> Statistics:
    """Computes mean and covariance; holds no more than a few hundred features at a time.

    Args:
        features: (n, width), or vectors of one width, one after the other.

    Raises:
        ZooError: there are less than two, or one is no vector of finite numbers, or of another width.
    """
    count, mean, scatter = 0, np.zeros(0), np.zeros((0, 0))
    for rows in _batches(features):
        if not count:
            mean, scatter = np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2)
        if rows.shape[1] != len(mean):
            raise ZooError(f"features of width {rows.shape[1]} after others of width {len(mean)}.")
        if not np.isfinite(rows).all():
            raise ZooError("some features are infinite or no numbers (NaN); they have no statistics.")
        # Sums about the means: those of squares would lose the digits that a large mean has.
        inner = rows - rows.mean(0)
        step, total = rows.mean(0) - mean, count + len(rows)
        scatter += inner.T @ inner + np.outer(step, step) * (count * len(rows) / total)
        mean = mean + step * (len(rows) / total)
        count = total
    if count < 2:
        raise ZooError(f"found features of {count} examples; a covariance takes two or more.")
    return Statistics(count=count, mean=mean, covariance=scatter / (count - 1))


def frechet_distance(a: Statistics | Iterable[Any], b: Statistics | Iterable[Any]) -> float:
    """Computes |mean - mean'|^2 + trace(C + C' - 2 (C C')^(1/2)), C and C' being the covariances.

    It is biased: of fewer examples it is larger, so that distances compare only with others of as many.

    Args:
        a: Features of examples, (n, width), or their statistics.
        b: Others; the order of the two is of no importance.

    Raises:
        ZooError: features of different widths, less than two examples, or no finite numbers.
    """
    first, second = (each if isinstance(each, Statistics) else statistics(each) for each in (a, b))
    if first.mean.shape != second.mean.shape:
        raise ZooError(
            f"features of widths {len(first.mean)} and {len(second.mean)} have no distance; "
            "both have to be of one model."
        )
    apart = first.mean - second.mean
    # The trace of the root is the sum of the singular values of R' S, where C = R R' and C' = S S': as exact
    # for covariances without an inverse, of which a root of the product loses half the digits.
    inner = np.linalg.svd(_root(first.covariance).T @ _root(second.covariance), compute_uv=False).sum()
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * inner
    return max(float(apart @ apart + spread), 0.0)  # of the same features, rounding leaves -1e-14


def _root(covariance: Floats) -> Floats:
    """Returns R of R R' = C, without the columns that only rounding has made."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > max(values[-1], 0) * len(values) * np.finfo(np.float64).eps
    root: Floats = vectors[:, kept] * np.sqrt(values[kept])
    return root


def _batches(features: Iterable[Any]) -> Iterator[Floats]:
    """Yields (n, width) arrays of a few features each."""
    rest = iter(features)
    while batch := [*islice(rest, _ROWS)]:
        shapes = {np.shape(each) for each in batch}
        if len(shapes) > 1 or len(shape := shapes.pop()) != 1:
            found = " and ".join(map(str, sorted(shapes))) if shapes else str(shape)
            raise ZooError(f"features of shape {found}; expected vectors of one width.")
        yield np.asarray(batch, np.float64)

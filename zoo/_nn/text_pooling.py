"""From the states of a text's tokens to its vector: Reimers and Gurevych, https://arxiv.org/abs/1908.10084."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._nn.layers import ACTIVATIONS

POOLING = ("cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken")
Pooling: TypeAlias = str | tuple[str, ...]
IDENTITY = "identity"


class Projection(NamedTuple):
    """Dense layer that follows the pooling.

    Attributes:
        features: Size of its output.
        activation: Name of the activation after it, or "identity".
        use_bias: If true, the layer has a bias.
    """

    features: int
    activation: str = "tanh"
    use_bias: bool = True


class Vectors(NamedTuple):
    """The head "embedding": how the states of a text's tokens become its vector.

    Attributes:
        pooling: One of POOLING, or several.
        projections: Dense layers after it.
        normalize: If true, vectors are scaled to length 1.
    """

    pooling: Pooling = "mean"
    projections: tuple[Projection, ...] = ()
    normalize: bool = False

    @classmethod
    def of(
        cls, pooling: str | Sequence[str], projections: Sequence[Mapping[str, Any]], *, normalize: bool
    ) -> "Vectors":
        """Returns what the keywords of `create` say.

        Raises:
            ZooError: no such pooling or activation.
        """
        return cls(checked_pooling(pooling), checked_projections(projections), normalize)

    def build(self, dtype: DTypeLike | None) -> list[nn.Dense]:
        """Builds the dense layers, for the attribute `projections` of a module."""
        return [nn.Dense(each.features, use_bias=each.use_bias, dtype=dtype) for each in self.projections]

    def apply(self, layers: Sequence[nn.Dense], states: jax.Array, mask: jax.Array | None) -> jax.Array:
        """(batch, length, width) states and the result of `build` -> a vector for each text."""
        activations = [each.activation for each in self.projections]
        steps = [*zip(layers, activations, strict=True)]
        return embedding(states, mask, self.pooling, steps, normalize=self.normalize)


def checked_pooling(pooling: str | Sequence[str]) -> Pooling:
    """Returns the pooling, or a tuple of several.

    Raises:
        ZooError: one of them is not of POOLING, or there is none.
    """
    several = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    for each in several or ("",):
        if each not in POOLING:
            raise ZooError(f"no pooling {each!r}; choose of {', '.join(POOLING)}.")
    return several[0] if len(several) == 1 else several


def checked_projections(projections: Sequence[Mapping[str, Any]]) -> tuple[Projection, ...]:
    """Returns the dense layers that keywords describe.

    Raises:
        ZooError: a keyword or activation that they do not have, or no size.
    """
    try:
        made = tuple(Projection(**each) for each in projections)
    except TypeError as error:
        raise ZooError(f"projections={projections!r}: {error}.") from error
    for each in made:
        if each.activation not in (IDENTITY, *ACTIVATIONS):
            known = ", ".join((IDENTITY, *ACTIVATIONS))
            raise ZooError(f"no activation {each.activation!r} of a projection; choose one of {known}.")
    return made


def pooled(states: jax.Array, mask: jax.Array, pooling: Pooling) -> jax.Array:
    """Pools (batch, length, width) states, those that the (batch, length) mask keeps, to (batch, width).

    Several poolings are concatenated: (batch, count * width).
    """
    several = (pooling,) if isinstance(pooling, str) else pooling
    return jnp.concatenate([_pooled(states, mask.astype(bool), each) for each in several], axis=-1)


def _pooled(states: jax.Array, kept: jax.Array, pooling: str) -> jax.Array:
    length = states.shape[1]
    if pooling in ("cls", "lasttoken"):
        first = kept.argmax(1) if pooling == "cls" else length - 1 - kept[:, ::-1].argmax(1)
        return jnp.take_along_axis(states, first[:, None, None], axis=1)[:, 0]
    if pooling == "max":
        return jnp.where(kept[..., None], states, jnp.finfo(states.dtype).min).max(1)
    # Sums of many tokens in float16 would lose digits, and could overflow.
    dtype = jnp.promote_types(states.dtype, jnp.float32)
    places = jnp.cumsum(kept, 1) if pooling == "weightedmean" else jnp.ones_like(kept, dtype)
    weights = jnp.where(kept, places, 0).astype(dtype)[..., None]
    total = jnp.maximum(weights.sum(1), 1e-9)
    mean = (states * weights).sum(1) / (jnp.sqrt(total) if pooling == "mean_sqrt_len" else total)
    return mean.astype(states.dtype)


def embedding(
    states: jax.Array,
    mask: jax.Array | None,
    pooling: Pooling,
    layers: Sequence[tuple[nn.Dense, str]],
    *,
    normalize: bool,
) -> jax.Array:
    """(batch, length, width) states -> a vector for each text.

    Args:
        states: States of the tokens.
        mask: (batch, length), 1 for tokens to keep; None keeps all.
        pooling: One of POOLING, or several.
        layers: Dense layers after the pooling, each with the name of its activation.
        normalize: If true, scales the vectors to length 1.
    """
    vectors = pooled(states, jnp.ones(states.shape[:2], jnp.int32) if mask is None else mask, pooling)
    for layer, activation in layers:
        vectors = layer(vectors)
        vectors = vectors if activation == IDENTITY else ACTIVATIONS[activation](vectors)
    length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / jnp.maximum(length, 1e-12) if normalize else vectors

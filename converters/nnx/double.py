"""NNX modules in float64, in which differences of arithmetic show."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

import jax
import jax.numpy as jnp
from flax import nnx

from converters.inspection import Path
from converters.nnx.target import NnxTarget
from converters.nnx.walk import layers_of


def doubled(module: nnx.Module, arrays: Iterable[tuple[Path, Any]]) -> nnx.Module:
    """Returns a copy of a module with arrays in float64, in eval mode, whose layers compute in it.

    Args:
        module: The module, concrete or abstract; it stays as it is.
        arrays: All of its arrays, by their paths.
    """
    state = NnxTarget.of(module).variables(arrays)
    # Mapped, variables are new ones, of the trace that runs: the module's own stay as they are.
    made: Any = nnx.merge(nnx.graphdef(module), jax.tree.map(lambda leaf: leaf, state))
    made.eval()
    for layer in layers_of(made):
        # Layers remember the dtype of the params that they were made with, and cells make carries in it.
        for name in ("dtype", "param_dtype"):
            if is_builtin(layer) and getattr(layer, name, None) == jnp.float32:
                setattr(layer, name, jnp.float64)
    return cast(nnx.Module, made)


def is_builtin(layer: Any) -> bool:
    """Returns whether a layer is one of NNX's, or extends one."""
    own = (each for each in type(layer).__mro__ if each not in nnx.Module.__mro__)
    return any(each.__module__.startswith("flax.nnx.") for each in own)


@contextmanager
def exact_attention() -> Iterator[None]:
    """Lets attention compute its softmax in the dtype of its inputs, where JAX's is in float32 at most."""
    original = jax.nn.dot_product_attention

    def attention(
        query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, **options: Any
    ) -> Any:
        causal, scale = options.pop("is_causal", False), options.pop("scale", None)
        if query.ndim != 4 or any(option is not None for option in options.values()):
            return original(query, key, value, bias, mask, is_causal=causal, scale=scale, **options)
        groups = query.shape[2] // key.shape[2]
        key, value = (jnp.repeat(each, groups, axis=2) for each in (key, value))
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * scale
        if bias is not None:
            scores += bias
        if causal:
            shown = jnp.tril(jnp.ones(scores.shape[-2:], bool))
            mask = shown if mask is None else mask & shown
        if mask is not None:
            scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
        return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)

    with mock.patch.object(jax.nn, "dot_product_attention", attention):
        yield

"""Initial values of single arrays of a linen module."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import meta
from flax.traverse_util import flatten_dict

from converters.inspection import Path
from converters.linen.inspect import split_arguments


def initial_values(
    module: nn.Module,
    paths: Sequence[Path],
    *inputs: Any,
    kwargs: Mapping[str, Any],
    rngs: Any,
    method: Callable[..., Any] | str | None,
) -> list[np.ndarray]:
    """Returns what `module.init` gives the arrays of these paths; no other array is computed.

    Args:
        module, kwargs, rngs, method: As for `inspect_module`.
        paths: Paths of the arrays, the collection first.
        inputs: Example arrays or `jax.ShapeDtypeStruct`s, for which zeros stand.
    """
    arrays, static = split_arguments(kwargs)

    def init(key: Any, inputs: Any, arrays: Any) -> list[Any]:
        tree = module.init(key, *inputs, method=method, **arrays, **static)
        flat = flatten_dict(meta.unbox(tree))
        return [flat[path] for path in paths]

    concrete = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf,
        (inputs, arrays),
    )
    made = jax.jit(init)(jax.random.key(0) if rngs is None else rngs, *concrete)
    return [np.asarray(array) for array in made]

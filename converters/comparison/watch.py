"""Tells of each call of a Flax layer, whichever its framework."""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from converters.comparison.calls import Call, Event, doubles
from converters.inspection import Path

Every = Callable[[Any, Path, Any], None]  # told of a layer, its path and its result
Recurrence = Literal["cell", "sequence", "both"]  # "both" is one sequence in two directions


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Tells of calls of layers while a model runs.

    Attributes:
        watched: Paths of the layers whose calls to tell.
        event: Told of every call of a watched layer.
        every: Told of every call of any layer.
        recurrence: Says which kind of recurrent layer one is, if any.
    """

    watched: Container[Path]
    event: Event
    every: Every
    recurrence: Callable[[Any], Recurrence | None]
    _ordered: list[tuple[set[int], list[Any]]] = field(default_factory=list)

    def call(self, layer: Any, path: Path, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Calls a layer, tells of it, and returns its result."""
        result = call(*args, **kwargs)
        self.every(layer, path, result)
        kind = self.recurrence(layer)
        if kind:
            self._ordered.append((set(map(id, _leaves(result))), _outputs(kind, result)))
        if path not in self.watched:
            return result
        # A cell takes its carry first, PyTorch's last.
        given = (args[1:], kwargs) if kind == "cell" else (args, kwargs)
        seen = list(islice(_leaves(given), 1)), _outputs(kind, result)
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(seen)):
            inputs, outputs = map(doubles, seen)
            self.event(path, Call(inputs=inputs, outputs=outputs))
            return result
        return _told_later(self.event, path, seen, result)

    def output(self, output: Any) -> Any:
        """Returns a model's output; in PyTorch's order where it is all that a recurrent layer returns."""
        returned = set(map(id, _leaves(output)))
        return next((ordered for leaves, ordered in self._ordered if leaves == returned), output)


def _told_later(event: Event, path: Path, seen: Any, result: Any) -> Any:
    """Returns the result of a call inside nn.vmap or nn.remat, whose numbers come later, once for each layer.

    They are told as a part of the result: Flax traces the body of nn.scan first, and refuses effects as
    dependencies.
    """

    outputs = [*_leaves(result)]
    taken = seen, outputs
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), taken)

    def told(words: Any) -> Any:
        (inputs, ordered), _ = jax.tree.map(_from_words, words, shapes)
        event(path, Call(inputs=doubles(inputs), outputs=doubles(ordered)))
        return words[1]

    words = jax.tree.map(_words, taken)
    returned = jax.pure_callback(told, words[1], words, vmap_method="sequential")
    left = iter(
        jax.lax.bitcast_convert_type(word, leaf.dtype) if _is_wide(leaf) else word
        for word, leaf in zip(returned, outputs, strict=True)
    )
    return jax.tree.map(lambda leaf: next(left) if hasattr(leaf, "shape") else leaf, result)


def _words(array: jax.Array) -> jax.Array:
    """Splits numbers of 64 bits into words of 32: a callback may run in a thread whose JAX has no float64."""
    return jax.lax.bitcast_convert_type(array, jnp.uint32) if _is_wide(array) else array


def _from_words(words: Any, array: jax.ShapeDtypeStruct) -> Any:
    return np.asarray(words).view(array.dtype)[..., 0] if _is_wide(array) else words


def _is_wide(array: Any) -> bool:
    return array.dtype in (jnp.float64, jnp.int64, jnp.uint64)


def _leaves(value: Any) -> Iterator[Any]:
    return (leaf for leaf in jax.tree.leaves(value) if hasattr(leaf, "shape"))


def _outputs(kind: Recurrence | None, result: Any) -> list[Any]:
    """Returns what a layer gives, in PyTorch's order: of a recurrent one the output, hidden and cell state.

    PyTorch keeps the states of all directions in one array; its cells give no output beside the hidden state.
    """
    if kind is None or not isinstance(result, tuple):
        return list(_leaves(result))
    carry, output = result
    if kind == "cell":
        return list(_states(carry))
    directions = carry if kind == "both" else (carry,)
    return [output, *(jnp.stack(each) for each in zip(*map(_states, directions), strict=True))]


def _states(carry: Any) -> tuple[Any, ...]:
    """Returns the hidden state, and an LSTM's cell state, which Flax puts before it."""
    return tuple(reversed(carry)) if isinstance(carry, tuple) else (carry,)

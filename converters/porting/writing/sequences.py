"""Modules and functions on sequences that Flax lacks; a file that needs one gets its source."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


class Recurrent(nn.Module):
    """Recurrent layers in one or two directions, with the weights of torch.nn.LSTM, GRU or RNN.

    Attributes:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        hidden_size: Features of a state.
        num_layers: Layers in the stack.
        bidirectional: Runs each layer forward and backward, and joins both.
        use_bias: Adds two biases to the gates.
        proj_size: Features that an LSTM's hidden state is projected to; 0 for none.
        dropout: Rate of dropout between layers.
        dtype: Type of numbers to compute in.
    """

    mode: str
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    use_bias: bool = True
    proj_size: int = 0
    dropout: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *states: jax.Array,
        train: bool = False,
    ) -> tuple[jax.Array, ...]:
        """(batch, length, features), states of layers and directions -> outputs, last states."""
        x = jnp.asarray(x, self.dtype)
        finals: list[tuple[jax.Array, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in ("", "_reverse")[: 1 + self.bidirectional]:
                initial = tuple(state[len(finals)] for state in states) or self._zeros(x)
                final, output = self._run(x, initial, f"_l{layer}{suffix}", reverse=bool(suffix))
                finals.append(final)
                outputs.append(output)
            x = jnp.concatenate(outputs, axis=-1)
            if layer + 1 < self.num_layers:
                x = nn.Dropout(self.dropout)(x, deterministic=not train)
        return x, *(jnp.stack(each) for each in zip(*finals, strict=True))

    def _zeros(self, x: jax.Array) -> tuple[jax.Array, ...]:
        sizes = [self.proj_size or self.hidden_size] + [self.hidden_size] * (self.mode == "LSTM")
        return tuple(jnp.zeros((len(x), size), x.dtype) for size in sizes)

    def _run(
        self, x: jax.Array, initial: tuple[jax.Array, ...], name: str, *, reverse: bool
    ) -> tuple[tuple[jax.Array, ...], jax.Array]:
        """Runs one layer in one direction."""
        features = {"LSTM": 4, "GRU": 3}.get(self.mode, 1) * self.hidden_size
        size = self.proj_size or self.hidden_size

        def weight(kind: str, *shape: int) -> jax.Array:
            made: jax.Array = self.param(f"{kind}{name}", nn.initializers.normal(size**-0.5), shape)
            return jnp.asarray(made, self.dtype)

        input_weight, state_weight = (
            weight("weight_ih", features, x.shape[-1]),
            weight("weight_hh", features, size),
        )
        input_bias, state_bias = (
            weight(kind, features) if self.use_bias else jnp.zeros(features, x.dtype)
            for kind in ("bias_ih", "bias_hh")
        )
        projection = weight("weight_hr", size, self.hidden_size) if self.proj_size else None

        weights = [input_weight, state_weight, input_bias, state_bias]
        return recur(x, initial, weights, projection, self.mode, reverse=reverse)


def recur(
    x: jax.Array,
    initial: Sequence[jax.Array],
    weights: Sequence[jax.Array],
    projection: jax.Array | None,
    mode: str,
    *,
    reverse: bool,
) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Runs a recurrent layer in one direction; the weights and biases are of input and state."""
    of_input, of_state, input_bias, state_bias = weights

    def step(
        state: tuple[jax.Array, ...],
        given: jax.Array,
    ) -> tuple[tuple[jax.Array, ...], jax.Array]:
        state = gated(given, state[0] @ of_state.T + state_bias, state, mode)
        if projection is not None:
            state = (state[0] @ projection.T, *state[1:])
        return state, state[0]

    given = x.swapaxes(0, 1) @ of_input.T + input_bias
    first = tuple(jnp.asarray(each, given.dtype) for each in initial)
    final, output = jax.lax.scan(step, first, given, reverse=reverse)
    return final, output.swapaxes(0, 1)


def gated(
    given: jax.Array,
    past: jax.Array,
    state: tuple[jax.Array, ...],
    mode: str,
) -> tuple[jax.Array, ...]:
    """Returns the next state, from what the input and the last state give to the gates."""
    if mode == "LSTM":
        i, f, g, o = jnp.split(given + past, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c
    if mode == "GRU":
        r, z, n = jnp.split(given, 3, axis=-1)
        past_r, past_z, past_n = jnp.split(past, 3, axis=-1)
        z = jax.nn.sigmoid(z + past_z)
        return ((1 - z) * jnp.tanh(n + jax.nn.sigmoid(r + past_r) * past_n) + z * state[0],)
    return (jax.nn.relu(given + past) if mode == "RNN_RELU" else jnp.tanh(given + past),)


def scatter_add(x: jax.Array, axis: int, index: jax.Array, source: jax.Array) -> jax.Array:
    """Adds numbers where an index says along one axis, as torch's scatter_add."""
    where: Sequence[jax.Array] = jnp.meshgrid(*map(jnp.arange, index.shape), indexing="ij")
    places = (*where[:axis], index, *where[axis + 1 :])
    return jnp.asarray(x).at[places].add(source[tuple(map(slice, index.shape))])


def scatter_reduce(
    x: jax.Array,
    axis: int,
    index: jax.Array,
    source: jax.Array,
    *,
    reduce: str,
    include_self: bool = True,
) -> jax.Array:
    """Reduces numbers to where an index says along one axis, as torch's scatter_reduce."""
    where: Sequence[jax.Array] = jnp.meshgrid(*map(jnp.arange, index.shape), indexing="ij")
    places = (*where[:axis], index, *where[axis + 1 :])
    source = source[tuple(map(slice, index.shape))]
    if not include_self:
        neutral = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -jnp.inf, "amin": jnp.inf}
        x = x.at[places].set(neutral[reduce])
    match reduce:
        case "prod":
            return x.at[places].multiply(source)
        case "amax":
            return x.at[places].max(source)
        case "amin":
            return x.at[places].min(source)
    total = x.at[places].add(source)
    if reduce == "sum":
        return total
    count = jnp.full(x.shape, int(include_self)).at[places].add(1)
    return total / jnp.maximum(count, 1)

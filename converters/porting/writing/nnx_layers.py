"""Modules of NNX that a file gets the source of, if it needs them."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from converters.porting.writing.sequences import recur


class BatchNorm(nnx.BatchNorm):
    """Batch norm with PyTorch's defaults and running variance: n / (n - 1) times the batch's."""

    def __init__(
        self,
        features: int,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        use_fast_variance: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        super().__init__(
            features,
            momentum=momentum,
            epsilon=epsilon,
            use_fast_variance=use_fast_variance,
            rngs=rngs,
            **options,
        )

    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """(..., features) -> the same shape."""
        before = self.var[...]
        out: jax.Array = super().__call__(x, use_running_average, mask=mask)
        average = self.use_running_average if use_running_average is None else use_running_average
        if not average:
            samples = x.size / x.shape[-1] if mask is None else mask.sum()
            after = self.var[...]
            self.var[...] = after + (after - self.momentum * before) / (samples - 1)
        return out


class GRUCell(nnx.Module):
    """One step of a gated recurrent unit, with the weights of torch.nn.GRUCell."""

    def __init__(self, in_features: int, features: int, *, rngs: nnx.Rngs) -> None:
        initial = nnx.initializers.normal(features**-0.5)
        self.weight_ih = nnx.Param(initial(rngs.params(), (3 * features, in_features)))
        self.weight_hh = nnx.Param(initial(rngs.params(), (3 * features, features)))
        self.bias_ih = nnx.Param(initial(rngs.params(), (3 * features,)))
        self.bias_hh = nnx.Param(initial(rngs.params(), (3 * features,)))

    def __call__(self, h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """State (batch, features), input (batch, in_features) -> the next state, twice."""
        given = x @ self.weight_ih[...].T + self.bias_ih[...]
        past = h @ self.weight_hh[...].T + self.bias_hh[...]
        r, z, n = jnp.split(given, 3, axis=-1)
        past_r, past_z, past_n = jnp.split(past, 3, axis=-1)
        z = nnx.sigmoid(z + past_z)
        h = (1 - z) * jnp.tanh(n + nnx.sigmoid(r + past_r) * past_n) + z * h
        return h, h


class Recurrent(nnx.Module):
    """Recurrent layers in one or two directions, with the weights of torch.nn.LSTM, GRU or RNN.

    Args:
        in_features: Features of the inputs.
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        hidden_size: Features of a state.
        num_layers: Layers in the stack.
        bidirectional: Runs each layer forward and backward, and joins both.
        use_bias: Adds two biases to the gates.
        proj_size: Features that an LSTM's hidden state is projected to; 0 for none.
        dropout: Rate of dropout between layers.
        rngs: Random streams.
    """

    def __init__(
        self,
        in_features: int,
        mode: str,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        use_bias: bool = True,
        proj_size: int = 0,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.mode, self.num_layers, self.use_bias = mode, num_layers, use_bias
        self.sizes = (proj_size or hidden_size, *[hidden_size] * (mode == "LSTM"))
        self.suffixes = ("", "_reverse")[: 1 + bidirectional]
        self.projects = bool(proj_size)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        features = {"LSTM": 4, "GRU": 3}.get(mode, 1) * hidden_size
        size = proj_size or hidden_size
        initial = nnx.initializers.normal(hidden_size**-0.5)
        for layer in range(num_layers):
            width = size * len(self.suffixes) if layer else in_features
            for suffix in self.suffixes:
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (features, width),
                    "weight_hh": (features, size),
                }
                if use_bias:
                    shapes |= {"bias_ih": (features,), "bias_hh": (features,)}
                if proj_size:
                    shapes["weight_hr"] = (size, hidden_size)
                for kind, shape in shapes.items():
                    weight = nnx.Param(initial(rngs.params(), shape))
                    setattr(self, f"{kind}_l{layer}{suffix}", weight)

    def __call__(self, x: jax.Array, *states: jax.Array) -> tuple[jax.Array, ...]:
        """(batch, length, features), states of layers and directions -> outputs, last states."""
        finals: list[tuple[jax.Array, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self.suffixes:
                zeros = tuple(jnp.zeros((len(x), size), x.dtype) for size in self.sizes)
                initial = tuple(state[len(finals)] for state in states) or zeros
                final, output = self._run(x, initial, f"_l{layer}{suffix}", reverse=bool(suffix))
                finals.append(final)
                outputs.append(output)
            x = jnp.concatenate(outputs, axis=-1)
            if layer + 1 < self.num_layers:
                x = self.dropout(x)
        return x, *(jnp.stack(each) for each in zip(*finals, strict=True))

    def _run(
        self, x: jax.Array, initial: tuple[jax.Array, ...], name: str, *, reverse: bool
    ) -> tuple[tuple[jax.Array, ...], jax.Array]:
        """Runs one layer in one direction."""
        weights = [getattr(self, f"weight_{kind}{name}")[...] for kind in ("ih", "hh")]
        biases: list[Any] = [0.0, 0.0]
        if self.use_bias:
            biases = [getattr(self, f"bias_{kind}{name}")[...] for kind in ("ih", "hh")]
        projection = getattr(self, f"weight_hr{name}")[...] if self.projects else None
        return recur(x, initial, [*weights, *biases], projection, self.mode, reverse=reverse)

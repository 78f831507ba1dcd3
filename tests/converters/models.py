"""Flax modules that the tests of converters inspect and convert."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np

X = np.zeros((2, 6), np.float32)


class Block(nn.Module):
    """Compact: its layers have no attributes."""

    @nn.compact
    def __call__(self, x: jax.Array, _: Any = None) -> tuple[jax.Array, None]:
        x = nn.Dense(x.shape[-1])(x)
        return nn.BatchNorm(use_running_average=False)(x), None


def scanned(axis: int, stats_axis: int = 0, length: int = 6) -> nn.Module:
    """As many blocks as the input has features, so that shapes alone do not tell the axes apart."""
    return nn.scan(
        nn.remat(Block),
        variable_axes={"params": axis, "batch_stats": stats_axis},
        split_rngs={"params": True},
        length=length,
    )()


class Names(nn.Module):
    """One layer for each way in which an attribute holds layers."""

    def setup(self) -> None:
        self.layer1 = [nn.Dense(6), nn.Dense(6)]
        self.ln_1 = nn.LayerNorm()
        self.heads = {"a": nn.Dense(6), "b": [nn.Dense(6)]}
        self.stem = nn.Sequential([nn.Dense(6), nn.relu, nn.Dense(6)])

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in (*self.layer1, self.ln_1, self.heads["a"], self.heads["b"][0], self.stem):
            x = layer(x)
        return x


class Scanned(nn.Module):
    axis: int = 0
    stats_axis: int = 0

    def setup(self) -> None:
        self.blocks = scanned(self.axis, self.stats_axis)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.blocks(x, None)[0]


class Nested(nn.Module):
    """A scan in a vmap, both over six."""

    def setup(self) -> None:
        inner = nn.scan(
            Block, variable_axes={"params": -1, "batch_stats": 0}, split_rngs={"params": True}, length=6
        )
        self.ensemble = nn.vmap(
            inner,
            variable_axes={"params": 1, "batch_stats": 0},
            split_rngs={"params": True},
            in_axes=(None, None),
            axis_size=6,
        )()

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.ensemble(x, None)[0]


class Compact(nn.Module):
    """Names its layers as it calls them."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(5, name="layers_0")(x)
        return nn.Dense(3, name="layers_1")(x)


class Tied(nn.Module):
    """One matrix embeds the words and scores them."""

    def setup(self) -> None:
        self.embed = nn.Embed(11, 6)
        self.body = nn.Dense(6)

    def __call__(self, ids: jax.Array) -> jax.Array:
        return self.embed.attend(self.body(self.embed(ids)))


class Shared(nn.Module):
    """One layer, called by two others."""

    def setup(self) -> None:
        self.inner = nn.Dense(6)
        self.first = Calls(self.inner)
        self.second = Calls(self.inner)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(self.first(x))


class Calls(nn.Module):
    layer: nn.Module

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layer(x)


def random_variables(module: nn.Module, *inputs: Any, seed: int = 0) -> Any:
    """Variables of the module's shapes, every value random."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda s: rng.normal(size=s.shape).astype(s.dtype), shapes)

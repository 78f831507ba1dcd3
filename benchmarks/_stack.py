"""The model of benchmarks/convert.py, and its checkpoint: `python -m benchmarks._stack FILE LAYERS`."""

import os
import sys

import flax.linen as nn
import jax
import numpy as np

import converters
from benchmarks.convert import WIDTH


class Stack(nn.Module):
    """As many layers as the environment says."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(int(os.environ["BENCHMARK_LAYERS"])):
            x = nn.Dense(WIDTH, use_bias=False)(x)
        return x


class Tensors(dict[str, np.ndarray]):
    """One random matrix under many names."""

    def __init__(self, layers: int) -> None:
        self.shapes = {f"Dense_{index}.weight": (WIDTH, WIDTH) for index in range(layers)}
        self.dtypes = dict.fromkeys(self.shapes, np.dtype(np.float32))
        super().__init__(
            dict.fromkeys(self.shapes, np.random.default_rng(0).random((WIDTH, WIDTH), np.float32))
        )


if __name__ == "__main__":
    converters.write_checkpoint(Tensors(int(sys.argv[2])), sys.argv[1])

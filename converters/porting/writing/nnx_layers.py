"""Modules of NNX that a file gets the source of, if it needs them."""

from typing import Any

import jax
from flax import nnx


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
        out = super().__call__(x, use_running_average, mask=mask)
        average = self.use_running_average if use_running_average is None else use_running_average
        if not average:
            samples = x.size / x.shape[-1] if mask is None else mask.sum()
            after = self.var[...]
            self.var[...] = after + (after - self.momentum * before) / (samples - 1)
        return out

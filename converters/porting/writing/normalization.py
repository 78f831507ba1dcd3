"""Batch norm that trains as PyTorch's; a file that needs it gets its source."""

import flax.linen as nn
import jax


class BatchNorm(nn.BatchNorm):
    """Batch norm with PyTorch's defaults and running variance: n / (n - 1) times the batch's."""

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_fast_variance: bool = False

    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """(..., features) -> the same shape."""
        fixed = self.use_running_average
        average = nn.merge_param("use_running_average", fixed, use_running_average)
        before: jax.Array = self.get_variable("batch_stats", "var")
        out: jax.Array = super().__call__(x, use_running_average, mask=mask)
        if not average and not self.is_initializing():
            samples = x.size / x.shape[-1] if mask is None else mask.sum()
            after: jax.Array = self.get_variable("batch_stats", "var")
            unbiased = after + (after - self.momentum * before) / (samples - 1)
            self.put_variable("batch_stats", "var", unbiased)
        return out

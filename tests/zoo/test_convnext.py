import jax
import jax.numpy as jnp
import numpy as np

from zoo.convnext.layers import ResponseNorm


def test_channels_of_zeros_have_gradients():
    """As torch.norm, whose gradient at zero is zero."""
    norm = ResponseNorm(2)
    x = jnp.array([[[[1.0, 0.0], [2.0, 0.0]]]])
    variables = norm.init(jax.random.key(0), x)
    gradients = jax.grad(lambda x: norm.apply(variables, x).sum())(x)
    np.testing.assert_array_equal(gradients, np.ones_like(x))  # at first the norm changes nothing


def test_sums_of_squares_beyond_float16_are_finite():
    x = jnp.full((1, 4, 4, 2), 300, jnp.float16)
    variables = {"params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)}}
    np.testing.assert_allclose(ResponseNorm(2).apply(variables, x), 2 * x, rtol=1e-3)

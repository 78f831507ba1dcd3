"""The networks in Flax, as their users write them: compact or in setup, with names of their own or none."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

Conv3 = partial(nn.Conv, kernel_size=(3, 3), padding=1)
Norm = partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)
LayerNorm = partial(nn.LayerNorm, epsilon=1e-5)
Up = partial(nn.ConvTranspose, kernel_size=(4, 4), strides=(2, 2), transpose_kernel=True)
gelu = partial(nn.gelu, approximate=False)


class DoubleConv(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.relu(Norm()(Conv3(self.width, use_bias=False)(x)))
        return x


class UNet(nn.Module):
    widths: tuple[int, ...] = (4, 8, 16)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        skips = []
        for width in self.widths:
            x = DoubleConv(width)(x)
            skips.append(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = DoubleConv(self.widths[-1] * 2)(x)
        for width in reversed(self.widths):
            up = nn.ConvTranspose(width, (2, 2), (2, 2), padding="VALID", transpose_kernel=True)
            x = DoubleConv(width)(jnp.concatenate([skips.pop(), up(x)], -1))
        return nn.Conv(1, (1, 1))(x)


class Generator(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first = nn.ConvTranspose(16, (4, 4), padding="VALID", use_bias=False, transpose_kernel=True)
        x = nn.relu(Norm()(first(x)))
        x = nn.relu(Norm()(Up(8, padding=2, use_bias=False)(x)))
        return jnp.tanh(Up(3, padding=2, use_bias=False)(x))


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        down = partial(nn.Conv, kernel_size=(4, 4), use_bias=False)
        x = nn.leaky_relu(down(8, strides=2, padding=1)(x), 0.2)
        x = nn.leaky_relu(Norm()(down(16, strides=2, padding=1)(x)), 0.2)
        return down(1, padding=0)(x)


class DCGAN(nn.Module):
    def setup(self) -> None:
        self.generator, self.discriminator = Generator(), Discriminator()

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.discriminator(self.generator(x))


class Tagger(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Embed(11, 8)(x)
        for _ in range(2):
            x = nn.Bidirectional(nn.RNN(nn.OptimizedLSTMCell(4)), nn.RNN(nn.OptimizedLSTMCell(4)))(x)
        return nn.Dense(5)(x)


class SqueezeExcite(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(nn.Dense(x.shape[-1] // 4)(x.mean((1, 2))))
        return x * nn.hard_sigmoid(nn.Dense(x.shape[-1])(y))[:, None, None]


class Bneck(nn.Module):
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.hard_swish(Norm()(nn.Conv(self.hidden, (1, 1), use_bias=False)(x)))
        y = Norm()(Conv3(self.hidden, feature_group_count=self.hidden, use_bias=False)(y))
        y = nn.hard_swish(SqueezeExcite()(y))
        return x + Norm()(nn.Conv(x.shape[-1], (1, 1), use_bias=False)(y))


class MobileNetV3(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.hard_swish(Norm()(Conv3(8, strides=2, use_bias=False)(x)))
        for hidden in (16, 24, 24, 16):
            x = Bneck(hidden)(x)
        x = nn.hard_swish(Norm()(nn.Conv(24, (1, 1), use_bias=False)(x))).mean((1, 2))
        return nn.Dense(5)(nn.hard_swish(nn.Dense(16)(x)))


class EfficientNet(nn.Module):
    """All in one, its layers in nested calls."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.silu(Norm()(Conv3(8, strides=2, use_bias=False)(x)))
        for expand in (1, 2, 2, 3):
            hidden, y = 8 * expand, x
            if expand > 1:
                y = nn.silu(Norm()(nn.Conv(hidden, (1, 1), use_bias=False)(y)))
            y = nn.silu(Norm()(Conv3(hidden, feature_group_count=hidden, use_bias=False)(y)))
            gate = nn.Conv(hidden, (1, 1))(nn.silu(nn.Conv(2, (1, 1))(y.mean((1, 2), keepdims=True))))
            x = x + Norm()(nn.Conv(8, (1, 1), use_bias=False)(y * nn.sigmoid(gate)))
        x = nn.silu(Norm()(nn.Conv(16, (1, 1), use_bias=False)(x)))
        return nn.Dense(5)(x.mean((1, 2)))


class ConvNeXtBlock(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        y = LayerNorm()(nn.Conv(width, (7, 7), padding=3, feature_group_count=width)(x))
        y = nn.Dense(width)(gelu(nn.Dense(4 * width)(y)))
        return x + y * self.param("layer_scale", nn.initializers.ones, (width,))


class ConvNeXt(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = LayerNorm()(nn.Conv(4, (4, 4), 4, padding=0)(x))
        for width in (4, 8, 16):
            if width > 4:
                x = nn.Conv(width, (2, 2), 2, padding=0)(LayerNorm()(x))
            for _ in range(2):
                x = ConvNeXtBlock()(x)
        return nn.Dense(5)(LayerNorm()(x.mean((1, 2))))


class VQVAE(nn.Module):
    """The residual stacks of its encoder and its decoder have the same shapes."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(4, (4, 4), 2, padding=1)(x))
        x = nn.relu(nn.Conv(8, (4, 4), 2, padding=1)(x))
        x = nn.Conv(4, (1, 1))(ResidualStack()(Conv3(8)(x)))
        codes = nn.Embed(16, 4, name="codebook")
        found = ((x[..., None, :] - codes.embedding) ** 2).sum(-1).argmin(-1)
        x = ResidualStack()(Conv3(8)(codes(found)))
        return Up(3, padding=2)(nn.relu(Up(4, padding=2)(x)))


class ResidualStack(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            width = x.shape[-1]
            y = Conv3(width // 2, use_bias=False)(nn.relu(x))
            x = x + nn.Conv(width, (1, 1), use_bias=False)(nn.relu(y))
        return nn.relu(x)


class ActorCritic(nn.Module):
    """Its actor is called first."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mean = nn.Dense(2)(jnp.tanh(nn.Dense(8)(jnp.tanh(nn.Dense(8)(x)))))
        logstd = self.param("log_std", nn.initializers.zeros, (1, 2))
        value = nn.tanh(nn.Dense(8)(x))
        value = nn.Dense(1)(nn.tanh(nn.Dense(8)(value)))
        return jnp.concatenate([mean, jnp.broadcast_to(logstd, mean.shape), value], -1)

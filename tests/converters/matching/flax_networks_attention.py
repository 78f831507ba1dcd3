"""Two of the ten networks in Flax: Swin in setup, CLIP compact."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

LayerNorm = partial(nn.LayerNorm, epsilon=1e-5)
gelu = partial(nn.gelu, approximate=False)


class WindowAttention(nn.Module):
    width: int
    heads: int = 2

    def setup(self) -> None:
        self.qkv, self.out = nn.Dense(3 * self.width), nn.Dense(self.width)
        self.bias_table = self.param("bias_table", nn.initializers.zeros, (9, self.heads))

    def __call__(self, x: jax.Array) -> jax.Array:
        side = jnp.stack(jnp.meshgrid(jnp.arange(2), jnp.arange(2), indexing="ij")).reshape(2, -1)
        index = (side[:, :, None] - side[:, None, :] + 1).transpose(1, 2, 0)
        bias = self.bias_table[index[..., 0] * 3 + index[..., 1]].transpose(2, 0, 1)
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        weights = nn.softmax(q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5 + bias)
        return self.out((weights @ v).swapaxes(1, 2).reshape(batch, length, width))


class SwinBlock(nn.Module):
    width: int

    def setup(self) -> None:
        self.attention = WindowAttention(self.width)
        self.before, self.after = LayerNorm(), LayerNorm()
        self.up, self.down = nn.Dense(4 * self.width), nn.Dense(self.width)

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, _ = x.shape
        windows = self.before(x).reshape(batch, height // 2, 2, width // 2, 2, -1).swapaxes(2, 3)
        y = self.attention(windows.reshape(-1, 4, self.width))
        x = x + y.reshape(windows.shape).swapaxes(2, 3).reshape(x.shape)
        return x + self.down(gelu(self.up(self.after(x))))


class Swin(nn.Module):
    width: int = 4

    def setup(self) -> None:
        self.embed, self.embed_norm = nn.Conv(self.width, (2, 2), 2, padding=0), LayerNorm()
        self.stage1 = [SwinBlock(self.width) for _ in range(2)]
        self.merge, self.merge_norm = nn.Dense(2 * self.width, use_bias=False), LayerNorm()
        self.stage2 = [SwinBlock(2 * self.width) for _ in range(2)]
        self.norm, self.head = LayerNorm(), nn.Dense(5)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.embed_norm(self.embed(x))
        for block in self.stage1:
            x = block(x)
        quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = self.merge(self.merge_norm(jnp.concatenate(quarters, -1)))
        for block in self.stage2:
            x = block(x)
        return self.head(self.norm(x).mean((1, 2)))


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        for _ in range(2):
            y = LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(2)(y, y)
            x = x + nn.Dense(width)(gelu(nn.Dense(4 * width)(LayerNorm()(x))))
        return x


class ImageTower(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(self.width, (4, 4), 4, padding=0, use_bias=False)(x)
        x = x.reshape(len(x), -1, self.width)
        token = self.param("cls", nn.initializers.zeros, (self.width,))
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), x], 1)
        x = x + self.param("pos", nn.initializers.zeros, x.shape[1:])
        x = LayerNorm()(Transformer()(LayerNorm()(x))[:, 0])
        return x @ self.param("projection", nn.initializers.zeros, (self.width, 6))


class TextTower(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Embed(11, self.width)(x)
        x = x + self.param("pos", nn.initializers.zeros, x.shape[1:])
        x = LayerNorm()(Transformer()(x)[:, -1])
        return x @ self.param("projection", nn.initializers.zeros, (self.width, 6))


class CLIP(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, images: jax.Array, texts: jax.Array) -> jax.Array:
        x, y = ImageTower(self.width)(images), TextTower(self.width)(texts)
        return jnp.exp(self.param("temperature", nn.initializers.zeros, ())) * x @ y.T

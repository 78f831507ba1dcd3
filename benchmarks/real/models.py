"""Flax models for checkpoints that others published, written as a user of `converters` would write them.

Every layer is declared in `setup()` under the name that the checkpoint uses, in lists where PyTorch has a
Sequential or a ModuleList. Images are (batch, height, width, channels).
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

import converters

# PyTorch's batch norm in evaluation mode; PyTorch calls this momentum 0.1.
BatchNorm = partial(
    nn.BatchNorm, use_running_average=True, momentum=0.9, epsilon=1e-5, use_fast_variance=False
)
Conv3x3 = partial(nn.Conv, kernel_size=(3, 3), padding=1)
max_pool = partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2))


class DigitCNN(nn.Module):
    """digit-recognizer-py: (batch, 28, 28, 1) -> (batch, 10) logits."""

    def setup(self) -> None:
        convs = [(Conv3x3(channels), nn.relu, max_pool) for channels in (32, 64, 128)]
        self.conv_layers = nn.Sequential([layer for each in convs for layer in each])
        self.fc_layers = nn.Sequential([nn.Dense(256), nn.relu, nn.Dense(10)])

    def __call__(self, images: jax.Array) -> jax.Array:
        x = self.conv_layers(images)
        return self.fc_layers(x.reshape(len(x), -1))


# The checkpoint flattens (channels, height, width), the model above (height, width, channels).
DIGIT_RULES = (converters.Unflatten("fc_layers.0.weight", (128, 3, 3)),)


class InvertedResidual(nn.Module):
    """Widens, convolves each channel alone, narrows."""

    channels: int
    stride: int
    expansion: int
    inputs: int

    def setup(self) -> None:
        hidden = self.inputs * self.expansion
        depthwise = Conv3x3(hidden, strides=self.stride, feature_group_count=hidden, use_bias=False)
        widen = [] if self.expansion == 1 else [[nn.Conv(hidden, (1, 1), use_bias=False), BatchNorm()]]
        narrow = [nn.Conv(self.channels, (1, 1), use_bias=False), BatchNorm()]
        self.conv = [*widen, [depthwise, BatchNorm()], *narrow]

    def __call__(self, x: jax.Array) -> jax.Array:
        *wide, narrow, norm = self.conv
        out = x
        for conv, bn in wide:
            out = nn.relu6(bn(conv(out)))
        out = norm(narrow(out))
        return x + out if out.shape == x.shape and self.stride == 1 else out


class MobileNetV2(nn.Module):
    """torchvision's, https://arxiv.org/abs/1801.04381: images -> (batch, num_classes) logits."""

    num_classes: int = 1000

    def setup(self) -> None:
        # expansion, channels, blocks, stride of the first (table 2)
        table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
        table += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
        blocks, inputs = [], 32
        for expansion, channels, count, stride in table:
            for index in range(count):
                blocks.append(InvertedResidual(channels, 1 if index else stride, expansion, inputs))
                inputs = channels
        stem = [Conv3x3(32, strides=2, use_bias=False), BatchNorm()]
        self.features = [stem, *blocks, [nn.Conv(1280, (1, 1), use_bias=False), BatchNorm()]]
        self.classifier = [nn.Dropout(0.2, deterministic=True), nn.Dense(self.num_classes)]

    def __call__(self, images: jax.Array) -> jax.Array:
        (conv, bn), *blocks, (last, last_bn) = self.features
        x = nn.relu6(bn(conv(images)))
        for block in blocks:
            x = block(x)
        x = nn.relu6(last_bn(last(x))).mean((1, 2))
        for layer in self.classifier:
            x = layer(x)
        return x


def image_mlp() -> nn.Sequential:
    """GeoCLIP's head for CLIP's image features: (batch, 768) -> (batch, 512)."""
    return nn.Sequential([nn.Dense(768), nn.relu, nn.Dense(512)])


class GaussianEncoding(nn.Module):
    """Random Fourier features, https://arxiv.org/abs/2006.10739."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b = self.param("b", nn.initializers.normal(), (256, 2))
        angles = 2 * jnp.pi * x @ b.T
        return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class LocationCapsule(nn.Module):
    def setup(self) -> None:
        hidden = [layer for _ in range(3) for layer in (nn.Dense(1024), nn.relu)]
        self.capsule = nn.Sequential([GaussianEncoding(), *hidden])
        self.head = nn.Sequential([nn.Dense(512)])

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.capsule(x))


class LocationEncoder(nn.Module):
    """GeoCLIP's: (batch, 2) latitudes and longitudes in degrees -> (batch, 512)."""

    def setup(self) -> None:
        self.LocEnc = [LocationCapsule() for _ in range(3)]

    def __call__(self, degrees: jax.Array) -> jax.Array:
        x = equal_earth(degrees)
        return sum((encoder(x) for encoder in self.LocEnc[1:]), self.LocEnc[0](x))


def equal_earth(degrees: jax.Array) -> jax.Array:
    """Latitude and longitude -> coordinates on the Equal Earth map, scaled as GeoCLIP scales them."""
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    latitude, longitude = jnp.deg2rad(degrees).T
    theta = jnp.arcsin(math.sqrt(3) / 2 * jnp.sin(latitude))
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    x = 2 * math.sqrt(3) * longitude * jnp.cos(theta) / (3 * slope)
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return jnp.stack([x, y], axis=1) * 66.50336 / 180

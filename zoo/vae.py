"""Class-conditional variational autoencoder with dense layers.

Kingma and Welling, https://arxiv.org/abs/1312.6114; the architecture and its defaults are those of
A. McKinney, "Easy JAX training loops with Flax and Optax", on MNIST.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from zoo._errors import ZooError
from zoo._loading.given import Given, model_of
from zoo._model import Model
from zoo._nn.images import check_floats, flattened
from zoo._nn.indices import check_range, known
from zoo._nn.layers import ACTIVATIONS, check_activation
from zoo._registry.entry import Input


class FeedForward(nn.Module):
    """Dense layers with an activation after each, which may be another one after the last."""

    features: tuple[int, ...]
    activation: str
    last_activation: str
    dtype: DTypeLike | None

    def setup(self) -> None:
        self.layers = [nn.Dense(features, dtype=self.dtype) for features in self.features]

    def __call__(self, x: jax.Array) -> jax.Array:
        *hidden, last = self.layers
        for layer in hidden:
            x = ACTIVATIONS[self.activation](layer(x))
        return ACTIVATIONS[self.last_activation](last(x))


class VAE(nn.Module):
    """Conditional VAE: the decoder also reads the class; noise comes from the RNG stream "noise"."""

    input_shape: tuple[int, ...]
    encoder_features: tuple[int, ...]
    decoder_features: tuple[int, ...]
    latent_dim: int
    num_classes: int
    activation: str
    output_activation: str
    dtype: DTypeLike | None = None

    def setup(self) -> None:
        width = self.encoder_features[-1]
        self.encoder = FeedForward(
            features=self.encoder_features,
            activation=self.activation,
            last_activation=self.activation,
            dtype=self.dtype,
        )
        self.pre_latent = nn.Dense(2 * self.latent_dim, dtype=self.dtype)
        self.post_latent = nn.Dense(width, dtype=self.dtype)
        self.class_proj = nn.Dense(width, dtype=self.dtype)
        self.decoder = FeedForward(
            features=(*self.decoder_features, math.prod(self.input_shape)),
            activation=self.activation,
            last_activation=self.output_activation,
            dtype=self.dtype,
        )

    def encode(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(batch, *input_shape) images in [0, 1] -> mean and logvar, each (batch, latent_dim).

        Raises:
            ZooError: images of another shape, or integers.
        """
        x = flattened(images, self.input_shape, name="images")
        check_floats(x.dtype, "images")
        mean, logvar = jnp.split(self.pre_latent(self.encoder(x)), 2, axis=-1)
        return mean, logvar

    def reparameterize(self, mean: jax.Array, logvar: jax.Array) -> jax.Array:
        """Draws (batch, latent_dim) latents with rngs={"noise": key} (section 2.4 of the paper)."""
        noise = jax.random.normal(self.make_rng("noise"), mean.shape, mean.dtype)
        return mean + noise * jnp.exp(0.5 * logvar)

    def decode(self, latents: jax.Array, labels: jax.Array) -> jax.Array:
        """(batch, latent_dim) latents and (batch,) class indices -> (batch, *input_shape) images.

        The images are means of a Gaussian: between 0 and 1 where the decoder ends with a sigmoid, not below 0
        but here and there above 1 where it ends with a ReLU.

        Raises:
            ZooError: a label that the model has no class for, unless it is compiled.
        """
        last = self.num_classes - 1
        check_range(known(labels), self.num_classes, "labels", f"the classes are 0 to {last}.")
        classes = jax.nn.one_hot(labels, self.num_classes, dtype=latents.dtype)
        x = self.decoder(self.post_latent(latents) + self.class_proj(classes))
        return x.reshape(-1, *self.input_shape)

    def __call__(
        self, images: jax.Array, labels: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Images and class indices -> reconstructed images, mean and logvar."""
        mean, logvar = self.encode(images)
        return self.decode(self.reparameterize(mean, logvar), labels), mean, logvar


def create(
    *,
    input_shape: Sequence[int] = (28, 28, 1),
    encoder_features: Sequence[int] = (256, 128, 64),
    decoder_features: Sequence[int] = (128, 256),
    latent_dim: int = 32,
    num_classes: int = 10,
    activation: str = "relu",
    output_activation: str | None = None,
    dtype: DTypeLike | None = None,
) -> VAE:
    """Builds a VAE; the defaults are the article's.

    A decoder that ends with a ReLU, as the article's, loses pixels for good: one whose input is negative for
    every latent gets no gradient, and is black in every image. One that ends with a sigmoid does not.

    Args:
        input_shape: Shape of an image: (height, width, channels).
        encoder_features: Sizes of the encoder's dense layers.
        decoder_features: Sizes of the decoder's hidden layers.
        latent_dim: Size of the latent.
        num_classes: Number of classes, which the decoder is conditioned on.
        activation: Name of the activation, one of ACTIVATIONS.
        output_activation: Name of the activation after the decoder's last layer; by default `activation`.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: no such activation.
    """
    return VAE(
        input_shape=tuple(input_shape),
        encoder_features=tuple(encoder_features),
        decoder_features=tuple(decoder_features),
        latent_dim=latent_dim,
        num_classes=num_classes,
        activation=check_activation(activation),
        output_activation=check_activation(output_activation or activation),
        dtype=dtype,
    )


def inputs(module: VAE, examples: tuple[Input, ...]) -> tuple[Input, ...]:
    """Returns the inputs with the module's shape of images."""
    images, *rest = examples
    return (replace(images, shape=(*images.shape[:1], *module.input_shape)), *rest)


def sample(model: Given, labels: ArrayLike | Sequence[int], *, seed: int = 0) -> jax.Array:
    """Draws images: (batch, *input_shape), in [0, 1].

    Args:
        model: A model of this family, or a name, as for `load`, whose weights are then loaded.
        labels: Class index of each image, or of the only one.
        seed: Seed of the latents.

    Raises:
        ZooError: a model of another family, or a label that the model has no class for.
    """
    model = model_of(model)
    if not isinstance(model.module, VAE):
        raise ZooError(f"{model.name!r} is no VAE and draws no images; zoo.load('vae_mnist') does.")
    classes = np.atleast_1d(labels)
    if classes.ndim > 1 or not np.issubdtype(classes.dtype, np.integer):
        raise ZooError(f"labels are {classes.dtype} {classes.shape}; expected class indices, such as [3, 8].")
    wrong = classes[(classes < 0) | (classes >= model.module.num_classes)]
    if wrong.size:
        raise ZooError(f"no class {wrong[0]}; the classes are 0 to {model.module.num_classes - 1}.")
    latents = jax.random.normal(jax.random.key(seed), (len(classes), model.module.latent_dim))
    images: jax.Array = _decode(model, latents, classes)
    return images


@jax.jit
def _decode(model: Model, latents: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.clip(model(latents, labels, method="decode"), 0, 1)

"""Training tasks: for each, the measures of every example, of which `loss` is minimised.

Inputs are those of the model, made by `as_input`.

The same function serves training and evaluation, so both report the same units.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from zoo._nn.outputs import TrainingLogits
from zoo._registry.entry import Entry, Photos
from zoo._registry.recipes import Recipe
from zoo.training.data import Examples

Variables: TypeAlias = Mapping[str, Any]
# Measures, each (batch,), and the collections that the model changed, such as batch_stats.
Measured: TypeAlias = tuple[dict[str, jax.Array], Variables]
Logits: TypeAlias = tuple[Any, Variables]
Measure: TypeAlias = Callable[..., Measured]
IMAGE_AXES = 4  # batch, height, width, channels
AUXILIARY = (
    0.3  # weight of an auxiliary head's loss: Szegedy et al., https://arxiv.org/abs/1409.4842, section 5
)


VALIDATION = "validation_"  # before the names of measures of held-out examples


@dataclass(frozen=True)
class Task:
    """A function that measures examples, and the measure that selects the best epoch."""

    measure: Measure
    best: str
    highest: bool

    def score(self, measures: Mapping[str, float]) -> tuple[float, float]:
        """Returns what is higher for a better epoch.

        Of equal accuracies the lower loss is better: of few examples many epochs have the same accuracy, and
        the loss says which one is surer.

        Args:
            measures: Measures of the held-out examples, by their names in a run's metrics.
        """
        best = measures[f"{VALIDATION}{self.best}"]
        return (best if self.highest else -best, -measures[f"{VALIDATION}loss"])


def image_logits(module: nn.Module, variables: Variables, images: jax.Array, **options: Any) -> Logits:
    """Returns a classifier's logits, or TrainingLogits, and the collections that it changed."""
    return _apply(module, variables, images, **options)


def text_logits(module: nn.Module, variables: Variables, inputs: jax.Array, **options: Any) -> Logits:
    """Returns the same for a text classifier; `inputs` are (batch, 2, length): tokens and their mask."""
    output, changed = _apply(module, variables, inputs[:, 0], inputs[:, 1], **options)
    return output.logits, changed


def classification(
    module: nn.Module,
    variables: Variables,
    examples: Examples,
    key: jax.Array,
    recipe: Recipe,
    *,
    train: bool,
    logits_of: Callable[..., Any] = image_logits,
) -> Measured:
    """Computes cross-entropy in nats, with smoothed labels in training only, and accuracy.

    In training, that of auxiliary heads is added, weighted.
    """
    inputs, mode = jnp.asarray(examples.inputs), train and not recipe.frozen
    output, changed = logits_of(module, variables, inputs, train=mode, rngs={"dropout": key})
    logits, auxiliary = output if isinstance(output, TrainingLogits) else (output, ())
    targets = jax.nn.one_hot(examples.labels, logits.shape[-1], dtype=logits.dtype)
    if train:
        targets = optax.smooth_labels(targets, recipe.label_smoothing)
    loss = optax.softmax_cross_entropy(logits, targets)
    for each in auxiliary:
        loss += AUXILIARY * optax.softmax_cross_entropy(each, targets)
    return {
        "loss": loss,
        "accuracy": (logits.argmax(-1) == examples.labels).astype(logits.dtype),
    }, changed


def autoencoding(
    module: nn.Module,
    variables: Variables,
    examples: Examples,
    key: jax.Array,
    recipe: Recipe,
    *,
    train: bool,
) -> Measured:
    """Computes a VAE's loss: half the squared error over all pixels plus weighted KL divergence, in nats.

    The KL divergence may have another weight in training, as labels are smoothed in training only.
    """
    pixels = jnp.asarray(examples.inputs)
    (images, mean, logvar), changed = _apply(
        module, variables, pixels, jnp.asarray(examples.labels), train=train, rngs={"noise": key}
    )
    reconstruction = 0.5 * ((images - pixels) ** 2).sum((1, 2, 3))
    kl = 0.5 * (jnp.exp(logvar) + mean**2 - 1 - logvar).sum(-1)
    weight = (train and recipe.train_kl_weight) or recipe.kl_weight
    loss = reconstruction + weight * kl
    return {"loss": loss, "reconstruction": reconstruction, "kl": kl}, changed


def next_token(
    module: nn.Module,
    variables: Variables,
    examples: Examples,
    key: jax.Array,
    recipe: Recipe,
    *,
    train: bool,
) -> Measured:
    """Computes cross-entropy in nats per token, and accuracy, both averaged over the window."""
    tokens = jnp.asarray(examples.inputs)
    output, changed = _apply(module, variables, tokens, train=train, rngs={"dropout": key})
    logits = output.logits
    return {
        "loss": optax.softmax_cross_entropy_with_integer_labels(logits, examples.labels).mean(-1),
        "accuracy": (logits.argmax(-1) == examples.labels).astype(logits.dtype).mean(-1),
    }, changed


LOGITS: Mapping[str, Callable[..., Logits]] = {
    "classification": image_logits,
    "text_classification": text_logits,
}
TASKS = {
    "classification": Task(classification, best="accuracy", highest=True),
    "text_classification": Task(
        partial(classification, logits_of=text_logits), best="accuracy", highest=True
    ),
    "vae": Task(autoencoding, best="loss", highest=False),
    "next_token": Task(next_token, best="loss", highest=False),
}


def _apply(
    module: nn.Module, variables: Variables, *inputs: jax.Array, train: bool, rngs: Variables
) -> tuple[Any, Variables]:
    mutable = [name for name in variables if name != "params"] if train else []
    outputs, changed = module.apply(variables, *inputs, train=train, rngs=dict(rngs), mutable=mutable)
    # Losses and means of bfloat16 would have two digits.
    return jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), outputs), changed


def as_input(examples: Examples, entry: Entry | None) -> Examples:
    """Scales images to [0, 1], and normalises them for a model of photos; returns tokens unchanged."""
    if examples.inputs.ndim != IMAGE_AXES:
        return examples
    pixels = jnp.asarray(examples.inputs, jnp.float32) / 255
    if entry and isinstance(entry.preprocess, Photos):
        pixels = (pixels - jnp.array(entry.preprocess.mean)) / jnp.array(entry.preprocess.std)
    return examples._replace(inputs=pixels)

"""A model for those who write NNX, and the way back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from zoo._loading import nnx_model
from zoo._loading.given import Given, model_of
from zoo._model import Model

if TYPE_CHECKING:
    from flax import nnx


def to_nnx(model: Given, rngs: "nnx.Rngs | None" = None, *, inputs: Sequence[Any] = ()) -> "nnx.Module":
    """Returns the model as an NNX module with a module for each layer; they share its arrays.

    The modules have the names of linen's, lists are lists, and each runs what linen runs. Layers that NNX has
    are NNX's: `nnx.Linear`, `nnx.Conv`, `nnx.LayerNorm`. It is in eval mode; `train()` changes that.

    Args:
        model: Any model, or a name, as for `load`, whose weights are then loaded.
        rngs: For dropout and other random numbers; by default from seed 0.
        inputs: Example inputs, or `jax.ShapeDtypeStruct`s, for a module of your own without a record.

    Examples:
        >>> module = zoo.to_nnx("resnet18")
        >>> logits = nnx.jit(lambda module, images: module(images))(module, images)
        >>> module.fc = nnx.Linear(512, 37, rngs=nnx.Rngs(0))
        >>> zoo.save(module, "./mine")

    Raises:
        ZooError: nobody knows what the module takes.
    """
    return cast("nnx.Module", nnx_model.nnx_model(model_of(model), rngs, inputs).module)


def from_nnx(module: "nnx.Module") -> Model:
    """Returns the linen model of a module of `to_nnx` or `load`, or of a part of one; shares its arrays.

    A replaced head for another number of classes gives a model with as many.

    Raises:
        ZooError: it was not made of a linen module, or layers were replaced by ones with other arrays.
    """
    return nnx_model.from_nnx(module)

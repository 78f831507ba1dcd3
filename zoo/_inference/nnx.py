"""A model for those who write NNX."""

from typing import TYPE_CHECKING

from zoo._loading.given import Given, model_of

if TYPE_CHECKING:
    from flax import nnx


def to_nnx(model: Given, rngs: "nnx.Rngs | None" = None) -> "nnx.Module":
    """The model as an NNX module, `nnx.bridge.ToNNX`, that shares its arrays; call it as the linen one.

    Its params are `nnx.Param`s and its running statistics `nnx.BatchStat`s, under the names of the layers. In
    train mode pass `mutable=["batch_stats"]`, which it keeps.

    Args:
        model: Any model, or a name, as for `load`, whose weights are then loaded.
        rngs: For its random streams, such as "dropout".
    """
    from flax import nnx  # it imports Optax, which loading does without

    model = model_of(model)
    wrapped = nnx.bridge.ToNNX(model.module, rngs)
    for name, layer in nnx.bridge.variables.linen_vars_to_nnx_attrs(dict(model.variables)).items():
        setattr(wrapped, name, nnx.data(layer))
    return wrapped

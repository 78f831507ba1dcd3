"""Maps of features by their size, as detectors and decoders take them."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from zoo._errors import ZooError
from zoo._model import Model


def maps_of_levels(
    model: Model, inputs: Sequence[Any], levels: int | Sequence[int], kwargs: Mapping[str, Any]
) -> dict[int, jax.Array]:
    """Returns the last map of each reduction: what an image's sides are divided by.

    Nothing behind the last of them is computed. The module of an architecture that has such maps has `levels`
    (see zoo._nn.stages), and a field `out_indices`, which counts these.

    Args:
        model: A linen model.
        inputs: As the model takes them.
        levels: A reduction, or several.
        kwargs: As the model takes them.

    Raises:
        ZooError: the model has no maps, or none of such a reduction.
    """
    wanted = [levels] if isinstance(levels, int) else list(levels)
    known = getattr(model.module, "levels", ())
    if not known:
        raise ZooError(
            f"{model.name} has no maps of several sizes; layers= gives the outputs of its layers, and a ViT "
            "of head='maps' those of its blocks."
        )
    if "mutable" in kwargs:
        raise ZooError(
            "levels= and mutable= exclude each other; zoo.load(..., head='maps') updates statistics."
        )
    last = {level.reduction: index for index, level in enumerate(known)}
    lacking = [level for level in wanted if level not in last]
    if lacking or not wanted:
        raise ZooError(f"levels={levels!r}: {model.name} has maps of {', '.join(map(str, last))}.")
    indices = sorted({last[level] for level in wanted})
    module = model.module.clone(out_indices=tuple(indices))
    maps = Model(module, model.variables, model.entry)(*inputs, **kwargs)
    found = {known[index].reduction: each for index, each in zip(indices, maps, strict=True)}
    return {level: found[level] for level in wanted}

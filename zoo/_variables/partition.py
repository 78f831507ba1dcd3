"""Parts of a model's variables: labelled by path, or put in from another model."""

from collections.abc import Mapping
from typing import Any

import jax

from zoo._errors import ZooError
from zoo._model import Model
from zoo._variables.check import differences
from zoo._variables.tree import flatten, matches, unflatten


def partition(variables: Mapping[str, Any], groups: Mapping[str, str]) -> dict[str, Any]:
    """Labels each param, in a tree like that of the params, as `optax.multi_transform` takes it.

    Args:
        variables: Variables of a model.
        groups: Label -> regular expression for paths without the collection, such as `fc|layer4`, which means
            all that is in there. A param has the first label whose expression matches.

    Raises:
        ZooError: a param without a label, or an expression that matches nothing.
    """
    labels: dict[str, str] = {}
    unlabelled, unused = [], set(groups)
    for path in flatten(variables["params"]):
        parts = path.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        fitting = [
            label for label, pattern in groups.items() if any(matches(pattern, each) for each in above)
        ]
        if fitting:
            labels[path] = fitting[0]
        else:
            unlabelled.append(path)
        unused.difference_update(fitting)
    if unlabelled:
        shown = ", ".join(sorted(unlabelled)[:5]) + (" ..." if len(unlabelled) > 5 else "")
        raise ZooError(f"{shown}: in no group; a last one of '.*' takes what is left.")
    if unused:
        texts = ", ".join(f"{label!r} ({groups[label]!r})" for label in sorted(unused))
        raise ZooError(f"no param is in {texts}; there are {', '.join(variables['params'])}.")
    return unflatten(labels)


def graft(variables: Mapping[str, Any], part: Model | Mapping[str, Any], *, at: str) -> dict[str, Any]:
    """Replaces a layer's variables by those of a pretrained part, in every collection; nothing is copied.

    Args:
        variables: Variables of a module that has the part as a layer.
        part: The pretrained part, or its variables.
        at: Path of the layer, such as `backbone` or `encoder/backbone`.

    Raises:
        ZooError: the part does not fit the layer: names, shapes or kinds of dtype differ.
    """
    given = flatten(part if isinstance(part, Mapping) else part.variables)
    placed = {_moved(path, at): array for path, array in given.items()}
    whole = flatten(variables)
    there = {
        path: jax.ShapeDtypeStruct(array.shape, array.dtype)
        for path, array in whole.items()
        if f"{path.split('/', 1)[1]}/".startswith(f"{at}/")
    }
    problems = [*differences(placed, there)]
    if problems:
        lines = "".join(f"\n  {line}" for line in problems)
        raise ZooError(f"the part does not fit at {at!r}:{lines}")
    return unflatten(whole | placed)


def _moved(path: str, at: str) -> str:
    collection, _, rest = path.partition("/")
    return f"{collection}/{at}/{rest}"

"""Parts of a model's variables: labelled by path, or put in from another model."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax

from zoo._errors import ZooError
from zoo._model import Model
from zoo._registry.schema import suggest
from zoo._variables.check import differences
from zoo._variables.tree import flatten, matches, unflatten


def partition(variables: Model | Mapping[str, Any], groups: Mapping[str, str]) -> dict[str, Any]:
    """Labels each param, in a tree like that of the params, as `optax.multi_transform` takes it.

    Args:
        variables: Variables of a model, or the model.
        groups: Label -> regular expression for paths without the collection, such as `fc|layer4`, which means
            all that is in there. A param has the first label whose expression matches.

    Raises:
        ZooError: a param without a label, or an expression that matches nothing.
    """
    params = _variables(variables).get("params")
    if params is None:
        raise ZooError("the variables have no collection 'params'; pass all variables of a model.")
    if not isinstance(groups, Mapping):
        raise ZooError(f"groups are {groups!r}; expected a mapping, such as {{'head': 'fc', 'rest': '.*'}}.")
    labels: dict[str, str] = {}
    unlabelled, unused = [], set(groups)
    for path in flatten(params):
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
        raise ZooError(f"no param is in {texts}; there are {', '.join(params)}.")
    return unflatten(labels)


def graft(
    variables: Model | Mapping[str, Any], part: Model | Mapping[str, Any], *, at: str
) -> dict[str, Any]:
    """Replaces a layer's variables by those of a pretrained part, in every collection; nothing is copied.

    Args:
        variables: Variables of a module that has the part as a layer, or that model.
        part: The pretrained part, or its variables.
        at: Path of the layer, such as `backbone` or `encoder/backbone`.

    Raises:
        ZooError: there is no such layer, or the part does not fit it: names, shapes or kinds of dtype differ.
    """
    placed = {_moved(path, at): array for path, array in flatten(_variables(part)).items()}
    whole = flatten(_variables(variables))
    there = {
        path: jax.ShapeDtypeStruct(array.shape, array.dtype)
        for path, array in whole.items()
        if f"{path.split('/', 1)[1]}/".startswith(f"{at}/")
    }
    if not there:
        raise ZooError(f"no layer is {at!r}{_near(at, whole)}")
    problems = [*differences(placed, there)]
    if problems:
        lines = "".join(f"\n  {line}" for line in problems)
        raise ZooError(f"the part does not fit at {at!r}:{lines}")
    return unflatten(whole | placed)


def _variables(given: Any) -> Mapping[str, Any]:
    """Returns the variables of a model, or those that were given.

    Raises:
        ZooError: it is something else, such as a name.
    """
    found = given.variables if isinstance(given, Model) else given
    if not isinstance(found, Mapping):
        kind = f"the name {given!r}" if isinstance(given, str) else type(given).__name__
        raise ZooError(f"found {kind}, expected a model or its variables, such as zoo.load makes of a name.")
    return found


def _near(at: str, whole: Iterable[str]) -> str:
    """Returns what else the path of a layer may be."""
    depth = at.count("/") + 1
    above = {"/".join(path.split("/")[1:-1][:depth]) for path in whole} - {""}
    return suggest(at, sorted(above)) or f"; there are {', '.join(sorted(above))}."


def _moved(path: str, at: str) -> str:
    collection, _, rest = path.partition("/")
    return f"{collection}/{at}/{rest}"

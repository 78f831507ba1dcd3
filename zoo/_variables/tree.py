"""Nested variables as a flat mapping of paths, and back."""

import re
from collections.abc import Mapping
from typing import Any

import jax

from zoo._errors import WeightsError, ZooError
from zoo._variables.quantized import is_quantized


def flatten(variables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings to one of paths (`params/encoder/layers_0/kernel`), in their order."""
    flat: dict[str, Any] = {}
    for name, value in variables.items():
        if not isinstance(name, str) or "/" in name:
            raise WeightsError(f"{prefix}{name!r} cannot be a path; names are text without '/'.")
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nests a mapping of paths: the inverse of `flatten`."""
    variables: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        inner = variables
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    return variables


def count_params(variables: Mapping[str, Any]) -> int:
    """Counts the numbers that the params hold; the arrays may be shapes only."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables.get("params", {}), is_leaf=is_quantized))


def matches(pattern: str, path: str) -> bool:
    """Returns whether a regular expression matches the path, or all but the index of a list's last layer.

    Raises:
        ZooError: it is no regular expression.
    """
    try:
        return re.fullmatch(rf"(?:{pattern})(_\d+)?", path) is not None
    except re.error as error:
        raise ZooError(f"{pattern!r} is no regular expression: {error}") from error

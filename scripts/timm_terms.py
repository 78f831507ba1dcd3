"""Terms of timm and of the zoo for the same: options taken out of a dict, and what a model is of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

Options: TypeAlias = dict[str, Any]
Sides: TypeAlias = tuple[int, int]  # height and width of the images, in pixels


class Model(NamedTuple):
    """A model of timm in the zoo's terms."""

    family: str
    config: Mapping[str, Any]
    layout: str = "timm"


class UnknownOptionError(Exception):
    """A model needs what the zoo does not have."""


def renamed(options: Options, names: Mapping[str, str]) -> dict[str, Any]:
    """Takes options out that the zoo has by other names."""
    return {name: options.pop(theirs) for theirs, name in names.items() if theirs in options}


def side_of(sides: Sides) -> int | list[int]:
    """Returns the side of a square, or height and width."""
    return sides[0] if sides[0] == sides[1] else [*sides]


def name_of(value: Any) -> str:
    """Returns the name of a class of layers or activations, or of the one that a partial calls."""
    return str(getattr(getattr(value, "func", value), "__name__", value))


def epsilon(options: Options, kind: str = "LayerNorm") -> dict[str, float]:
    """Takes a norm of one kind out, which differs in its epsilon alone."""
    norm = options.get("norm_layer")
    if norm is None or name_of(norm) != kind or {*norm.keywords} != {"eps"}:
        return {}
    return {"epsilon": options.pop("norm_layer").keywords["eps"]}

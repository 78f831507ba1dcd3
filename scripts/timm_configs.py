"""Models of timm as the zoo's: a family, the keywords of its `create`, and a layout.

timm builds a model by calling a class with options. For each class there is a function here that takes the
options that it understands out of a dict, and says what they are in the zoo; an option that is left means
something that the zoo does not have.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from zoo._registry import families

Options: TypeAlias = dict[str, Any]
Sides: TypeAlias = tuple[int, int]  # height and width of the images, in pixels

# What changes neither arrays nor numbers.
IRRELEVANT = (
    "pretrained_filter_fn",
    "pretrained_strict",
    "pretrained_cfg",
    "feature_cfg",
    "features_only",
    "kwargs_filter",
    "dynamic_img_size",
    "zero_init_last",
)


class Model(NamedTuple):
    """A model of timm in the zoo's terms."""

    family: str
    config: Mapping[str, Any]
    layout: str = "timm"


class UnknownOptionError(Exception):
    """A model needs what the zoo does not have."""


def model(kind: str, options: Mapping[str, Any], sides: Sides, num_classes: int) -> Model:
    """Returns what a model of timm is in the zoo.

    Args:
        kind: Name of timm's class.
        options: Its keywords.
        sides: Height and width of the images.
        num_classes: Number of logits.

    Raises:
        UnknownOptionError: the zoo does not have it.
    """
    if kind not in KINDS:
        raise UnknownOptionError(kind)
    left = {name: value for name, value in options.items() if name not in IRRELEVANT}
    found = KINDS[kind](left, sides)
    if left:
        raise UnknownOptionError(", ".join(sorted(f"{name}={_short(value)}" for name, value in left.items())))
    return found._replace(config=_told(found.family, {**found.config, "num_classes": num_classes}))


def _short(value: Any) -> str:
    return str(getattr(value, "__name__", value))[:60]


def _told(family: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keywords without those that have their default."""
    create = families.named(family).create  # type: ignore[union-attr]
    defaults = {name: each.default for name, each in inspect.signature(create).parameters.items()}
    return {name: value for name, value in config.items() if defaults[name] != value}


def _renamed(options: Options, names: Mapping[str, str]) -> dict[str, Any]:
    """Takes options out that the zoo has by other names."""
    return {name: options.pop(theirs) for theirs, name in names.items() if theirs in options}


def _side(sides: Sides) -> int | list[int]:
    """Returns the side of a square, or height and width."""
    return sides[0] if sides[0] == sides[1] else [*sides]


def _name(value: Any) -> str:
    """Returns the name of a class of layers or activations, or of the one that a partial calls."""
    return str(getattr(getattr(value, "func", value), "__name__", value))


def _epsilon(options: Options, name: str = "norm_layer", kind: str = "LayerNorm") -> dict[str, float]:
    """Takes a norm of one kind out, which differs in its epsilon alone."""
    norm = options.get(name)
    if norm is None or _name(norm) != kind or {*norm.keywords} != {"eps"}:
        return {}
    return {"epsilon": options.pop(name).keywords["eps"]}


_VIT = {
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "reg_tokens": "registers",
    "qkv_bias": "qkv_bias",
    "pre_norm": "pre_norm",
    "final_norm": "final_norm",
    "fc_norm": "fc_norm",
    "class_token": "class_token",
    "act_layer": "activation",
}
_POOLING = {"avg": "average", "map": "attention", "token": "token"}


def vit(options: Options, sides: Sides) -> Model:
    """Returns a VisionTransformer."""
    gated = options.get("mlp_layer")
    swiglu = _name(gated) == "GluMlp" and gated.keywords.get("gate_last") is False
    if swiglu and _name(options["act_layer"]) == "SiLU":
        del options["mlp_layer"], options["act_layer"]
    config = {"image_size": _side(sides), **_epsilon(options), **_renamed(options, _VIT)}
    options.pop("img_size", None)  # that of the weights counts
    if options.get("global_pool") in _POOLING:
        config["pooling"] = _POOLING[options.pop("global_pool")]
    if options.pop("no_embed_class", False):
        config["class_position"] = False
    elif config.get("registers"):
        raise UnknownOptionError("registers with position embeddings")
    if options.get("init_values") is not None:
        config["layer_scale"] = options.pop("init_values")
    ratio, width = options.pop("mlp_ratio", 4), config.get("width", 768)
    if swiglu:
        config |= {"swiglu": True, "feed_forward": int(width * ratio) // 2}
    elif ratio != 4:
        config["feed_forward"] = int(width * ratio)
    return Model("vit", config)


def distilled(options: Options, sides: Sides) -> Model:
    """Returns a VisionTransformer with a second token, for a teacher's answer."""
    found = vit(options, sides)
    return found._replace(config={**found.config, "distilled": True})


# timm's class -> what its options mean
KINDS: Mapping[str, Callable[[Options, Sides], Model]] = {
    "VisionTransformer": vit,
    "VisionTransformerDistilled": distilled,
}

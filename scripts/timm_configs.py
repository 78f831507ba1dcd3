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
    if any(side % config.get("patch_size", 16) for side in sides):
        raise UnknownOptionError("images that patches do not divide")
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


_EVA = {
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "num_reg_tokens": "registers",
    "class_token": "class_token",
    "use_abs_pos_emb": "positions",
    "qkv_bias": "qkv_bias",
    "qk_norm": "query_norm",
    "scale_attn_inner": "attention_norm",
    "scale_mlp": "mlp_norm",
    "swiglu_mlp": "swiglu",
    "use_pre_transformer_norm": "pre_norm",
    "use_post_norm": "post_norm",
    "init_values": "layer_scale",
    "rope_grid_indexing": "rotary_order",
    "rope_grid_offset": "rotary_offset",
    "rope_rescale_coords": "rotary_rescale",
    "rope_temperature": "rotary_base",
    "ref_feat_shape": "rotary_grid",
}
# What timm's class has where it is not told; the zoo's defaults are those of DINOv3.
_EVA_DEFAULTS = {
    "registers": 0,
    "positions": True,
    "layer_scale": 0.0,
    "rotary_base": 10000.0,
    "epsilon": 1e-6,
}
_ROTARY = {"cat": "axial", "dinov3": "dinov3", "mixed": "mixed"}


def eva(options: Options, sides: Sides) -> Model:
    """Returns an Eva."""
    options.pop("img_size", None)  # that of the weights counts
    config = {"image_size": _side(sides), **_EVA_DEFAULTS, **_renamed(options, _EVA)}
    config |= _epsilon(options)
    if rms := _epsilon(options, kind="RmsNorm"):
        config |= {"norm": "rms", **rms}
    config["pooling"] = _POOLING[options.pop("global_pool", "avg")]
    config["fc_norm"] = options.pop("use_fc_norm", config["pooling"] == "average")
    config["class_position"] = not options.pop("no_embed_class", False)
    config["mlp_scale"] = not options.pop("attn_only_layer_scale", False)
    if config.get("post_norm"):
        config["layer_scale"] = 0.0
    kind = _ROTARY[options.pop("rope_type", "cat")] if options.pop("use_rot_pos_emb", False) else None
    if options.pop("rope_rotate_half", False) != (kind == "dinov3"):
        raise UnknownOptionError(f"rotate_half of {kind}")
    config["rotary"] = kind
    config["rotary_order"] = {"ij": "yx", "xy": "xy"}[config.get("rotary_order", "ij")]
    if kind != "axial":
        config["rotary_grid"] = None
    if config.get("rotary_grid"):
        down, across = config["rotary_grid"]
        config["rotary_grid"] = down if down == across else [down, across]
    if shared := options.pop("num_kv_heads", None):
        config["key_value_heads"] = shared[0] if len({*shared}) == 1 else [*shared]
    return Model("eva", _eva_sizes(config, options), _eva_layout(config, options))


def _eva_sizes(config: dict[str, Any], options: Options) -> dict[str, Any]:
    """Returns the keywords with the width of the hidden layer, and without heads that are not shared."""
    hidden = int(config["width"] * options.pop("mlp_ratio", 4))
    align = options.get("swiglu_align_to", 0) or 1
    config["feed_forward"] = hidden + -hidden % align
    if config["feed_forward"] == 4 * config["width"]:
        del config["feed_forward"]
    if config.get("key_value_heads") == config["heads"]:
        del config["key_value_heads"]
    if options.get("attn_pool_num_heads") == 8 and options.get("attn_pool_mlp_ratio") == 4:
        del options["attn_pool_num_heads"], options["attn_pool_mlp_ratio"]
    return config


def _eva_layout(config: dict[str, Any], options: Options) -> str:
    """Returns the layout, and says in the keywords whether keys have a bias."""
    packed = config.get("swiglu") and not (config.get("mlp_norm") or options.get("swiglu_align_to"))
    options.pop("swiglu_align_to", None)
    config["key_bias"] = options.pop("attn_type", "eva") == "rope"
    queries = "_biased_keys" if config["key_bias"] else ""
    if not options.pop("qkv_fused", True):
        queries = "_split"
    return f"timm{queries}{'_packed' if packed else ''}"


_BEIT = {
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "init_values": "layer_scale",
    "use_abs_pos_emb": "positions",
    "use_rel_pos_bias": "relative_bias",
    "use_shared_rel_pos_bias": "shared_relative_bias",
}


def beit(options: Options, sides: Sides) -> Model:
    """Returns a Beit."""
    options.pop("img_size", None)  # that of the weights counts
    defaults = {"registers": 0, "positions": True, "layer_scale": 0.0, "epsilon": 1e-6, "rotary": None}
    config = {"image_size": _side(sides), **defaults, **_renamed(options, _BEIT)}
    config["pooling"] = _POOLING[options.pop("global_pool", "avg")]
    config["fc_norm"] = options.pop("use_fc_norm", config["pooling"] == "average")
    return Model("eva", _eva_sizes(config, options))


# timm's class -> what its options mean
KINDS: Mapping[str, Callable[[Options, Sides], Model]] = {
    "Beit": beit,
    "Eva": eva,
    "VisionTransformer": vit,
    "VisionTransformerDistilled": distilled,
}

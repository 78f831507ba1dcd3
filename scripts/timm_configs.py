"""Models of timm as the zoo's: a family, the keywords of its `create`, and a layout.

timm builds a model by calling a class with options. For each class there is a function here that takes the
options that it understands out of a dict, and says what they are in the zoo; an option that is left means
something that the zoo does not have.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import zoo.convnext
import zoo.densenet
import zoo.efficientnet
import zoo.regnet
import zoo.resnet
import zoo.swin
import zoo.vgg
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


# Keywords that say which network it is, and that entries have even where they are the default.
SIZES = {
    "convnext": "variant",
    "densenet": "depth",
    "efficientnet": "variant",
    "mobilenet": "variant",
    "regnet": "variant",
    "resnet": "depth",
    "swin": "variant",
    "vgg": "depth",
}


def _told(family: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keywords without those that have their default."""
    found = families.named(family)
    assert found, family
    create = found.create
    defaults = {name: each.default for name, each in inspect.signature(create).parameters.items()}
    size = SIZES.get(family)
    return {name: value for name, value in config.items() if name == size or defaults[name] != value}


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


_MIXER = {"patch_size": "patch_size", "embed_dim": "width", "num_blocks": "depth"}


def mixer(options: Options, sides: Sides) -> Model:
    """Returns an MlpMixer."""
    config: dict[str, Any] = {"image_size": _side(sides), "width": 512, "depth": 8}
    config |= {**_renamed(options, _MIXER), **_epsilon(options)}
    width, ratio = config["width"], options.pop("mlp_ratio", (0.5, 4.0))
    options.pop("nlhb", None)  # of initial numbers
    if _name(options.get("block_layer")) == "ResBlock" and _name(options.get("norm_layer")) == "Affine":
        initial = getattr(options.pop("block_layer"), "keywords", {})
        config |= {"kind": "resmlp", "layer_scale": initial.get("init_values", 1e-4)}
        del options["norm_layer"]
    elif isinstance(ratio, tuple):
        config["token_mlp"] = int(ratio[0] * width)
        ratio = ratio[1]
    else:
        raise UnknownOptionError(f"blocks of another kind, {_name(options.get('block_layer'))}")
    config["feed_forward"] = int(ratio * width)
    usual = {"token_mlp": width // 2, "feed_forward": 4 * width}
    return Model("mixer", {name: value for name, value in config.items() if value != usual.get(name)})


def convnext(options: Options, sides: Sides) -> Model:
    """Returns a ConvNeXt, of its second version with `use_grn`."""
    blocks, widths = (tuple(options.pop(name)) for name in ("depths", "dims"))
    usual = [widths[0] * 2**index for index in range(4)] == [*widths]
    same = [name for name, known in zoo.convnext.VARIANTS.items() if known[:2] == (blocks, widths[0])]
    config: dict[str, Any] = {"variant": same[0]} if same and usual else {"blocks": blocks, "widths": widths}
    config["response_norm"] = options.pop("use_grn", False)
    if options.get("ls_init_value", 0) is None:
        del options["ls_init_value"]
        config["layer_scale"] = 0.0
    config |= _renamed(options, {"norm_eps": "epsilon", "act_layer": "activation"})
    layout = "timm_convolutions" if options.pop("conv_mlp", False) else "timm"
    return Model("convnext", config, layout)


def regnet(options: Options, sides: Sides) -> Model:
    """Returns a RegNet, whose widths timm computes of their slope."""
    from timm.models.regnet import RegNetCfg, adjust_widths_groups_comp, generate_regnet

    known = options["model_cfg"]
    plain = RegNetCfg(**{name: getattr(known, name) for name in ("depth", "w0", "wa", "wm", "group_size")})
    plain.se_ratio, plain.group_min_ratio = known.se_ratio, known.group_min_ratio
    if known != plain:
        raise UnknownOptionError(f"a RegNet of another kind, {known}")
    del options["model_cfg"]
    widths, _, groups = generate_regnet(known.wa, known.w0, known.wm, known.depth, known.group_size)
    stages = sorted({*widths})
    blocks = tuple(widths.count(width) for width in stages)
    stages, groups = adjust_widths_groups_comp(stages, [1.0] * len(stages), groups, known.group_min_ratio)
    found = zoo.regnet.Variant(blocks, tuple(stages), max(groups), known.se_ratio)
    if [*groups] != [min(found.group, width) for width in stages]:
        raise UnknownOptionError(f"groups of {groups} channels")
    same = [name for name, variant in zoo.regnet.VARIANTS.items() if variant == found]
    if same:
        return Model("regnet", {"variant": same[0]})
    config = {"blocks": found.blocks, "widths": found.widths, "width_per_group": found.group}
    return Model("regnet", {**config, "squeeze": found.squeeze})


_SWIN = {"embed_dim": "width", "depths": "depths", "num_heads": "heads", "patch_size": "patch_size"}


def swin(options: Options, sides: Sides) -> Model:
    """Returns a SwinTransformer."""
    if not isinstance(options.get("window_size", 7), int):
        raise UnknownOptionError("windows of other sizes in each stage")
    options.pop("img_size", None)
    config = {"image_size": _side(sides), **_renamed(options, {**_SWIN, "window_size": "window_size"})}
    shape = (config.pop("width"), tuple(config.pop("depths")), tuple(config.pop("heads")))
    same = [name for name, known in zoo.swin.VARIANTS.items() if known[:3] == shape]
    named = {"variant": same[0]} if same else dict(zip(("width", "blocks", "heads"), shape, strict=True))
    return Model("swin", {**named, **config})


def swin_v2(options: Options, sides: Sides) -> Model:
    """Returns a SwinTransformerV2, whose files have no bias of keys."""
    trained = options.pop("pretrained_window_sizes", None)
    found = swin(options, sides)
    config = {"version": 2, **found.config, "key_bias": False}
    return found._replace(config={**config, "trained_window_size": trained} if trained else config)


_STEMS = {"": (64, "imagenet"), "deep": (32, "deep"), "deep_tiered": (32, "deep_tiered")}
_RESNET = {"cardinality": "groups", "base_width": "width_per_group"}


def resnet(options: Options, sides: Sides) -> Model:
    """Returns a ResNet without attention to channels."""
    kind, blocks = _name(options.pop("block")), tuple(options.pop("layers"))
    block = {"BasicBlock": "basic", "Bottleneck": "bottleneck"}.get(kind)
    width, stem = _STEMS[options.pop("stem_type", "")]
    if block is None or options.pop("stem_width", width) != width:
        raise UnknownOptionError(f"a stem of other widths, or blocks of another kind, {kind}")
    same = [depth for depth, known in zoo.resnet.DEPTHS.items() if known == (block, blocks)]
    config: dict[str, Any] = {"depth": same[0]} if same else {"block": block, "blocks": blocks}
    config |= {"stem": stem, **_renamed(options, _RESNET)}
    return Model("resnet", {**config, "shortcut": "pool" if options.pop("avg_down", False) else "conv"})


def vgg(options: Options, sides: Sides) -> Model:
    """Returns a VGG."""
    stages = "".join("|" if each == "M" else "*" for each in options.pop("model_cfg")).split("|")[:-1]
    (depth,) = (name for name, known in zoo.vgg.DEPTHS.items() if known == tuple(map(len, stages)))
    norm = options.pop("norm_layer", None)
    return Model("vgg", {"depth": depth, "batch_norm": norm is not None})


def densenet(options: Options, sides: Sides) -> Model:
    """Returns a DenseNet."""
    growth, blocks = options.pop("growth_rate", 32), tuple(options.pop("block_config", (6, 12, 24, 16)))
    same = [depth for depth, known in zoo.densenet.DEPTHS.items() if known[1:] == (growth, blocks)]
    if not same:
        raise UnknownOptionError(f"growth {growth}, blocks {blocks}")
    return Model("densenet", {"depth": same[0]})


# timm's kinds of blocks: with convolutions of each channel by itself, and fused
_SEPARABLE, _FUSED = ("ds", "ir"), ("cn", "er")
# Factors of widths and depths of b0 that the zoo has no variant for: b8 and l2.
_LARGER = ((2.2, 3.6), (4.3, 5.3))


# What else timm says of a block, and the only value that the zoo has.
_PLAIN = {
    "act_layer": None,
    "force_in_chs": 0,
    "noskip": False,
    "pw_act": False,
    "pw_kernel_size": 1,
    "s2d": False,
}
_READ = {
    *("block_type", "out_chs", "stride", "exp_ratio", "se_ratio", "skip"),
    *("dw_kernel_size", "exp_kernel_size", "kernel_size"),
}


def _stage(blocks: Sequence[Mapping[str, Any]], rounded: Callable[[int], int]) -> zoo.efficientnet.Stage:
    """Returns the blocks of a stage of an EfficientNet."""
    first = blocks[0]
    kind, fused = first["block_type"], first["block_type"] in _FUSED
    size = first.get("dw_kernel_size") or first.get("exp_kernel_size") or first.get("kernel_size")
    odd = {name for name, value in first.items() if name not in _READ and value != _PLAIN.get(name, ...)}
    if odd or kind not in (*_SEPARABLE, *_FUSED) or (kind == "ir" and first["exp_kernel_size"] != 1):
        raise UnknownOptionError(f"blocks {kind} of another kind, by {', '.join(sorted(odd))}")
    found = {
        (each["block_type"], each["out_chs"], each.get("exp_ratio"), each.get("se_ratio", 0))
        for each in blocks
    }
    if len(found) > 1:
        raise UnknownOptionError("blocks that differ in a stage")
    return zoo.efficientnet.Stage(
        expansion=int(first.get("exp_ratio", 1)),
        size=size,
        stride=first["stride"],
        channels=rounded(first["out_chs"]),
        blocks=len(blocks),
        fused=fused,
    )


def efficientnet(options: Options, sides: Sides) -> Model:
    """Returns an EfficientNet of one of its authors' sizes."""
    rounded, stem = options.pop("round_chs_fn"), options.pop("stem_size")
    stages = options.pop("block_args")
    found = tuple(_stage(each, rounded) for each in stages)
    squeezes = {
        each.get("se_ratio", 0) for blocks in stages for each in blocks if each["block_type"] in _SEPARABLE
    }
    shape = (
        found,
        stem if options.pop("fix_stem", False) else rounded(stem),
        options.pop("num_features", 1280),
        {"SiLU": "silu", "ReLU6": "relu6"}.get(_name(options.pop("act_layer", None))),
        {(0.25,): True, (0.0,): False}.get(tuple(squeezes)),
    )
    norm = options["norm_layer"]
    if _name(norm) != "BatchNorm2d":
        raise UnknownOptionError(f"norms of another kind, {_name(norm)}")
    epsilon = {"epsilon": options.pop("norm_layer").keywords.get("eps", 1e-5)}
    config = {**epsilon, "same_padding": options.pop("pad_type", "") == "same"}
    variants = [(name, {}) for name in zoo.efficientnet.VARIANTS]
    variants += [("b0", {"width": width, "depth": depth}) for width, depth in _LARGER]
    for variant, scaled in variants:
        net = zoo.efficientnet.create(variant=variant, **scaled)
        ours = (net.stages, net.stem_channels, net.last_channels, net.activation, net.squeezes)
        if ours == shape:
            known = zoo.efficientnet.VARIANTS[variant].epsilon
            config = {name: each for name, each in config.items() if (name, each) != ("epsilon", known)}
            layout = "timm_v2" if found[0].fused else "timm"
            return Model("efficientnet", {"variant": variant, **scaled, **config}, layout)
    raise UnknownOptionError("stages of another network")


# timm's class -> what its options mean
KINDS: Mapping[str, Callable[[Options, Sides], Model]] = {
    "Beit": beit,
    "Eva": eva,
    "MlpMixer": mixer,
    "VisionTransformer": vit,
    "VisionTransformerDistilled": distilled,
    "ConvNeXt": convnext,
    "DenseNet": densenet,
    "EfficientNet": efficientnet,
    "RegNet": regnet,
    "ResNet": resnet,
    "SwinTransformer": swin,
    "SwinTransformerV2": swin_v2,
    "VGG": vgg,
}

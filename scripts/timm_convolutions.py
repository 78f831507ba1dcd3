"""Convolutional networks of timm as the zoo's: a function for each class, as `timm_configs` calls them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zoo.convnext
import zoo.densenet
import zoo.efficientnet
import zoo.regnet
import zoo.resnet
import zoo.vgg
from scripts.timm_terms import Model, Options, Sides, UnknownOptionError, name_of, renamed

_CONVNEXT = {
    "act_layer": "activation",
    "head_hidden_size": "hidden",
    "norm_eps": "epsilon",
    "stem_type": "stem",
}


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
    config |= renamed(options, _CONVNEXT)
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


_STEMS = {"": "imagenet", "deep": "deep", "deep_tiered": "deep_tiered"}
_RESNET = {"cardinality": "groups", "base_width": "width_per_group"}
_SHRINKING = {"AvgPool2d": "average", "BlurPool2d": "blur", "NoneType": ""}


def resnet(options: Options, sides: Sides) -> Model:
    """Returns a ResNet."""
    kind, blocks = name_of(options.pop("block")), tuple(options.pop("layers"))
    block = {"BasicBlock": "basic", "Bottleneck": "bottleneck"}.get(kind)
    if block is None:
        raise UnknownOptionError(f"blocks of another kind, {kind}")
    same = [depth for depth, known in zoo.resnet.DEPTHS.items() if known == (block, blocks)]
    config: dict[str, Any] = {"depth": same[0]} if same else {"block": block, "blocks": blocks}
    deep, width = _STEMS[options.pop("stem_type", "")], options.pop("stem_width", 64)
    config |= {"stem": deep, **renamed(options, _RESNET)}
    if deep != "imagenet" and width != 32:  # of the first of its convolutions: half of what the last has
        widths = tuple(zoo.resnet.BLOCKS[block] * 64 * 2**stage for stage in range(4))
        config |= {"channels": 2 * width, "widths": widths}
    config["stem_pool"] = "conv" if options.pop("replace_stem_pool", False) else "max"
    config["shrinking"] = _SHRINKING[name_of(options.pop("aa_layer", type(None)))]
    config["shortcut"] = "pool" if options.pop("avg_down", False) else "conv"
    return Model("resnet", {**config, **_attention(options)})


def _attention(options: Options) -> dict[str, Any]:
    """Takes the attention to channels out."""
    attention = options.get("block_args", {}).get("attn_layer")
    if attention in ("eca", "se"):
        del options["block_args"]
        return {"attention": {"eca": "eca", "se": "squeeze"}[attention]}
    if attention is not None and name_of(attention) == "SEModule" and {*attention.keywords} == {"rd_ratio"}:
        del options["block_args"]
        return {"attention": "squeeze", "squeeze": attention.keywords["rd_ratio"]}
    return {}


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
        {"SiLU": "silu", "ReLU6": "relu6"}.get(name_of(options.pop("act_layer", None))),
        {(0.25,): True, (0.0,): False}.get(tuple(squeezes)),
    )
    norm = options["norm_layer"]
    if name_of(norm) != "BatchNorm2d":
        raise UnknownOptionError(f"norms of another kind, {name_of(norm)}")
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


def inception(options: Options, sides: Sides) -> Model:
    """Returns an Inception v3."""
    return Model("inception", {})

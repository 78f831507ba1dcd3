"""Networks of timm as lists of blocks, read off the modules that timm builds, for zoo.mobile."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import torch

from scripts.timm_terms import Model, UnknownOptionError, name_of
from zoo.mobile.blocks import KINDS, USUAL

_KINDS = {
    "ConvBnAct": "cn",
    "DepthwiseSeparableConv": "ds",
    "EdgeResidual": "er",
    "MobileAttention": "mqa",
    "InvertedResidual": "ir",
    "UniversalInvertedResidual": "uir",
}
_ACTIVATIONS = {
    "GELU": "gelu",
    "Hardsigmoid": "hard_sigmoid",
    "Hardswish": "hard_swish",
    "Identity": "linear",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
}
_SHRINKING = {"AvgPool2d": "average", "BlurPool2d": "blur"}
_PADDING = {"reflect": "", "constant": "_zeros"}  # ends of the words for blurring
# Further types of layers that `network` reads.
_READ = {
    *("AdaptiveAvgPool2d", "BatchNorm2d", "BatchNormAct2d", "Conv2d", "Conv2dSame", "ConvNormAct", "Dropout"),
    *("Flatten", "LayerScale2d", "Linear", "MultiQueryAttention2d"),
    *("EfficientNet", "FastAdaptiveAvgPool", "MixedConv2d", "MobileNetV3", "SelectAdaptivePool2d"),
    *("Sequential", "SqueezeExcite"),
}


def network(module: torch.nn.Module) -> Model:
    """Returns an EfficientNet or MobileNetV3 of timm as the zoo's list of blocks.

    Raises:
        UnknownOptionError: it has layers of another kind.
    """
    kinds = {type(each).__name__ for each in module.modules()}
    if other := kinds - _READ - {*_KINDS, *_ACTIVATIONS, *_SHRINKING}:
        raise UnknownOptionError(f"layers {', '.join(sorted(other))}")
    own: Any = module
    activation = _activation(own.bn1.act)
    scales = {each.init_values for each in module.modules() if type(each).__name__ == "LayerScale2d"}
    norms = [each for each in module.modules() if hasattr(each, "running_mean")]
    config = {
        "stages": [[*_stage(stage, activation)] for stage in own.blocks],
        "stem_channels": own.conv_stem.out_channels,
        "activation": activation,
        "shrinking": _only({_shrinking(each) for each in module.modules()} - {""} or {""}),
        "layer_scale": _only(scales or {0.0}),
        "epsilon": _only({each.eps for each in norms}),
        "momentum": _only({each.momentum for each in norms}),
        "same_padding": "Conv2dSame" in kinds,
    }
    return Model("mobile", {**config, **_squeeze(module), **_last(own)})


def _shrinking(layer: Any) -> str:
    """Returns the zoo's word for a layer that halves height and width; none for others."""
    word = _SHRINKING.get(type(layer).__name__, "")
    return word and word + _PADDING[getattr(layer, "pad_mode", "reflect")]


def _squeeze(module: torch.nn.Module) -> dict[str, Any]:
    """Returns the activations of squeeze-and-excite, if there is any."""
    blocks: list[Any] = [each for each in module.modules() if hasattr(getattr(each, "se", None), "act1")]
    if not blocks:
        return {}
    pairs = {(_activation(each.se.act1), _own_activation(each)) for each in blocks}
    follows = all(inner == outer for inner, outer in pairs)
    return {
        "squeeze_activation": "" if follows else _only({inner for inner, _ in pairs}),
        "gate": _only({_activation(each.se.gate) for each in blocks}),
    }


def _last(module: Any) -> dict[str, Any]:
    """Returns what the convolution before the logits is."""
    if name_of(type(module.conv_head)) == "Identity":
        return {"last": "map", "last_channels": 0}
    last = "map" if hasattr(module, "bn2") else "plain"
    if getattr(module, "norm_head", None) is not None and name_of(type(module.norm_head)) != "Identity":
        last = "norm"
    if module.conv_head.bias is not None:
        last = "bias"
    return {"last": last, "last_channels": module.conv_head.out_channels}


def _only(values: set[Any]) -> Any:
    if len(values) != 1:
        raise UnknownOptionError(f"several of {', '.join(map(str, values))}")
    return next(iter(values))


def _activation(layer: Any) -> str:
    return _ACTIVATIONS[type(layer).__name__]


def _stage(stage: Any, activation: str) -> Iterator[str]:
    """Yields the words for blocks, equal ones together."""
    for (kind, stride, rest), equal in groupby(_words(block, activation) for block in stage):
        count = len([*equal])
        if stride > 1:  # an "r" would give it to the first of them alone
            yield from [" ".join([kind, f"s{stride}", *rest])] * count
        else:
            yield " ".join([kind, *([f"r{count}"] if count > 1 else []), *rest])


def _words(block: Any, activation: str) -> tuple[str, int, tuple[str, ...]]:
    """Returns a block's kind, stride, and the other words for it."""
    if type(block).__name__ == "MobileAttention":
        return "mqa", 1, _attention_words(block)
    kind = _KINDS[type(block).__name__]
    kind = "dsa" if kind == "ds" and block.has_pw_act else kind
    steps = {step: _convs(block, step.conv) for step in KINDS[kind]}
    if any(bool(step.to) != (each.groups == 1) for step, convs in steps.items() for each in convs):
        raise UnknownOptionError("convolutions in groups")
    if getattr(block, "conv_s2d", None) is not None:
        raise UnknownOptionError("pixels that become channels")
    sizes = {step.size: tuple(each.kernel_size[0] for each in convs) or (0,) for step, convs in steps.items()}
    outputs = {step.to: sum(each.out_channels for each in convs) for step, convs in steps.items() if convs}
    there = {step: convs for step, convs in steps.items() if convs}
    stride = max(each.stride[0] for convs in there.values() for each in convs)
    stride = 2 if any(type(each).__name__ in _SHRINKING for each in block.modules()) else stride
    words = [
        f"{name}{'.'.join(map(str, size))}"
        for name, size in sizes.items()
        if name and size != getattr(USUAL[kind], name)
    ]
    words += [f"m{outputs['inside']}"] if "inside" in outputs else []
    words.append(f"c{outputs['channels']}")
    if hasattr(getattr(block, "se", None), "conv_reduce"):
        words.append(f"se{block.se.conv_reduce.out_channels}")
    own = _own_activation(block)
    words += [own] if own != activation else []
    same = sum(each.in_channels for each in next(iter(there.values()))) == outputs["channels"]
    if same and stride == 1 and block.has_skip != USUAL[kind].skip:
        words.append("skip" if block.has_skip else "noskip")
    return kind, stride, tuple(words)


def _attention_words(block: Any) -> tuple[str, ...]:
    """Returns the words for attention."""
    attention = block.attn
    if attention.has_query_strides or block.conv_cpe_dw is not None or not block.has_skip:
        raise UnknownOptionError("attention of another kind")
    if attention.key_dim != attention.value_dim:
        raise UnknownOptionError("keys and values of different sizes")
    words = [f"h{attention.num_heads}", f"d{attention.key_dim}", f"c{attention.output.proj.out_channels}"]
    if attention.kv_stride > 1:
        words += [f"k{attention.key.down_conv.kernel_size[0]}", f"v{attention.kv_stride}"]
    return tuple(words)


def _own_activation(block: Any) -> str:
    steps = KINDS[_KINDS[type(block).__name__]]
    return next(_activation(_part(block, each.norm).act) for each in steps if each.activates)


def _part(block: Any, name: str) -> Any:
    """Returns a layer of a block by the zoo's name for it; None where it has none."""
    outer, _, inner = name.rpartition("_")
    if outer and inner in ("conv", "bn"):
        return getattr(getattr(block, outer), inner, None)
    return getattr(block, name, None)


def _convs(block: Any, name: str) -> list[Any]:
    """Returns the convolutions of a step: none, one, or several of a part of the channels each."""
    found = _part(block, name)
    if found is None:
        return []
    return [*found.values()] if isinstance(found, torch.nn.ModuleDict) else [found]

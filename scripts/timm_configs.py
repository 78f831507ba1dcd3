"""Models of timm as the zoo's: a family, the keywords of its `create`, and a layout.

timm builds a model by calling a class with options. For each class there is a function that takes the
options that it understands out of a dict, and says what they are in the zoo; an option that is left means
something that the zoo does not have.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from scripts import timm_convolutions, timm_transformers
from scripts.timm_terms import Model, Options, Sides, UnknownOptionError
from zoo._registry import families

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


# timm's class -> what its options mean
KINDS: Mapping[str, Callable[[Options, Sides], Model]] = {
    "Beit": timm_transformers.beit,
    "Eva": timm_transformers.eva,
    "MlpMixer": timm_transformers.mixer,
    "VisionTransformer": timm_transformers.vit,
    "VisionTransformerDistilled": timm_transformers.distilled,
    "ConvNeXt": timm_convolutions.convnext,
    "DenseNet": timm_convolutions.densenet,
    "EfficientNet": timm_convolutions.efficientnet,
    "InceptionV3": timm_convolutions.inception,
    "RegNet": timm_convolutions.regnet,
    "ResNet": timm_convolutions.resnet,
    "SwinTransformer": timm_transformers.swin,
    "SwinTransformerV2": timm_transformers.swin_v2,
    "VGG": timm_convolutions.vgg,
}
# Classes whose modules are read as lists of blocks where no family has them by name.
LISTED = ("EfficientNet", "MobileNetV3")


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
    return told(found, num_classes)


def told(found: Model, num_classes: int) -> Model:
    """Returns a model with its number of logits, and without keywords that have their default."""
    return found._replace(config=_told(found.family, {**found.config, "num_classes": num_classes}))


def _short(value: Any) -> str:
    return str(getattr(value, "__name__", value))[:60]


# Keywords that say which network it is, and that entries have even where they are the default.
SIZES = {
    "convnext": "variant",
    "densenet": "depth",
    "efficientnet": "variant",
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

"""Cases of torchvision's early families."""

from dataclasses import replace
from functools import partial

from tests.cases.case import Case, images
from tests.reference.classics import (
    classic,
    classic_of,
    short_googlenet,
    short_inception,
    tensorflow_inception,
    timm_densenet,
    timm_inception,
    timm_vgg,
)

SEVEN = {"num_classes": 7}
DENSENET = {"growth_rate": 4, "block_config": (2, 1), "num_init_features": 6, "bn_size": 2}
CASES = {
    "alexnet": Case(
        "alexnet",
        {**SEVEN, "widths": (4, 12, 24, 16, 16), "hidden": 256, "dropout": 0.0},
        partial(classic, "alexnet", narrow=16, dropout=0.0, **SEVEN),
        [images(2, 71, 99, 3)],
        layout="torchvision",
    ),
    "vgg11": Case(
        "vgg",
        {
            **SEVEN,
            "depth": 11,
            "widths": (4, 8, 16, 32, 32),
            "hidden": 256,
            "dropout": 0.0,
            "batch_norm": True,
        },
        partial(classic, "vgg11_bn", narrow=16, dropout=0.0, **SEVEN),
        [images(2, 71, 39, 3)],
        layout="torchvision",
    ),
    "squeezenet": Case(
        "squeezenet",
        {**SEVEN, "variant": "1.1", "dropout": 0.0},
        partial(classic, "squeezenet1_1", dropout=0.0, **SEVEN),
        [images(2, 41, 30, 3)],
        layout="torchvision",
    ),
    "densenet": Case(
        "densenet",
        {**SEVEN, "blocks": (2, 1), "growth": 4, "stem_channels": 6, "bottleneck": 2},
        partial(classic_of, "densenet", "DenseNet", **DENSENET, **SEVEN),
        [images(2, 71, 39, 3)],
        layout="torchvision",
    ),
    "vgg11, timm": Case(
        "vgg",
        {**SEVEN, "depth": 11, "widths": (4, 8, 16, 32, 32), "hidden": 256, "dropout": 0.0},
        partial(timm_vgg, "vgg11", narrow=16, drop_rate=0.0, **SEVEN),
        [images(2, 71, 39, 3)],
        layout="timm",
        slow=True,
    ),
    "densenet, timm": Case(
        "densenet",
        {**SEVEN, "blocks": (2, 1), "growth": 4, "stem_channels": 8, "bottleneck": 2},
        partial(timm_densenet, growth_rate=4, block_config=(2, 1), bn_size=2, **SEVEN),
        [images(2, 71, 39, 3)],
        layout="timm",
        slow=True,
    ),
    "shufflenet": Case(
        "shufflenet",
        {**SEVEN, "blocks": (2, 1, 1), "widths": (6, 12, 20, 36, 40)},
        partial(classic_of, "shufflenetv2", "ShuffleNetV2", (2, 1, 1), (6, 12, 20, 36, 40), **SEVEN),
        [images(2, 71, 39, 3)],
        layout="torchvision",
    ),
    "googlenet": Case(
        "googlenet",
        {
            **SEVEN,
            "blocks": ("3a", "4a", "4d", "5b"),
            "aux_logits": True,
            "transform_input": True,
            "dropout": 0.0,
            "aux_dropout": 0.0,
        },
        partial(short_googlenet, transform_input=True, dropout=0.0, dropout_aux=0.0, **SEVEN),
        [images(2, 71, 39, 3)],
        layout="torchvision",
    ),
    "inception": Case(
        "inception",
        {
            **SEVEN,
            "blocks": ("Mixed_5b", "Mixed_6a", "Mixed_6e", "Mixed_7a", "Mixed_7c"),
            "aux_logits": False,
            "transform_input": True,
            "dropout": 0.0,
        },
        partial(short_inception, aux_logits=False, transform_input=True, dropout=0.0, **SEVEN),
        [images(2, 81, 97, 3)],
        layout="torchvision",
    ),
    "inception, timm": Case(
        "inception",
        {**SEVEN, "blocks": ("Mixed_5b", "Mixed_6a", "Mixed_6e", "Mixed_7a", "Mixed_7c"), "dropout": 0.0},
        partial(timm_inception, **SEVEN),
        [images(2, 81, 97, 3)],
        layout="timm",
        slow=True,
    ),
    "inception, as TensorFlow pools": Case(
        "inception",
        {
            **SEVEN,
            "blocks": ("Mixed_5b", "Mixed_6a", "Mixed_6e", "Mixed_7a", "Mixed_7c"),
            "aux_logits": False,
            "dropout": 0.0,
            "pooling": "tensorflow",
        },
        partial(tensorflow_inception, transform_input=False, dropout=0.0, **SEVEN),
        [images(2, 75, 91, 3)],
        layout="torchvision",
        slow=True,
    ),
}

RATES = {
    "alexnet": ({"dropout": 0.5}, {"dropout": 0.5}),
    "vgg11": ({"dropout": 0.4}, {"dropout": 0.4}),
    "squeezenet": ({"dropout": 0.5}, {"dropout": 0.5}),
    "densenet": ({"dropout": 0.2}, {"drop_rate": 0.2}),
    "googlenet": ({"dropout": 0.2, "aux_dropout": 0.7}, {"dropout": 0.2, "dropout_aux": 0.7}),
    "inception": ({"dropout": 0.5}, {"dropout": 0.5}),
}
DROPOUT_CASES = {
    f"{name}, dropout": replace(
        CASES[name],
        config={**CASES[name].config, **config},
        twin=partial(CASES[name].twin, **options),
        drops_maps=name in ("squeezenet", "densenet"),
        slow=name == "inception",
    )
    for name, (config, options) in RATES.items()
}

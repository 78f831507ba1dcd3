"""Cases of resnet."""

from functools import partial

import zoo
from tests.cases.case import Case, images
from tests.reference import published, twins
from zoo import resnet

_TINY = {"blocks": [1, 1, 1, 1], "channels": 8, "stem": "deep", "shortcut": "pool", "num_classes": 5}
_TIMM_TINY = {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16), "stem_width": 4}

CASES = {
    "resnet18": Case(
        "resnet",
        {"depth": 18},
        lambda: published.torchvision_resnet("resnet18"),
        [images(2, 48, 72, 3)],
        layout="torchvision",
    ),
    "resnet14, groups": Case(
        "resnet",
        {"depth": 14, "groups": 4, "width_per_group": 8, "num_classes": 5},
        lambda: published.torchvision_resnet(layers=[1, 1, 1, 1], num_classes=5, groups=4, width_per_group=8),
        [images(2, 40, 72, 3)],
        layout="torchvision",
        slow=True,
    ),
    "resnet18, small images": Case(
        "resnet",
        {"depth": 18, "stem": "cifar", "num_classes": 1000},
        lambda: published.small_images(published.torchvision_resnet("resnet18")),
        [images(2, 18, 14, 3)],
        layout="torchvision",
        slow=True,
    ),
    "resnet10d, grey": Case(
        "resnet",
        {"depth": 10, "stem": "deep", "shortcut": "pool", "in_channels": 1, "num_classes": 0},
        lambda: published.timm_model("resnet18d", layers=(1, 1, 1, 1), in_chans=1, num_classes=0),
        [images(2, 42, 70, 1)],
        layout="timm",
        slow=True,
    ),
    "resnet14t": Case(
        "resnet",
        {"depth": 14, "stem": "deep_tiered", "shortcut": "pool"},
        lambda: published.timm_model("resnet14t"),
        [images(2, 42, 70, 3)],
        layout="timm",
        slow=True,
    ),
    "resnet10, of the Hub": Case(
        "resnet",
        {"depth": 10, "channels": 8, "num_classes": 7},
        lambda: published.transformers_resnet("basic", (1, 1, 1, 1), channels=8, classes=7),
        [images(2, 40, 72, 3)],
        layout="transformers",
        slow=True,
    ),
    "resnet14, of the Hub, features": Case(
        "resnet",
        {"depth": 14, "channels": 8, "num_classes": 0},
        lambda: published.transformers_resnet("bottleneck", (1, 1, 1, 1), channels=8),
        [images(2, 40, 72, 3)],
        layout="transformers_model",
        slow=True,
    ),
    "resnet, of the Hub, uneven": Case(
        "resnet",
        {
            "block": "bottleneck",
            "blocks": [1, 2],
            "channels": 6,
            "widths": [8, 20],
            "stride_first_stage": True,
            "stride_first_conv": True,
            "num_classes": 3,
        },
        lambda: published.transformers_resnet(
            "bottleneck",
            (1, 2),
            channels=6,
            classes=3,
            hidden_sizes=[8, 20],
            downsample_in_first_stage=True,
            downsample_in_bottleneck=True,
        ),
        [images(2, 40, 72, 3)],
        layout="transformers",
    ),
    "resnet, of the Hub, maps": Case(
        "resnet",
        {"block": "basic", "blocks": [1, 1], "channels": 6, "head": "maps", "out_indices": [-1, 0]},
        lambda: published.transformers_resnet(
            "basic", (1, 1), channels=6, name="ResNetBackbone", hidden_sizes=[6, 12], out_indices=[0, 2]
        ),
        [images(2, 40, 72, 3)],
        layout="transformers_model",
    ),
    "resnet, squeeze-and-excite, averaged": Case(
        "resnet",
        {
            **_TINY,
            "block": "bottleneck",
            "widths": [32, 32, 64, 64],
            "groups": 2,
            "width_per_group": 32,
            "attention": "squeeze",
            "shrinking": "average",
        },
        lambda: published.timm_model(
            "seresnextaa101d_32x8d", **_TIMM_TINY, cardinality=2, base_width=32, num_classes=5
        ),
        [images(2, 64, 96, 3)],
        layout="timm",
        slow=True,
    ),
    "resnet, efficient attention, blurred": Case(
        "resnet",
        {
            **_TINY,
            "block": "basic",
            "widths": [8, 8, 16, 16],
            "attention": "eca",
            "shrinking": "blur",
        },
        lambda: published.timm_model(
            "resnetblur18",
            **_TIMM_TINY,
            stem_type="deep",
            avg_down=True,
            block_args={"attn_layer": "eca"},
            num_classes=5,
        ),
        [images(2, 64, 96, 3)],
        layout="timm",
        slow=True,
    ),
    "resnet-rs": Case(
        "resnet",
        {
            **_TINY,
            "block": "bottleneck",
            "widths": [32, 32, 64, 64],
            "attention": "squeeze",
            "squeeze": 0.25,
            "stem_pool": "conv",
        },
        lambda: published.timm_model("resnetrs50", **_TIMM_TINY, num_classes=5),
        [images(2, 64, 96, 3)],
        layout="timm",
        slow=True,
    ),
    "resnet20, of CIFAR": Case(
        "resnet",
        {"depth": 20, "channels": 16, "num_classes": 10, "stem": "cifar", "shortcut": "pad"},
        lambda: twins.CifarResNet(20),
        [images(2, 18, 14, 3)],
        layout="cifar",
    ),
}

# The other ResNets of the manifest: their names, and what makes the model of that name.
RESNETS = {
    "torchvision": (
        "resnet34 resnet50 resnet101 resnet152 wide_resnet50_2 wide_resnet101_2 "
        "resnext50_32x4d resnext101_32x8d resnext101_64x4d",
        published.torchvision_resnet,
    ),
    "timm": (
        "resnet18d resnet26 resnet26d resnet34d resnet50d resnet101d resnet152d",
        published.timm_model,
    ),
    "cifar": (
        "resnet32_cifar10 resnet44_cifar10 resnet56_cifar10 resnet110_cifar10 resnet1202_cifar10",
        lambda name: twins.CifarResNet(int(name.removeprefix("resnet").partition("_")[0])),
    ),
    "transformers": (
        "resnet18 resnet50",
        lambda name: published.transformers_resnet(
            *resnet.DEPTHS[zoo.info(name).config["depth"]], classes=1000
        ),
    ),
}
CASES |= {
    f"{name}, {layout}": Case(
        "resnet",
        zoo.info(name).config,
        partial(make, name),
        [images(2, 18, 14, 3) if layout == "cifar" else images(2, 64, 96, 3)],
        layout=layout,
        slow=True,
    )
    for layout, (names, make) in RESNETS.items()
    for name in names.split()
}

"""Models of torchvision by their names there: the zoo's family and keywords of its `create`."""

from collections.abc import Mapping
from typing import Any

CONFIGS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "alexnet": {"alexnet": {}},
    "convnext": {f"convnext_{size}": {"variant": size} for size in ("tiny", "small", "base", "large")},
    "densenet": {f"densenet{depth}": {"depth": depth} for depth in (121, 161, 169, 201)},
    "efficientnet": {
        f"efficientnet_{variant}": {"variant": variant}
        for variant in (*(f"b{number}" for number in range(8)), "v2_s", "v2_m", "v2_l")
    },
    "googlenet": {"googlenet": {"transform_input": True}},
    "inception": {"inception_v3": {"transform_input": True, "aux_logits": True}},
    "maxvit": {"maxvit_t": {"variant": "t"}},
    "mnasnet": {
        f"mnasnet{str(width).replace('.', '_')}": {"width": width} for width in (0.5, 0.75, 1.0, 1.3)
    },
    "mobilenet": {f"mobilenet_{variant}": {"variant": variant} for variant in ("v2", "v3_large", "v3_small")},
    "regnet": {
        f"regnet_{kind}_{flops}": {"variant": f"{kind}_{flops}"}
        for kind, more in (("x", ()), ("y", ("128gf",)))
        for flops in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf", *more)
    },
    "resnet": {
        **{f"resnet{depth}": {"depth": depth} for depth in (18, 34, 50, 101, 152)},
        "resnext50_32x4d": {"depth": 50, "groups": 32, "width_per_group": 4},
        "resnext101_32x8d": {"depth": 101, "groups": 32, "width_per_group": 8},
        "resnext101_64x4d": {"depth": 101, "groups": 64, "width_per_group": 4},
        "wide_resnet50_2": {"depth": 50, "width_per_group": 128},
        "wide_resnet101_2": {"depth": 101, "width_per_group": 128},
    },
    "shufflenet": {
        f"shufflenet_v2_x{str(width).replace('.', '_')}": {"width": width} for width in (0.5, 1.0, 1.5, 2.0)
    },
    "squeezenet": {"squeezenet1_0": {"variant": "1.0"}, "squeezenet1_1": {"variant": "1.1"}},
    "swin": {
        f"swin_{prefix}{size}": {"variant": size, **config}
        for prefix, config in (("", {}), ("v2_", {"version": 2}))
        for size in ("t", "s", "b")
    },
    "vgg": {
        f"vgg{depth}{suffix}": {"depth": depth, **config}
        for depth in (11, 13, 16, 19)
        for suffix, config in (("", {}), ("_bn", {"batch_norm": True}))
    },
    "vit": {
        "vit_b_16": {"resizing": "torchvision"},
        "vit_b_32": {"patch_size": 32, "resizing": "torchvision"},
        "vit_l_16": {"width": 1024, "depth": 24, "heads": 16, "resizing": "torchvision"},
        "vit_l_32": {"patch_size": 32, "width": 1024, "depth": 24, "heads": 16, "resizing": "torchvision"},
        "vit_h_14": {"patch_size": 14, "width": 1280, "depth": 32, "heads": 16, "resizing": "torchvision"},
    },
}

# Families whose files have older names of tensors than torchvision's own modules.
FILES = {"densenet": "torchvision_files", "vit": "torchvision_files"}
# Families whose weights are for one size of images: another one is another model, `name_size`.
SIZED = {"vit": 224}
# Side of the images that a family's models take, where it is not 224 pixels.
SIDES = {"inception": 299}
# Papers by the beginnings of models' names: the longest one says it.
PAPERS = {
    "alexnet": "https://arxiv.org/abs/1404.5997",
    "convnext": "https://arxiv.org/abs/2201.03545",
    "densenet": "https://arxiv.org/abs/1608.06993",
    "efficientnet": "https://arxiv.org/abs/1905.11946",
    "efficientnet_v2": "https://arxiv.org/abs/2104.00298",
    "googlenet": "https://arxiv.org/abs/1409.4842",
    "inception": "https://arxiv.org/abs/1512.00567",
    "maxvit": "https://arxiv.org/abs/2204.01697",
    "mnasnet": "https://arxiv.org/abs/1807.11626",
    "mobilenet": "https://arxiv.org/abs/1801.04381",
    "mobilenet_v3": "https://arxiv.org/abs/1905.02244",
    "regnet": "https://arxiv.org/abs/2003.13678",
    "resnet": "https://arxiv.org/abs/1512.03385",
    "resnext": "https://arxiv.org/abs/1611.05431",
    "shufflenet": "https://arxiv.org/abs/1807.11164",
    "squeezenet": "https://arxiv.org/abs/1602.07360",
    "swin": "https://arxiv.org/abs/2103.14030",
    "swin_v2": "https://arxiv.org/abs/2111.09883",
    "vgg": "https://arxiv.org/abs/1409.1556",
    "vit": "https://arxiv.org/abs/2010.11929",
    "wide_resnet": "https://arxiv.org/abs/1605.07146",
}

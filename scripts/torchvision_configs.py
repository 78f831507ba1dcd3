"""Models of torchvision by their names there: the zoo's family and keywords of its `create`."""

from collections.abc import Mapping
from typing import Any

CONFIGS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "alexnet": {"alexnet": {}},
    "densenet": {f"densenet{depth}": {"depth": depth} for depth in (121, 161, 169, 201)},
    "googlenet": {"googlenet": {"transform_input": True}},
    "inception": {"inception_v3": {"transform_input": True}},
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
    "squeezenet": {"squeezenet1_0": {"version": "1.0"}, "squeezenet1_1": {"version": "1.1"}},
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
    "densenet": "https://arxiv.org/abs/1608.06993",
    "googlenet": "https://arxiv.org/abs/1409.4842",
    "inception": "https://arxiv.org/abs/1512.00567",
    "resnet": "https://arxiv.org/abs/1512.03385",
    "resnext": "https://arxiv.org/abs/1611.05431",
    "shufflenet": "https://arxiv.org/abs/1807.11164",
    "squeezenet": "https://arxiv.org/abs/1602.07360",
    "vgg": "https://arxiv.org/abs/1409.1556",
    "vit": "https://arxiv.org/abs/2010.11929",
    "wide_resnet": "https://arxiv.org/abs/1605.07146",
}

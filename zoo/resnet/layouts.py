"""Names of tensors and options in files of residual networks; the layers here have torchvision's."""

from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

_TRANSFORMERS = (
    *((rf"^layer{n}\.", f"encoder.stages.{n - 1}.layers.") for n in (1, 2, 3, 4)),
    *((rf"\.(conv|bn){n}\.", rf".layer.{n - 1}.\1.") for n in (1, 2, 3)),
    (r"^(conv|bn)1\.", r"embedder.embedder.\1."),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.bn."),
    (r"\.conv\.", ".convolution."),
    (r"\.bn\.", ".normalization."),
)
TORCH_NAMES = {
    "torchvision": (),  # every layer has its torchvision name
    "timm": (),
    "cifar": ((r"^fc\.", "linear."), (r"\.downsample\.", ".shortcut.")),  # akamaster/pytorch_resnet_cifar10
    "transformers": (*_TRANSFORMERS, (r"^e", "resnet.e"), (r"^fc\.", "classifier.1.")),
    "transformers_model": _TRANSFORMERS,  # ResNetModel and ResNetBackbone: no head, num_classes=0
}
REPLACED_HEAD = {r"(fc|linear|classifier\.1)\..*": "the head"}
CONFIG_FIELDS = {
    "resnet": ConfigFields(
        keywords={
            "num_channels": "in_channels",
            "embedding_size": "channels",
            "hidden_sizes": "widths",
            "depths": "blocks",
            "layer_type": "block",
            "downsample_in_first_stage": "stride_first_stage",
            "downsample_in_bottleneck": "stride_first_conv",
            "out_features": "out_features",
            "out_indices": "out_indices",
        },
        heads={
            "ResNetModel": {"head": "none"},
            "ResNetForImageClassification": {"head": "classification"},
            "ResNetBackbone": {"head": "maps"},
        },
        fixed={"hidden_act": "relu"},
        irrelevant=("stage_names",),
        defaults={"widths": (256, 512, 1024, 2048), "blocks": (3, 4, 6, 3), "block": "bottleneck"},
        inputs=(Input("images", (1, 224, 224, 3), "float32"),),
        classifies=True,
        processor="ConvNextImageProcessor",
        layouts={"ResNetForImageClassification": "transformers", "": "transformers_model"},
    ),
}

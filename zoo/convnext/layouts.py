"""Names of tensors in files of ConvNeXt; the layers here have torchvision's."""

from converters import Reshape

_TIMM = (
    (r"^features\.0\.", "stem."),
    *((rf"^features\.{2 * n + 1}\.", f"stages.{n}.blocks.") for n in range(4)),
    *((rf"^features\.{2 * n}\.", f"stages.{n}.downsample.") for n in range(1, 4)),
    *((rf"\.block\.{index}\.", f".{name}.") for index, name in ((0, "conv_dw"), (2, "norm"))),
    *((rf"\.block\.{index}\.", f".mlp.{name}.") for index, name in ((3, "fc1"), (5, "fc2"))),
    (r"\.grn\.", ".mlp.grn."),
    (r"\.layer_scale$", ".gamma"),
    (r"^classifier\.0\.", "head.norm."),
    (r"^pre_logits\.", "head.pre_logits.fc."),
    (r"^classifier\.2\.", "head.fc."),
)
TORCH_NAMES = {
    "torchvision": (Reshape("*.layer_scale", (-1, 1, 1)),),  # every layer has its torchvision name
    "timm": _TIMM,
    # The small ones, whose dense layers are convolutions there.
    "timm_convolutions": (*_TIMM, Reshape("*.mlp.fc*.weight", (0, 0, 1, 1))),
}
REPLACED_HEAD = {r"(classifier\.2|head\.fc)\..*": "the head"}

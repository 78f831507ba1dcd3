"""Models of torchvision, timm and transformers, which take a while to import."""

import contextlib
import importlib.util
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@cache
def declare_operators() -> torch.library.Library:
    """Makes torchvision's wheels, which are built for CUDA, importable beside a torch without it.

    Only the declarations of two operators are missing, which its Python models never call. They last as
    long as the library that this returns. Where torchvision's own operators load, nothing is declared.
    """
    # Before torchvision does: an operator that is declared twice aborts the process.
    (directory,) = importlib.util.find_spec("torchvision").submodule_search_locations
    for operators in Path(directory).glob("_C*.so"):
        with contextlib.suppress(OSError):
            torch.ops.load_library(str(operators))
    library = torch.library.Library("torchvision", "FRAGMENT")
    if not hasattr(torch.ops.torchvision, "nms"):
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def torchvision_resnet(name: str = "", **options: Any) -> nn.Module:
    """A model by name, or one with `layers` bottlenecks in each stage."""
    declare_operators()
    from torchvision.models import get_model, resnet

    return get_model(name, **options) if name else resnet.ResNet(resnet.Bottleneck, **options)


def torchvision_model(name: str) -> nn.Module:
    declare_operators()
    from torchvision.models import get_model

    return get_model(name)


def small_images(resnet: nn.Module) -> nn.Module:
    """The same with a 3x3 stem that keeps the size, as is usual on CIFAR."""
    resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    resnet.maxpool = nn.Identity()
    return resnet


def timm_model(name: str, **options: Any) -> nn.Module:
    declare_operators()
    import timm

    return timm.create_model(name, **options)


def timm_efficientnet(name: str) -> nn.Module:
    """One with a quarter of the channels and three tenths of the blocks, padded as TensorFlow pads."""
    declare_operators()
    from timm.models import efficientnet

    makers = {
        "tf_efficientnet_b0": efficientnet._gen_efficientnet,
        "tf_efficientnet_lite0": efficientnet._gen_efficientnet_lite,
        "tf_efficientnetv2_b0": efficientnet._gen_efficientnetv2_base,
    }
    sizes = {"channel_multiplier": 0.25, "depth_multiplier": 0.3, "num_classes": 5}
    return makers[name](name, **sizes, pad_type="same", bn_eps=1e-3)


def timm_blocks(kind: str, stages: Sequence[Sequence[str]], **options: Any) -> nn.Module:
    """An EfficientNet or MobileNetV3 of blocks in timm's words."""
    declare_operators()
    from timm.models import efficientnet, mobilenetv3
    from timm.models._efficientnet_builder import decode_arch_def

    make = {"EfficientNet": efficientnet.EfficientNet, "MobileNetV3": mobilenetv3.MobileNetV3}[kind]
    model = make(decode_arch_def(stages), **{"num_classes": 5, "stem_size": 8, "num_features": 16, **options})
    for part in model.modules():
        if isinstance(getattr(part, "gate", None), nn.Hardsigmoid):
            part.gate = HardSigmoid()
    return model


def timm_squeeze(**options: Any) -> Any:
    declare_operators()
    from timm.models._efficientnet_blocks import SqueezeExcite

    return partial(SqueezeExcite, **options)


def visual_output(out: Any) -> Any:
    """Maps of features, pixels, logits, or the pooled output."""
    for name in ("feature_maps", "reconstruction"):
        if name in out:
            return out[name]
    return out.logits if "logits" in out else out.pooler_output.flatten(1)


def transformers_resnet(
    layer_type: str,
    depths: Sequence[int],
    *,
    channels: int = 64,
    classes: int = 0,
    name: str = "",
    **options: Any,
) -> nn.Module:
    """The classifier, without classes the model below it, or another class by name."""
    declare_operators()  # transformers imports torchvision where it is installed
    import transformers

    parent = getattr(transformers, name or ("ResNetForImageClassification" if classes else "ResNetModel"))

    class Output(parent):
        def forward(self, x: Tensor) -> Any:
            return visual_output(super().forward(x))

    expansion = {"basic": 1, "bottleneck": 4}[layer_type]
    config = transformers.ResNetConfig(
        embedding_size=channels,
        **{"hidden_sizes": [channels * expansion * 2**stage for stage in range(4)], **options},
        depths=list(depths),
        layer_type=layer_type,
        num_labels=classes,
    )
    return Output(config)


def timm_vit(distilled: bool = False, **options: Any) -> nn.Module:
    declare_operators()
    from timm.models import deit, vision_transformer

    make = deit.VisionTransformerDistilled if distilled else vision_transformer.VisionTransformer
    return make(**{"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2, **options})


def timm_mixer(*, residual: bool = False, **options: Any) -> nn.Module:
    declare_operators()
    from timm.models import mlp_mixer

    sizes = {"img_size": (24, 40), "patch_size": 8, "embed_dim": 24, "num_blocks": 2, "num_classes": 5}
    kind = {"block_layer": mlp_mixer.ResBlock, "norm_layer": mlp_mixer.Affine} if residual else {}
    return mlp_mixer.MlpMixer(**{**sizes, **kind, **options})


def torchvision_convnext(**options: Any) -> nn.Module:
    """One of three blocks in two stages."""
    declare_operators()
    from torchvision.models import convnext

    sizes = [convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, None, 2)]
    return convnext.ConvNeXt(sizes, num_classes=5, **options)


def torchvision_efficientnet(**options: Any) -> nn.Module:
    """Version 2 with an eighth of the channels of s and a tenth of its blocks, rounded up."""
    declare_operators()
    from torchvision.models import efficientnet

    fused, plain = efficientnet.FusedMBConvConfig, efficientnet.MBConvConfig
    sizes = [
        fused(1, 3, 1, 8, 8, 1),
        fused(4, 3, 2, 8, 8, 1),
        fused(4, 3, 2, 8, 8, 1),
        plain(4, 3, 2, 8, 16, 1),
        plain(6, 3, 1, 16, 24, 1),
        plain(6, 3, 2, 24, 32, 2),
    ]
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    return efficientnet.EfficientNet(sizes, last_channel=160, num_classes=5, norm_layer=norm, **options)


def torchvision_mobilenet_v2(**options: Any) -> nn.Module:
    declare_operators()
    from torchvision.models import mobilenetv2

    return mobilenetv2.MobileNetV2(**options)


class HardSigmoid(nn.Module):
    """torch.nn.Hardsigmoid, whose own gradient is a sixth in float32, also of float64."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu6(x + 3) / 6


def torchvision_mobilenet_v3(sizes: Sequence[tuple[Any, ...]], **options: Any) -> nn.Module:
    declare_operators()
    from torchvision.models import mobilenetv3
    from torchvision.ops import SqueezeExcitation

    blocks = [mobilenetv3.InvertedResidualConfig(*each, dilation=1, width_mult=1.0) for each in sizes]
    model = mobilenetv3.MobileNetV3(blocks, **options)
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):
            module.scale_activation = HardSigmoid()
    return model


def torchvision_mnasnet(blocks: Sequence[int], **options: Any) -> nn.Module:
    """One with the first so many blocks of each stage."""
    declare_operators()
    from torchvision.models import mnasnet

    class Model(mnasnet.MNASNet):
        # Its own asks for the version that only its state dicts name, and is otherwise this one.
        _load_from_state_dict = nn.Module._load_from_state_dict

    model = Model(**options)
    for stage, count in enumerate(blocks, 8):
        model.layers[stage] = model.layers[stage][:count]
    return model


def torchvision_regnet() -> nn.Module:
    """One of three blocks in two stages, with squeeze-and-excite."""
    declare_operators()
    from torchvision.models import regnet

    sizes = regnet.BlockParams(
        depths=[1, 2],
        widths=[8, 16],
        group_widths=[4, 4],
        bottleneck_multipliers=[1.0, 1.0],
        strides=[2, 2],
        se_ratio=0.25,
    )
    return regnet.RegNet(sizes, num_classes=5)


def torchvision_vit(**options: Any) -> nn.Module:
    declare_operators()
    from torchvision.models import vision_transformer

    sizes = {"patch_size": 8, "num_layers": 2, "num_heads": 3, "hidden_dim": 24, "mlp_dim": 48}
    return vision_transformer.VisionTransformer(**{**sizes, **options})


def torchvision_swin(version: int = 1, **options: Any) -> nn.Module:
    """Without the buffers that it computes: Flax has no arrays for them."""
    declare_operators()
    from torchvision.models import swin_transformer as swin

    parts = {
        1: {},
        2: {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2},
    }
    sizes = {"patch_size": [4, 4], "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 2]}
    more = {"window_size": [3, 3], "stochastic_depth_prob": 0.0, **parts[version]}
    return without_buffers(swin.SwinTransformer(**{**sizes, **more, **options}))


def torchvision_maxvit(**options: Any) -> nn.Module:
    declare_operators()
    from torchvision.models import maxvit

    sizes = {"stem_channels": 8, "block_channels": [8, 12], "block_layers": [1, 1], "head_dim": 4}
    more = {"partition_size": 3, "stochastic_depth_prob": 0.0, "num_classes": 5, "input_size": (24, 24)}
    return without_buffers(maxvit.MaxVit(**{**sizes, **more, **options}))


def torchvision_segmenter(head: str, *, dropout: float = 0.0) -> nn.Module:
    """On a small ResNet, all dropouts of one rate; in training it gives the auxiliary logits, too."""
    declare_operators()
    from torchvision.models import resnet, segmentation
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation import deeplabv3, fcn

    layers = {"layer3": "aux", "layer4": "out"}
    backbone = resnet.ResNet(
        resnet.Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True]
    )
    classifier = fcn.FCNHead(2048, 5) if head == "fcn" else deeplabv3.DeepLabHead(2048, 5)

    class Output(segmentation.FCN):
        def forward(self, x: Tensor) -> Any:
            out = super().forward(x)
            return (out["out"], out["aux"]) if self.training else out["out"]

    model = Output(IntermediateLayerGetter(backbone, layers), classifier, fcn.FCNHead(1024, 5))
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout
    return model


# Kernel, channels inside and outside, activation, stride, squeezes: zoo.mobilenet's blocks.
MOBILE_BLOCKS = (
    (3, 16, 16, "relu", 2, False),
    (3, 24, 24, "relu", 2, True),
    # As many channels as before, and yet no residual connection, since the dilation stands for a stride.
    (5, 48, 24, "hard_swish", 2, False),
    (5, 64, 24, "hard_swish", 1, True),
)


def torchvision_lraspp() -> nn.Module:
    """On a small MobileNet, whose last stride is a dilation."""
    declare_operators()
    from torchvision.models import mobilenetv3
    from torchvision.models.segmentation import lraspp

    settings, inputs = [], 16
    for size, inside, channels, activation, stride, squeezes in MOBILE_BLOCKS:
        kind, dilation = "HS" if activation == "hard_swish" else "RE", 2 if size == 5 else 1
        settings.append(
            mobilenetv3.InvertedResidualConfig(
                inputs, size, inside, channels, squeezes, kind, stride, dilation, 1.0
            )
        )
        inputs = channels

    class Output(lraspp.LRASPP):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)["out"]

    model = lraspp._lraspp_mobilenetv3(mobilenetv3.MobileNetV3(settings, 8), 5)
    model.__class__ = Output
    for part in model.modules():
        if hasattr(part, "scale_activation"):
            part.scale_activation = HardSigmoid()
    return model


def without_buffers(module: nn.Module) -> nn.Module:
    """The same, whose state dict lacks all buffers but running statistics."""
    for part in module.modules():
        part._non_persistent_buffers_set |= {n for n in part._buffers if not n.startswith(("running", "num"))}
    return module


def timm_swin(version: int = 1, **options: Any) -> nn.Module:
    declare_operators()
    from timm.models import swin_transformer, swin_transformer_v2

    make = {1: swin_transformer.SwinTransformer, 2: swin_transformer_v2.SwinTransformerV2}[version]
    sizes = {"embed_dim": 8, "depths": (2, 1), "num_heads": (2, 2), "window_size": 3}
    return make(**{**sizes, "drop_path_rate": 0.0, **options})


def transformers_vit(name: str, *, interpolate: bool = False, **options: Any) -> nn.Module:
    """A model by its class's name, with the outputs of `visual_output`.

    With "sdpa" attention: the softmax of the other is in float32 whatever the inputs are in.
    """
    declare_operators()
    import transformers

    parent = getattr(transformers, name)

    class Output(parent):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x, **({"interpolate_pos_encoding": True} if interpolate else {}))
            return visual_output(out)

        def full(self, x: Tensor) -> Any:
            return super().forward(x)

    sizes = {"patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    rest = {} if name.startswith("Dinov2") else {"intermediate_size": 48}
    config = parent.config_class(**{**sizes, **rest, **options}, attn_implementation="sdpa")
    return Output(config)


def transformers_segformer(
    name: str = "SegformerForSemanticSegmentation", *, rate: float = 0.0, classifier_rate: float = 0.0
) -> nn.Module:
    """A SegFormer by its class's name, with dropouts of one rate in its blocks, and no stochastic depth."""
    declare_operators()
    import transformers

    parent = getattr(transformers, name)

    class Output(parent):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).logits

    config = transformers.SegformerConfig(
        hidden_sizes=[8, 12, 16, 20],
        depths=[1, 2, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
        decoder_hidden_size=12,
        num_labels=5,
        drop_path_rate=0.0,
        hidden_dropout_prob=rate,
        attention_probs_dropout_prob=rate,
        classifier_dropout_prob=classifier_rate,
        attn_implementation="sdpa",
    )
    return Output(config)


def processor(name: str, **options: Any) -> Any:
    """An image processor of transformers; one on Pillow has a name that ends in Pil."""
    declare_operators()
    import transformers

    return getattr(transformers, name)(**options)


def write_vit(vit: nn.Module, directory: Path) -> None:
    """As transformers does, which looks at the class to know what names its files have."""
    plain = type(vit).__mro__[1](vit.config).double()
    plain.load_state_dict(vit.state_dict())
    plain.save_pretrained(directory)

"""Cases of mobile."""

from functools import partial
from typing import Any

from torch import nn

from tests.cases.case import Case, images
from tests.reference import published

SIZES = {"stem_channels": 8, "last_channels": 16, "num_classes": 5}
SMALL = {
    **SIZES,
    "stages": [
        ["ds s2 c8 se2 relu"],
        ["ir s2 k3.5 p1.1 m24 c16 se8", "uir a3 p5 m32 c16", "er m16 c16 noskip"],
        ["cn k1 c24"],
    ],
}
SMALL_WORDS = [
    ["ds_r1_k3_s2_e1_c8_se0.25_nre"],
    ["ir_r1_k3.5_p1.1_s2_e3_c16_se0.33", "uir_r1_a3_k0_p5_s1_e2_c16", "er_r1_k3_s1_e1_c16_noskip"],
    ["cn_r1_k1_s1_c24"],
]


def _small(**options: Any) -> nn.Module:
    squeeze = published.timm_squeeze(gate_layer="hard_sigmoid", force_act_layer=nn.ReLU)
    return published.timm_blocks(
        "MobileNetV3", SMALL_WORDS, act_layer=nn.Hardswish, se_layer=squeeze, **options
    )


CASES = {
    "mobile": Case("mobile", SMALL, _small, [images(3, 40, 56, 3)], layout="timm", norms=1.0),
    "mobile, fused, mixed, padded as TensorFlow pads": Case(
        "mobile",
        {
            **SIZES,
            "stages": [
                ["cn c8", "cn c8 skip"],
                ["er s2 m32 c12", "er m24 c12 se3"],
                ["ir s2 a1.1 k3.5.7 p1.1 m40 c16 se4 relu"],
                ["dsa k5 c16"],
            ],
            "activation": "silu",
            "squeeze_activation": "",
            "gate": "sigmoid",
            "last": "map",
            "epsilon": 1e-3,
            "same_padding": True,
        },
        lambda: published.timm_blocks(
            "EfficientNet",
            [
                ["cn_r1_k3_s1_e1_c8", "cn_r1_k3_s1_e1_c8_skip"],
                ["er_r1_k3_s2_e4_c12", "er_r1_k3_s1_e2_c12_se0.25"],
                ["ir_r1_k3.5.7_a1.1_p1.1_s2_e3_c16_se0.33_nre"],
                ["dsa_r1_k5_s1_c16"],
            ],
            act_layer=nn.SiLU,
            norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
            pad_type="same",
            round_chs_fn=int,
        ),
        [images(3, 41, 56, 3)],
        layout="timm",
        norms=1.0,
        slow=True,
    ),
    "mobile, universal, averaged": Case(
        "mobile",
        {
            **SIZES,
            "stages": [
                ["er s2 m32 c16"],
                ["uir s2 a3 k5 m48 c24", "uir a3 p5 m48 c24"],
                ["uir m48 c24", "uir k3 m48 c24"],
            ],
            "activation": "relu",
            "shrinking": "average",
            "last": "norm",
        },
        lambda: published.timm_blocks(
            "MobileNetV3",
            [
                ["er_r1_k3_s2_e4_c16"],
                ["uir_r1_a3_k5_s2_e3_c24", "uir_r1_a3_k0_p5_s1_e2_c24"],
                ["uir_r1_a0_k0_s1_e2_c24", "uir_r1_a0_k3_s1_e2_c24"],
            ],
            aa_layer="avg",
            head_norm=True,
        ),
        [images(3, 40, 57, 3)],
        layout="timm",
        norms=1.0,
        slow=True,
    ),
    "mobile, attention": Case(
        "mobile",
        {
            **SIZES,
            "stages": [["er s2 m32 c16"], ["mqa h2 d4 c16 k3 v2", "mqa h2 d4 c16", "uir a3 m32 c16"]],
            "activation": "gelu",
            "layer_scale": 1e-5,
            "last": "norm",
        },
        lambda: published.timm_blocks(
            "MobileNetV3",
            [
                ["er_r1_k3_s2_e4_c16"],
                ["mqa_r1_k3_h2_s1_v2_d4_c16", "mqa_r1_k3_h2_s1_d4_c16", "uir_r1_a3_k0_s1_e2_c16"],
            ],
            act_layer=nn.GELU,
            head_norm=True,
            layer_scale_init_value=1e-5,
        ),
        [images(3, 44, 58, 3)],
        layout="timm",
        norms=1.0,
        slow=True,
    ),
    "mobile, blurred": Case(
        "mobile",
        {
            **SIZES,
            "stages": [["ir s2 m32 c16"], ["uir s2 a3 m48 c24"]],
            "activation": "relu",
            "shrinking": "blur_zeros",
            "last": "plain",
        },
        lambda: published.timm_blocks(
            "MobileNetV3",
            [["ir_r1_k3_s2_e4_c16"], ["uir_r1_a3_k0_s2_e3_c24"]],
            aa_layer="blurpc",
            head_bias=False,
        ),
        [images(3, 44, 58, 3)],
        layout="timm",
        norms=1.0,
        slow=True,
    ),
    "mobile, no last convolution": Case(
        "mobile",
        {**SIZES, "stages": [["dsa s2 c16"]], "activation": "relu6", "last_channels": 0},
        lambda: published.timm_blocks(
            "EfficientNet", [["dsa_r1_k3_s2_c16"]], act_layer=nn.ReLU6, num_features=0
        ),
        [images(3, 20, 25, 3)],
        layout="timm",
        norms=1.0,
        slow=True,
    ),
}
DROPOUT_CASES = {
    "mobile": Case(
        "mobile",
        {**SMALL, "stochastic_depth": 0.6, "dropout": 0.3},
        partial(_small, drop_path_rate=0.6, drop_rate=0.3),
        [images(4, 40, 56, 3)],
        layout="timm",
    ),
}

"""Cases of eva: one for each set of options that timm's published models have."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from tests.cases.case import Case, images
from tests.reference.published import timm_vit
from tests.reference.rotary_models import (
    timm_aimv2,
    timm_beit,
    timm_eva,
    timm_post,
    transformers_beit,
    transformers_dinov3,
)

_SIZES = {
    "image_size": [24, 40],
    "patch_size": 8,
    "width": 24,
    "depth": 2,
    "heads": 3,
    "feed_forward": 48,
    "num_classes": 5,
}
_NO_REGISTERS = {"registers": 0, "layer_scale": 0.0, "epsilon": 1e-6}
_AXIAL = {"rotary": "axial", "rotary_base": 1e4, "rotary_grid": 2}
_EVA02 = {**_NO_REGISTERS, **_AXIAL, "positions": True, "fc_norm": True, "swiglu": True}
_BEIT = {"registers": 0, "layer_scale": 0.1, "rotary": None, "fc_norm": True, "relative_bias": True}
_NAVER = {**_NO_REGISTERS, "layer_scale": 1.0, "key_bias": True, "pooling": "token", "rotary_order": "xy"}
_TIMM_EVA02 = {"use_rot_pos_emb": True, "ref_feat_shape": (2, 2), "swiglu_mlp": True}
_TIMM_DINOV3 = {
    "init_values": 1.0,
    "rope_type": "dinov3",
    "rope_temperature": 100,
    "rope_rotate_half": True,
    "use_rot_pos_emb": True,
    "use_abs_pos_emb": False,
    "num_reg_tokens": 4,
    "use_fc_norm": False,
    "norm_layer": partial(nn.LayerNorm, eps=1e-5),
}
_TIMM_NAVER = {
    "attn_type": "rope",
    "global_pool": "token",
    "init_values": 1.0,
    "rope_grid_indexing": "xy",
    "rope_temperature": 100.0,
    "use_abs_pos_emb": False,
    "use_rot_pos_emb": True,
}


def _case(
    config: Mapping[str, Any], options: Mapping[str, Any], layout: str = "timm", *, slow: bool = False
) -> Case:
    twin: Callable[[], nn.Module] = partial(timm_eva, **options)
    return Case("eva", {**_SIZES, **config}, twin, [images(3, 24, 40, 3)], layout=layout, slow=slow)


_UNTURNED = {
    **_SIZES,
    "positions": True,
    "rotary": None,
    "fc_norm": True,
    "key_bias": True,
}


CASES = {
    "beit3, with registers": Case(
        "eva",
        {**_UNTURNED, "registers": 2, "layer_scale": 0.1, "attention_norm": True, "mlp_norm": True},
        lambda: timm_vit(
            img_size=(24, 40),
            num_classes=5,
            reg_tokens=2,
            global_pool="avg",
            init_values=0.1,
            scale_attn_norm=True,
            scale_mlp_norm=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
        ),
        [images(3, 24, 40, 3)],
        layout="timm_vit",
        slow=True,
    ),
    "norms behind, no places": Case(
        "eva",
        {**_UNTURNED, **_NO_REGISTERS, "class_token": False, "post_norm": True, "qkv_bias": False},
        lambda: timm_post(img_size=(24, 40), num_classes=5),
        [images(3, 24, 40, 3)],
        layout="timm_vit",
        slow=True,
    ),
    "aimv2": Case(
        "eva",
        {
            **_UNTURNED,
            "registers": 0,
            "layer_scale": 0.0,
            "class_token": False,
            "fc_norm": False,
            "patch_norm": True,
            "norm": "rms",
            "swiglu": True,
            "qkv_bias": False,
            "biases": False,
        },
        lambda: timm_aimv2(img_size=(24, 40), num_classes=5),
        [images(3, 24, 40, 3)],
        layout="timm_vit",
        slow=True,
    ),
    "perception encoder for language": _case(
        {
            **_NO_REGISTERS,
            **_AXIAL,
            "key_bias": True,
            "positions": True,
            "layer_scale": 0.1,
            "pre_norm": True,
            "final_norm": False,
            "class_token": False,
        },
        {
            "attn_type": "rope",
            "class_token": False,
            "use_rot_pos_emb": True,
            "ref_feat_shape": (2, 2),
            "use_pre_transformer_norm": True,
            "use_post_transformer_norm": False,
            "use_fc_norm": False,
            "init_values": 0.1,
        },
        "timm_biased_keys",
        slow=True,
    ),
    "dinov3": _case({"layer_scale": 1.0}, _TIMM_DINOV3),
    "dinov3, no biases": _case(
        {"layer_scale": 1.0, "qkv_bias": False}, {**_TIMM_DINOV3, "qkv_bias": False}, slow=True
    ),
    "dinov3 plus": _case(
        {"layer_scale": 1.0, "feed_forward": 56, "swiglu": True},
        {**_TIMM_DINOV3, "swiglu_mlp": True, "swiglu_align_to": 8, "mlp_ratio": 2.2},
        slow=True,
    ),
    "lingbot": _case(
        {"layer_scale": 1.0, "pooling": "token"}, {**_TIMM_DINOV3, "global_pool": "token"}, slow=True
    ),
    "sapiens 2": _case(
        {
            "layer_scale": 1.0,
            "mlp_scale": False,
            "heads": 6,
            "key_value_heads": [6, 3],
            "key_bias": True,
            "query_norm": True,
            "norm": "rms",
            "epsilon": 1e-6,
            "swiglu": True,
            "registers": 8,
            "pooling": "token",
        },
        {
            **_TIMM_DINOV3,
            "attn_only_layer_scale": True,
            "attn_type": "rope",
            "global_pool": "token",
            "num_heads": 6,
            "num_kv_heads": (6, 3),
            "num_reg_tokens": 8,
            "qk_norm": True,
            "qkv_fused": False,
            "swiglu_mlp": True,
            "norm_layer": "rms",
        },
        "timm_split_packed",
    ),
    "eva02, small": _case(_EVA02, _TIMM_EVA02, "timm_packed", slow=True),
    "eva02, base": _case(
        {**_EVA02, "mlp_norm": True},
        {**_TIMM_EVA02, "scale_mlp": True, "qkv_fused": False},
        "timm_split",
        slow=True,
    ),
    "eva02, clip": _case(
        {**_EVA02, "mlp_norm": True, "attention_norm": True, "fc_norm": False, "pooling": "token"},
        {
            **_TIMM_EVA02,
            "scale_mlp": True,
            "scale_attn_inner": True,
            "qkv_fused": False,
            "global_pool": "token",
        },
        "timm_split",
        slow=True,
    ),
    "eva": _case({**_NO_REGISTERS, "rotary": None, "positions": True, "fc_norm": True}, {}, slow=True),
    "eva02, enormous": _case(
        {**_NO_REGISTERS, "rotary": None, "positions": True, "post_norm": True, "pooling": "token"},
        {"use_post_norm": True, "global_pool": "token"},
        slow=True,
    ),
    "rope, registers, of the mean": _case(
        {
            **_NO_REGISTERS,
            **_AXIAL,
            "layer_scale": 1.0,
            "class_token": False,
            "registers": 1,
            "fc_norm": True,
        },
        {
            "init_values": 1.0,
            "class_token": False,
            "num_reg_tokens": 1,
            "use_rot_pos_emb": True,
            "use_abs_pos_emb": False,
            "ref_feat_shape": (2, 2),
        },
        slow=True,
    ),
    "rope": _case({**_NAVER, "rotary": "axial"}, _TIMM_NAVER, "timm_biased_keys", slow=True),
    "rope, positions": _case(
        {**_NAVER, "rotary": "axial", "positions": True, "class_position": False},
        {**_TIMM_NAVER, "use_abs_pos_emb": True, "no_embed_class": True},
        "timm_biased_keys",
        slow=True,
    ),
    "rope, mixed": _case(
        {**_NAVER, "rotary": "mixed", "rotary_base": 10.0},
        {**_TIMM_NAVER, "rope_type": "mixed", "rope_temperature": 10.0},
        "timm_biased_keys",
        slow=True,
    ),
    "rope, mixed, positions": _case(
        {**_NAVER, "rotary": "mixed", "rotary_base": 10.0, "positions": True, "class_position": False},
        {
            **_TIMM_NAVER,
            "rope_type": "mixed",
            "rope_temperature": 10.0,
            "use_abs_pos_emb": True,
            "no_embed_class": True,
        },
        "timm_biased_keys",
        slow=True,
    ),
    "perception encoder": _case(
        {
            **_NO_REGISTERS,
            **_AXIAL,
            "key_bias": True,
            "rotary_order": "xy",
            "rotary_offset": 1.0,
            "positions": True,
            "pre_norm": True,
            "pooling": "attention",
            "epsilon": 1e-5,
        },
        {
            "attn_type": "rope",
            "global_pool": "map",
            "use_pre_transformer_norm": True,
            "use_rot_pos_emb": True,
            "ref_feat_shape": (2, 2),
            "rope_grid_offset": 1.0,
            "rope_grid_indexing": "xy",
            "attn_pool_num_heads": 8,
            "attn_pool_mlp_ratio": 4.0,
            "norm_layer": partial(nn.LayerNorm, eps=1e-5),
        },
        "timm_biased_keys",
        slow=True,
    ),
    "dinov3, of the Hub, maps": Case(
        "eva",
        {
            **_SIZES,
            "layer_scale": 1.0,
            "maskable": True,
            "swiglu": True,
            "key_bias": True,
            "head": "maps",
            "out_features": ["stem", "stage1"],
        },
        lambda: transformers_dinov3(
            "DINOv3ViTBackbone",
            use_gated_mlp=True,
            hidden_act="silu",
            key_bias=True,
            num_register_tokens=4,
            out_features=["stem", "stage1"],
        ),
        [images(3, 24, 40, 3)],
        layout="transformers5",
        slow=True,
    ),
    "beit": Case(
        "eva",
        {**_SIZES, **_BEIT, "epsilon": 1e-6},
        partial(timm_beit, init_values=0.1, use_rel_pos_bias=True),
        [images(3, 24, 40, 3)],
        layout="timm",
    ),
    "beit, shared biases": Case(
        "eva",
        {
            **_SIZES,
            **_BEIT,
            "epsilon": 1e-6,
            "layer_scale": 0.0,
            "shared_relative_bias": True,
            "positions": True,
            "fc_norm": False,
            "pooling": "token",
        },
        partial(
            timm_beit,
            use_abs_pos_emb=True,
            use_rel_pos_bias=True,
            use_shared_rel_pos_bias=True,
            global_pool="token",
        ),
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
    "beit, of the Hub": Case(
        "eva",
        {
            **_SIZES,
            **_BEIT,
            "image_size": 32,
            "epsilon": 1e-12,
            "maskable": True,
            "shared_relative_bias": True,
        },
        lambda: transformers_beit(
            "BeitForImageClassification",
            use_relative_position_bias=True,
            use_shared_relative_position_bias=True,
            num_labels=5,
        ),
        [images(3, 32, 32, 3)],
        layout="transformers5_beit_classifier",
        slow=True,
    ),
}
DROPOUT_CASES = {
    "eva": _case(
        {
            "layer_scale": 1.0,
            "positions": True,
            "dropout": 0.2,
            "attention_dropout": 0.2,
            "stochastic_depth": 0.5,
        },
        {
            **_TIMM_DINOV3,
            "use_abs_pos_emb": True,
            "pos_drop_rate": 0.2,
            "proj_drop_rate": 0.2,
            "attn_drop_rate": 0.2,
            "drop_path_rate": 0.5,
        },
    )
}

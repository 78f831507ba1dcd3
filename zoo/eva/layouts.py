"""Names of tensors and options in files of vision transformers with rotary position embeddings."""

from typing import Any

from converters.matching import Fuse, NamesAndRules
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields
from zoo.eva import layouts_beit

_PARTS = ("*.q_proj.", "*.k_proj.", "*.v_proj.")
_TIMM = (
    (r"^patch_embed\.", "patch_embed.proj."),
    (r"\.ls([12])\.gamma", r".gamma_\1"),
    (r"\.attn\.relative\.table", ".attn.relative_position_bias_table"),
    (r"^relative\.table", "rel_pos_bias.relative_position_bias_table"),
)
# timm keeps queries, keys and values in one tensor or three; if keys have no bias, the two that there are
# stand beside the one tensor.
_QUERIES: dict[str, NamesAndRules] = {
    "": (
        Fuse("*.qkv.weight", tuple(f"{part}weight" for part in _PARTS)),
        (r"\.([qv])_proj\.bias", r".\1_bias"),
    ),
    "_biased_keys": (Fuse("*.qkv.*", tuple(f"{part}*" for part in _PARTS)),),
    "_split": (),
}
_GATES: dict[str, NamesAndRules] = {
    "": (),
    "_packed": (Fuse("*.fc1.*", ("*.fc1_g.*", "*.fc1_x.*")),),
}
_TRANSFORMERS = (
    (r"^((cls|mask)_token)", r"embeddings.\1"),
    (r"^reg_token", "embeddings.register_tokens"),
    (r"^patch_embed\.", "embeddings.patch_embeddings."),
    (r"\.attn\.([qkv])_proj\.", r".attention.\1_proj."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.ls([12])\.gamma", r".layer_scale\1.lambda1"),
    (r"\.mlp\.fc1_g\.", ".mlp.gate_proj."),
    (r"\.mlp\.fc1(_x)?\.", ".mlp.up_proj."),
    (r"\.mlp\.fc2\.", ".mlp.down_proj."),
)
TORCH_NAMES: dict[str, NamesAndRules] = {
    **{
        f"timm{queries}{gates}": (*_TIMM, *of_queries, *of_gates)
        for queries, of_queries in _QUERIES.items()
        for gates, of_gates in _GATES.items()
    },
    # timm's other class, whose blocks have no places.
    "timm_vit": (
        (r"^patch_embed\.", "patch_embed.proj."),
        (r"^patch_embed_norm\.", "patch_embed.norm."),
        *_QUERIES["_biased_keys"],
    ),
    "transformers": (*_TRANSFORMERS, (r"^blocks\.", "layer.")),
    # The state dicts of transformers 5; the files that it writes still have the older names.
    "transformers5": (*_TRANSFORMERS, (r"^blocks\.", "model.layer.")),
    **layouts_beit.TORCH_NAMES,
}

IGNORED = {
    r"(head|lm_head)\..*": "the head",
    r"(.*\.)?mask_token": "the token for masked patches",
    r"(.*\.)?rope\.(?!freqs).*": "the places of patches",
    **layouts_beit.IGNORED,
}

_DINOV3: dict[str, Any] = {"key_bias": False, "registers": 0, "pooling": "token", "maskable": True}
CONFIG_FIELDS = {
    "dinov3_vit": ConfigFields(
        keywords={
            "image_size": "image_size",
            "patch_size": "patch_size",
            "num_channels": "in_channels",
            "hidden_size": "width",
            "intermediate_size": "feed_forward",
            "num_hidden_layers": "depth",
            "num_attention_heads": "heads",
            "num_register_tokens": "registers",
            "hidden_act": "activation",
            "layer_norm_eps": "epsilon",
            "layerscale_value": "layer_scale",
            "rope_theta": "rotary_base",
            "pos_embed_rescale": "rotary_rescale",
            "query_bias": "qkv_bias",
            "value_bias": "qkv_bias",
            "key_bias": "key_bias",
            "use_gated_mlp": "swiglu",
            "attention_dropout": "attention_dropout",
            "out_features": "out_features",
            "out_indices": "out_indices",
        },
        heads={"DINOv3ViTModel": {"head": "none"}, "DINOv3ViTBackbone": {"head": "maps"}},
        fixed={
            "proj_bias": True,
            "mlp_bias": True,
            "drop_path_rate": 0.0,
            "pos_embed_shift": None,
            "pos_embed_jitter": None,
        },
        fixed_for={"maps": {"apply_layernorm": True, "reshape_hidden_states": True}},
        irrelevant=("stage_names", "apply_layernorm", "reshape_hidden_states", "return_class_token"),
        defaults={
            **_DINOV3,
            "image_size": 224,
            "width": 384,
            "heads": 6,
            "feed_forward": 1536,
            "layer_scale": 1.0,
            "rotary_rescale": 2.0,
        },
        inputs=(Input("images", (1, 224, 224, 3), "float32"),),
        processor="DINOv3ViTImageProcessor",
        layouts={"": "transformers"},
    ),
    **layouts_beit.CONFIG_FIELDS,
}

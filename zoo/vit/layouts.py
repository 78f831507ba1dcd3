"""Names of tensors and options in files of vision transformers; the layers here have timm's."""

from typing import Any

from converters.matching import Split
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

_TORCHVISION = (
    (r"^cls_token", "class_token"),
    (r"^patch_embed\.", "conv_proj."),
    (r"^pos_embed", "encoder.pos_embedding"),
    (r"^norm\.", "encoder.ln."),
    (r"^(head|pre_logits)\.", r"heads.\1."),
    (r"^blocks\.", "encoder.layers.encoder_layer_"),
    (r"\.norm([12])\.", r".ln_\1."),
    (r"\.attn\.qkv\.", ".self_attention.in_proj_"),
    (r"\.attn\.proj\.", ".self_attention.out_proj."),
)
_EMBEDDINGS = (
    (r"^((cls|mask)_token)", r"embeddings.\1"),
    (r"^dist_token", "embeddings.distillation_token"),
    (r"^pos_embed", "embeddings.position_embeddings"),
    (r"^patch_embed\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^pre_logits\.", "pooler.dense."),
)
_NORMS = ((r"\.norm1\.", ".layernorm_before."), (r"\.norm2\.", ".layernorm_after."))
_SCALES = ((r"\.ls([12])\.gamma", r".layer_scale\1.lambda1"),)
_FILES = (
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.qkv\.", ".attention.attention.qkv."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    Split("*.qkv.*", ("*.query.*", "*.key.*", "*.value.*")),
)
_MLPS = ((r"\.mlp\.fc1\.", ".intermediate.dense."), (r"\.mlp\.fc2\.", ".output.dense."))
# The state dicts of transformers 5; the files that it writes still have the older names.
_STATE_DICTS = (
    (r"\.attn\.qkv\.", ".attention.qkv."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    Split("*.qkv.*", ("*.q_proj.*", "*.k_proj.*", "*.v_proj.*")),
)
_CLASSIFIERS = {
    "": ((r"^(?!head)", "vit."), (r"^head\.", "classifier.")),
    "_model": (),  # ViTModel: no head, num_classes=0
    "_deit": (
        (r"^(?!head)", "deit."),
        (r"^head\.", "cls_classifier."),
        (r"^head_dist\.", "distillation_classifier."),
    ),
}
TORCH_NAMES = {
    "timm": ((r"^patch_embed\.", "patch_embed.proj."),),  # and of the original DeiT
    "torchvision": (*_TORCHVISION, (r"\.mlp\.fc1\.", ".mlp.0."), (r"\.mlp\.fc2\.", ".mlp.3.")),
    "torchvision_files": (*_TORCHVISION, (r"\.mlp\.fc([12])\.", r".mlp.linear_\1.")),  # older than its model
    **{
        f"transformers{name}": (*_EMBEDDINGS, *_NORMS, *_FILES, *_MLPS, *head)
        for name, head in _CLASSIFIERS.items()
    },
    **{
        f"transformers5{name}": (*_EMBEDDINGS, *_NORMS, *_STATE_DICTS, (r"^blocks\.", "layers."), *head)
        for name, head in _CLASSIFIERS.items()
    },
    "transformers_dinov2": (*_EMBEDDINGS, *_SCALES, *_FILES),  # Dinov2Model
    "transformers5_dinov2": (*_EMBEDDINGS, *_SCALES, *_STATE_DICTS, (r"^blocks\.", "encoder.layer.")),
}

IGNORED = {
    r"(head|head_dist|heads)\..*": "the head",
    r"(cls_|distillation_)?classifier\..*": "the head",
    r"(.*\.)?pooler\..*": "the pooler",
    r"(.*\.)?mask_token": "the token for masked patches",
}

_SIZES = {
    "image_size": "image_size",
    "patch_size": "patch_size",
    "num_channels": "in_channels",
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "hidden_act": "activation",
    "layer_norm_eps": "epsilon",
    "qkv_bias": "qkv_bias",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}
_IMAGES = (Input("images", (1, 224, 224, 3), "float32"),)
_VIT: dict[str, Any] = {
    "keywords": {**_SIZES, "intermediate_size": "feed_forward"},
    "fixed": {"pooler_act": "tanh"},
    # For masked image modelling, and a width that the pooler's own weight tells.
    "irrelevant": ("encoder_stride", "pooler_output_size"),
    "inputs": _IMAGES,
    "classifies": True,
}
# There is no dropout between the dense layers in transformers.
_DEFAULTS: dict[str, Any] = {
    "epsilon": 1e-12,
    "feed_forward": 3072,
    "mlp_dropout": 0.0,
    "resizing": "transformers",
}
CONFIG_FIELDS = {
    "vit": ConfigFields(
        heads={
            "ViTForImageClassification": {},
            "ViTModel": {"num_classes": 0, "representation": True},
        },
        defaults=_DEFAULTS,
        processor="ViTImageProcessor",
        **_VIT,
    ),
    "deit": ConfigFields(
        heads={"DeiTForImageClassificationWithTeacher": {}},
        defaults={**_DEFAULTS, "distilled": True},
        processor="DeiTImageProcessor",
        **_VIT,
    ),
    "dinov2": ConfigFields(
        keywords={**_SIZES, "layerscale_value": "layer_scale", "use_mask_token": "maskable"},
        heads={"Dinov2Model": {}},
        fixed={"mlp_ratio": 4, "use_swiglu_ffn": False, "drop_path_rate": 0.0},
        # Of the backbone for other models.
        irrelevant=("apply_layernorm", "out_features", "out_indices", "reshape_hidden_states", "stage_names"),
        defaults={
            "num_classes": 0,
            "patch_size": 16,
            "layer_scale": 1.0,
            "maskable": True,
            "mlp_dropout": 0.0,
            "resizing": "transformers",
        },
        processor="BitImageProcessor",
        inputs=_IMAGES,
    ),
}

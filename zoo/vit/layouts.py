"""Names of tensors and options in files of vision transformers; the layers here have timm's."""

from typing import Any

from converters.matching import NamesAndRules, Split
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
    (r"^reg_token", "embeddings.register_tokens"),
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
# SwiGLU layers have the names of DINOv2's own files.
_GATED = ((r"\.mlp\.w12\.", ".mlp.weights_in."), (r"\.mlp\.w3\.", ".mlp.weights_out."))
_GATED_STATE_DICTS = (
    Split("*.mlp.w12.*", ("*.mlp.gate_proj.*", "*.mlp.up_proj.*")),
    (r"\.mlp\.w3\.", ".mlp.down_proj."),
)
_MLPS = ((r"\.mlp\.fc1\.", ".intermediate.dense."), (r"\.mlp\.fc2\.", ".output.dense."))
# The state dicts of transformers 5; the files that it writes still have the older names.
_STATE_DICTS = (
    (r"\.attn\.qkv\.", ".attention.qkv."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    Split("*.qkv.*", ("*.q_proj.*", "*.k_proj.*", "*.v_proj.*")),
)
_BASE = r"^(?!head|decoder)"
_CLASSIFIERS: dict[str, NamesAndRules] = {
    "": ((_BASE, "vit."), (r"^head\.", "classifier.")),
    "_model": (),  # ViTModel and DeiTModel: no head, num_classes=0
    "_deit": (
        (_BASE, "deit."),
        (r"^head\.", "cls_classifier."),
        (r"^head_dist\.", "distillation_classifier."),
    ),
    "_deit_classifier": ((_BASE, "deit."), (r"^head\.", "classifier.")),
}
_DINOV2: dict[str, NamesAndRules] = {
    "_dinov2": (),  # Dinov2Model and Dinov2Backbone, with registers or without
    "_dinov2_classifier": ((_BASE, "dinov2."), (r"^head\.", "classifier.")),
    "_dinov2_with_registers": ((_BASE, "dinov2_with_registers."), (r"^head\.", "classifier.")),
}
# Layers of Flax without names of their own, numbered as they are called.
_NUMBERED = (
    (r"^patch_embed\.", "embedding."),
    (r"^cls_token", "cls"),
    (r"^norm\.", "Transformer.encoder_norm."),
    (r"^blocks\.(\d+)\.norm1\.", r"Transformer.encoderblock_\1.LayerNorm_0."),
    (r"\.attn\.proj\.", ".attn.out."),
    Split("*.qkv.*", ("*.query.*", "*.key.*", "*.value.*")),
)
TORCH_NAMES = {
    "timm": (  # and of the original DeiT
        (r"^patch_embed\.", "patch_embed.proj."),
        (r"\.mlp\.w12\.", ".mlp.fc1."),
        (r"\.mlp\.w3\.", ".mlp.fc2."),
    ),
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
    **{
        f"transformers{name}": (*_EMBEDDINGS, *_SCALES, *_FILES, *_GATED, *head)
        for name, head in _DINOV2.items()
    },
    **{
        f"transformers5{name}": (
            *_EMBEDDINGS,
            *_SCALES,
            *_STATE_DICTS,
            *_GATED_STATE_DICTS,
            (r"^blocks\.", "encoder.layer."),
            *head,
        )
        for name, head in _DINOV2.items()
    },
    "vision_transformer": (
        *_NUMBERED,
        (r"^pos_embed", "Transformer.posembed_input.pos_embedding"),
        (r"^blocks\.(\d+)\.attn\.", r"Transformer.encoderblock_\1.MultiHeadDotProductAttention_1."),
        (r"^blocks\.(\d+)\.norm2\.", r"Transformer.encoderblock_\1.LayerNorm_2."),
        (r"^blocks\.(\d+)\.mlp\.fc1\.", r"Transformer.encoderblock_\1.MlpBlock_3.Dense_0."),
        (r"^blocks\.(\d+)\.mlp\.fc2\.", r"Transformer.encoderblock_\1.MlpBlock_3.Dense_1."),
    ),
    "big_vision": (
        *_NUMBERED,
        (r"^pos_embed", "pos_embedding"),
        (r"^blocks\.(\d+)\.attn\.", r"Transformer.encoderblock_\1.MultiHeadDotProductAttention_0."),
        (r"^blocks\.(\d+)\.norm2\.", r"Transformer.encoderblock_\1.LayerNorm_1."),
        (r"^blocks\.(\d+)\.mlp\.fc1\.", r"Transformer.encoderblock_\1.MlpBlock_0.Dense_0."),
        (r"^blocks\.(\d+)\.mlp\.fc2\.", r"Transformer.encoderblock_\1.MlpBlock_0.Dense_1."),
    ),
}

IGNORED = {
    r"(head|head_dist|heads)\..*": "the head",
    r"(cls_|distillation_)?classifier\..*": "the head",
    r"decoder\..*": "the decoder of masked patches",
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
_STAGES = {"out_features": "out_features", "out_indices": "out_indices"}
# There is no dropout between the dense layers in transformers.
_ALL: dict[str, Any] = {"mlp_dropout": 0.0, "resizing": "transformers"}
_VIT: dict[str, Any] = {
    "keywords": {**_SIZES, "intermediate_size": "feed_forward", "encoder_stride": "encoder_stride"},
    "fixed_for": {"pooler": {"pooler_act": "tanh"}},
    "irrelevant": ("pooler_act", "pooler_output_size"),  # a width that the pooler's own weight tells
    "inputs": (Input("images", (1, 224, 224, 3), "float32"),),
    "classifies": True,
}
_LOGITS = {"head": "classification"}
_POOLED = {"head": "pooler"}
_MASKED = {"head": "masked_images", "maskable": True}
_DINO: dict[str, Any] = {
    "fixed": {"mlp_ratio": 4, "drop_path_rate": 0.0},
    "fixed_for": {"maps": {"apply_layernorm": True, "reshape_hidden_states": True}},
    "irrelevant": ("stage_names", "apply_layernorm", "reshape_hidden_states"),
    "inputs": _VIT["inputs"],
    "classifies": True,
    "processor": "BitImageProcessor",
}
_DINO_KEYWORDS = {**_SIZES, **_STAGES, "layerscale_value": "layer_scale", "use_swiglu_ffn": "swiglu"}
_DINO_DEFAULTS = {**_ALL, "layer_scale": 1.0, "maskable": True}


def _dino_heads(name: str) -> dict[str, dict[str, Any]]:
    return {
        f"{name}Model": {"head": "none"},
        f"{name}ForImageClassification": {**_LOGITS, "pooling": "concat"},
        f"{name}Backbone": {"head": "maps"},
    }


CONFIG_FIELDS = {
    "vit": ConfigFields(
        heads={
            "ViTModel": _POOLED,
            "ViTForImageClassification": _LOGITS,
            "ViTForMaskedImageModeling": _MASKED,
        },
        defaults={**_ALL, "epsilon": 1e-12, "feed_forward": 3072},
        processor="ViTImageProcessor",
        layouts={"ViTModel": "transformers_model", "": "transformers"},
        **_VIT,
    ),
    "deit": ConfigFields(
        heads={
            "DeiTModel": {**_POOLED, "pooling": "token"},
            "DeiTForImageClassificationWithTeacher": _LOGITS,
            "DeiTForImageClassification": {**_LOGITS, "pooling": "token"},
            "DeiTForMaskedImageModeling": _MASKED,
        },
        defaults={**_ALL, "epsilon": 1e-12, "feed_forward": 3072, "distilled": True},
        processor="DeiTImageProcessor",
        layouts={
            "DeiTModel": "transformers_model",
            "DeiTForImageClassificationWithTeacher": "transformers_deit",
            "": "transformers_deit_classifier",
        },
        **_VIT,
    ),
    "dinov2": ConfigFields(
        keywords={**_DINO_KEYWORDS, "use_mask_token": "maskable"},
        heads=_dino_heads("Dinov2"),
        defaults={**_DINO_DEFAULTS, "patch_size": 14},
        layouts={
            "Dinov2ForImageClassification": "transformers_dinov2_classifier",
            "": "transformers_dinov2",
        },
        **_DINO,
    ),
    "dinov2_with_registers": ConfigFields(
        keywords={**_DINO_KEYWORDS, "num_register_tokens": "registers"},
        heads=_dino_heads("Dinov2WithRegisters"),
        # Its position embeddings are resized as timm resizes.
        defaults={**_DINO_DEFAULTS, "patch_size": 16, "registers": 4, "resizing": "timm"},
        layouts={
            "Dinov2WithRegistersForImageClassification": "transformers_dinov2_with_registers",
            "": "transformers_dinov2",
        },
        **_DINO,
    ),
}

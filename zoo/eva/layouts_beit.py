"""Names of tensors and options in transformers' files of BEiT and Data2Vec."""

from typing import Any

from converters.matching import NamesAndRules
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

_TABLE = "relative_position_bias.relative_position_bias_table"
_NAMES = (
    (r"^((cls|mask)_token)", r"embeddings.\1"),
    (r"^pos_embed", "embeddings.position_embeddings"),
    (r"^patch_embed\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^fc_norm\.", "pooler.layernorm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.ls([12])\.gamma", r".lambda_\1"),
)
_FILES = (
    *_NAMES,
    (r"\.attn\.relative\.table", f".attention.attention.{_TABLE}"),
    (r"^relative\.table", f"encoder.{_TABLE}"),
    (r"\.attn\.q_proj\.", ".attention.attention.query."),
    (r"\.attn\.k_proj\.", ".attention.attention.key."),
    (r"\.attn\.v_proj\.", ".attention.attention.value."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"^blocks\.", "encoder.layer."),
)
# The state dicts of transformers 5; the files that it writes still have the older names.
_STATE_DICTS = (
    *_NAMES,
    (r"\.attn\.relative\.table", f".{_TABLE}"),
    (r"^relative\.table", "shared_position_bias.relative_position_bias_table"),
    (r"\.attn\.([qkv])_proj\.", r".attention.\1_proj."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"^blocks\.", "layers."),
)


def _classifier(prefix: str) -> NamesAndRules:
    return ((r"^(?!head)", f"{prefix}."), (r"^head\.", "classifier."))


TORCH_NAMES: dict[str, NamesAndRules] = {
    "transformers_beit": _FILES,  # of the model alone; also Data2Vec's
    "transformers_beit_classifier": (*_FILES, *_classifier("beit")),
    "transformers_data2vec_classifier": (*_FILES, *_classifier("data2vec_vision")),
    "transformers5_beit": _STATE_DICTS,
    "transformers5_beit_classifier": (*_STATE_DICTS, *_classifier("beit")),
}

IGNORED = {
    r"classifier\..*": "the head",
    r"(.*\.)?relative_position_index": "the indices of relative places",
    r"(.*\.)?pooler\..*": "the pooler",
}

_FIELDS: dict[str, Any] = {
    "keywords": {
        "image_size": "image_size",
        "patch_size": "patch_size",
        "num_channels": "in_channels",
        "hidden_size": "width",
        "intermediate_size": "feed_forward",
        "num_hidden_layers": "depth",
        "num_attention_heads": "heads",
        "hidden_act": "activation",
        "layer_norm_eps": "epsilon",
        "layer_scale_init_value": "layer_scale",
        "use_mask_token": "maskable",
        "use_absolute_position_embeddings": "positions",
        "use_relative_position_bias": "relative_bias",
        "use_shared_relative_position_bias": "shared_relative_bias",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "drop_path_rate": "stochastic_depth",
        "out_features": "out_features",
        "out_indices": "out_indices",
    },
    "fixed": {"use_mean_pooling": True},
    "fixed_for": {"maps": {"add_fpn": False, "reshape_hidden_states": True}},
    "irrelevant": (
        "add_fpn",
        "reshape_hidden_states",
        "stage_names",
        "segmentation_indices",
        "vocab_size",
        "pool_scales",
        "use_auxiliary_head",
        "auxiliary_loss_weight",
        "auxiliary_channels",
        "auxiliary_num_convs",
        "auxiliary_concat_input",
        "semantic_loss_ignore_index",
    ),
    "defaults": {
        "image_size": 224,
        "registers": 0,
        "rotary": None,
        "fc_norm": True,
        "epsilon": 1e-12,
        "layer_scale": 0.1,
        "stochastic_depth": 0.1,
        "mlp_dropout": 0.0,
        "resizing": "transformers",
    },
    "inputs": (Input("images", (1, 224, 224, 3), "float32"),),
    "classifies": True,
    "processor": "BeitImageProcessor",
}
CONFIG_FIELDS = {
    "beit": ConfigFields(
        heads={
            "BeitModel": {"head": "none"},
            "BeitForImageClassification": {"head": "classification"},
            "BeitBackbone": {"head": "maps"},
        },
        layouts={
            "BeitForImageClassification": "transformers_beit_classifier",
            "": "transformers_beit",
        },
        **_FIELDS,
    ),
    "data2vec-vision": ConfigFields(
        heads={
            "Data2VecVisionModel": {"head": "none"},
            "Data2VecVisionForImageClassification": {"head": "classification"},
        },
        layouts={
            "Data2VecVisionForImageClassification": "transformers_data2vec_classifier",
            "": "transformers_beit",
        },
        **_FIELDS,
    ),
}

"""Names of tensors and options in files of SegFormer; the layers here have those of transformers' modules."""

from converters.matching import NamesAndRules
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

# The files that transformers writes still have the names of its older modules.
_FILES: NamesAndRules = (
    (r"\bstages\.(\d+)\.patch_embeddings\.", r"encoder.patch_embeddings.\1."),
    (r"\bstages\.(\d+)\.layer_norm\.", r"encoder.layer_norm.\1."),
    (r"\bstages\.(\d+)\.blocks\.", r"encoder.block.\1."),
    (r"\.layernorm_before\.", ".layer_norm_1."),
    (r"\.layernorm_after\.", ".layer_norm_2."),
    (r"\.attention\.sequence_reduction\.sequence_reduction\.", ".attention.self.sr."),
    (r"\.attention\.sequence_reduction\.", ".attention.self."),
    (r"\.attention\.q_proj\.", ".attention.self.query."),
    (r"\.attention\.k_proj\.", ".attention.self.key."),
    (r"\.attention\.v_proj\.", ".attention.self.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc([12])\.", r".mlp.dense\1."),
    (r"\blinear_projections\.", "linear_c."),
)
TORCH_NAMES: dict[str, NamesAndRules] = {
    "transformers": _FILES,
    "transformers_model": ((r"^segformer\.", ""), *_FILES),  # SegformerModel, without a head
    "transformers5": (),  # the state dicts of transformers 5
}
IGNORED = {r"(decode_head|classifier)\..*": "the head"}
REPLACED_HEAD = {r"(decode_head\.)?classifier\..*": "the head"}
CONFIG_FIELDS = {
    "segformer": ConfigFields(
        keywords={
            "num_channels": "in_channels",
            "hidden_sizes": "widths",
            "depths": "blocks",
            "num_attention_heads": "heads",
            "sr_ratios": "reductions",
            "patch_sizes": "patch_sizes",
            "strides": "strides",
            "mlp_ratios": "mlp_ratios",
            "decoder_hidden_size": "decoder_width",
            "hidden_act": "activation",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
            "classifier_dropout_prob": "classifier_dropout",
            "drop_path_rate": "drop_path",
        },
        heads={
            "SegformerModel": {"head": "none"},
            "SegformerForSemanticSegmentation": {"head": "segmentation"},
            "SegformerForImageClassification": {"head": "classification"},
        },
        fixed={"num_encoder_blocks": 4, "reshape_last_stage": True},
        # Of its norms transformers reads no epsilon, and of old files neither sizes.
        irrelevant=("layer_norm_eps", "semantic_loss_ignore_index", "downsampling_rates", "image_size"),
        inputs=(Input("pixel_values", (1, 512, 512, 3), "float32"),),
        classifies=True,
        processor="SegformerImageProcessor",
        layouts={"SegformerModel": "transformers_model", "": "transformers"},
    )
}

"""Names of tensors and options in the Hub's files of wav2vec 2.0 and HuBERT."""

from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

_PARTS = r"^(feature_extractor|feature_projection|encoder)\."
TORCH_NAMES = {
    "transformers": ((_PARTS, r"wav2vec2.\1."),),
    "hubert": ((_PARTS, r"hubert.\1."),),
    "transformers_model": (),  # Wav2Vec2Model and HubertModel
}
IGNORED = {
    r"(.*\.)?masked_spec_embed": "the vector of steps that pretraining masks",
    r"(quantizer|project_hid|project_q)\..*": "the quantizer of pretraining",
    r"lm_head\..*": "the head that writes down speech",
}
_INPUTS = (Input("input_values", (1, 16000), "float32"),)
_KEYWORDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "intermediate_size": "feed_forward",
    "hidden_act": "activation",
    "layer_norm_eps": "epsilon",
    "hidden_dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "feat_proj_dropout": "projection_dropout",
    "final_dropout": "final_dropout",
    "conv_dim": "conv_channels",
    "conv_kernel": "conv_kernels",
    "conv_stride": "conv_strides",
    "conv_bias": "conv_bias",
    "feat_extract_norm": "conv_norm",
    "feat_extract_activation": "conv_activation",
    "num_conv_pos_embeddings": "position_kernel",
    "num_conv_pos_embedding_groups": "position_groups",
    "do_stable_layer_norm": "norm_first",
    "pad_token_id": "pad_token_id",
}
# Of training alone: no layer is left out, and no step or feature masked.
_TRAINING = (
    "layerdrop",
    "feat_quantizer_dropout",
    "apply_spec_augment",
    "mask_time_prob",
    "mask_time_length",
    "mask_time_min_masks",
    "mask_time_selection",
    "mask_time_other",
    "mask_feature_prob",
    "mask_feature_length",
    "mask_feature_min_masks",
    "mask_channel_length",
    "mask_channel_min_space",
    "mask_channel_other",
    "mask_channel_prob",
    "mask_channel_selection",
    "no_mask_channel_overlap",
    "no_mask_time_overlap",
    "mask_time_min_space",
    "num_codevectors_per_group",
    "num_codevector_groups",
    "contrastive_logits_temperature",
    "num_negatives",
    "codevector_dim",
    "proj_codevector_dim",
    "diversity_loss_weight",
    "ctc_loss_reduction",
    "ctc_zero_infinity",
)
# Of classifiers and vectors of speakers, and sizes of what is not there.
_OTHERS = (
    "num_feat_extract_layers",
    "use_weighted_layer_sum",
    "classifier_proj_size",
    "tdnn_dim",
    "tdnn_kernel",
    "tdnn_dilation",
    "xvector_output_dim",
    "adapter_kernel_size",
    "adapter_stride",
    "num_adapter_layers",
    "output_hidden_size",
    "gradient_checkpointing",
    "feat_extract_dropout",
    "hidden_dropout_prob",
    "tokenizer_class",
)


def _fields(prefix: str, layout: str) -> ConfigFields:
    return ConfigFields(
        keywords=_KEYWORDS,
        heads={f"{prefix}Model": {"head": "none"}, f"{prefix}ForCTC": {"head": "ctc"}},
        layouts={f"{prefix}Model": "transformers_model", "": layout},
        fixed={
            "add_adapter": False,
            "adapter_attn_dim": None,
            "conv_pos_batch_norm": False,
            "feat_proj_layer_norm": True,
        },
        irrelevant=(*_TRAINING, *_OTHERS),
        inputs=_INPUTS,
    )


CONFIG_FIELDS = {
    "wav2vec2": _fields("Wav2Vec2", "transformers"),
    "hubert": _fields("Hubert", "hubert"),
}

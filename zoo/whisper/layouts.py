"""Names of tensors and options in the Hub's files of Whisper."""

from zoo._nn.seq2seq_attributes import KEYWORDS
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

TORCH_NAMES = {
    "transformers": ((r"^(encoder|decoder)\.", r"model.\1."),),
    "transformers_model": (),  # WhisperModel
}
TIED = {"proj_out.weight": "decoder.embed_tokens.weight"}
_INPUTS = (Input("input_features", (1, 3000, 80), "float32"), Input("decoder_input_ids", (1, 16), "int32"))
CONFIG_FIELDS = {
    "whisper": ConfigFields(
        keywords={
            **KEYWORDS,
            "num_mel_bins": "mel_bins",
            "max_source_positions": "source_length",
            "max_target_positions": "max_length",
        },
        heads={
            "WhisperModel": {"head": "none"},
            "WhisperForConditionalGeneration": {"head": "lm"},
        },
        layouts={"WhisperModel": "transformers_model", "": "transformers"},
        fixed={"is_encoder_decoder": True},
        fixed_for={"lm": {"tie_word_embeddings": True}},
        irrelevant=(
            "init_std",
            "scale_embedding",  # transformers reads it, and scales nothing
            "median_filter_width",  # of timestamps of words
            "use_weighted_layer_sum",  # of classifiers
            "classifier_proj_size",
            # Of training alone: no layer is left out, and no feature masked.
            "encoder_layerdrop",
            "decoder_layerdrop",
            "apply_spec_augment",
            "mask_time_prob",
            "mask_time_length",
            "mask_time_min_masks",
            "mask_feature_prob",
            "mask_feature_length",
            "mask_feature_min_masks",
        ),
        # Those of the models of English alone, which transformers takes.
        defaults={"pad_token_id": 50256, "eos_token_id": 50256, "decoder_start_token_id": 50257},
        inputs=_INPUTS,
    )
}

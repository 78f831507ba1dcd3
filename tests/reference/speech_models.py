"""Models of speech of transformers: outputs as tensors, spectrograms with the mel bins last."""

import warnings
from typing import Any

from torch import Tensor, nn

from tests.reference.published import declare_operators
from tests.reference.text_models import Tied, model_of

WHISPER = {
    "vocab_size": 50,
    "num_mel_bins": 10,
    "max_source_positions": 11,
    "max_target_positions": 20,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 36,
    "pad_token_id": 0,
    "decoder_start_token_id": 3,
}
WHISPER_DROPOUT = ("dropout", "attention_dropout", "activation_dropout")
OUTPUTS = ("logits", "last_hidden_state", "encoder_last_hidden_state")


def whisper(name: str = "WhisperForConditionalGeneration", rate: float = 0.0, **options: Any) -> nn.Module:
    """A Whisper by its class's name, in which everything is dropped out at one rate."""

    def run(parent: Any, features: Tensor, ids: Tensor, mask: Tensor | None = None) -> Any:
        features = features.swapaxes(1, 2)
        out = parent(
            input_features=features, decoder_input_ids=ids, decoder_attention_mask=mask, use_cache=False
        )
        names = OUTPUTS[:1] if "logits" in out else OUTPUTS[1:]
        return tuple(out[key] for key in names)

    made = model_of(name, {**WHISPER, **dict.fromkeys(WHISPER_DROPOUT, rate), **options}, run)
    if name == "WhisperForConditionalGeneration":
        made.proj_out = Tied(made.model.decoder.embed_tokens)
    return made


def small_whisper() -> nn.Module:
    """A Whisper of transformers itself that hears a second of sound, 100 frames, at a time."""
    declare_operators()
    import transformers

    config = transformers.WhisperConfig(
        **{**WHISPER, "max_source_positions": 50, "pad_token_id": 42, "decoder_start_token_id": 43},
        bos_token_id=42,
        eos_token_id=42,
        begin_suppress_tokens=None,
    )
    return transformers.WhisperForConditionalGeneration(config)


WAV2VEC2 = {
    "vocab_size": 12,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "conv_dim": (10, 12, 14),
    "conv_kernel": (7, 3, 2),
    "conv_stride": (4, 2, 2),
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    "pad_token_id": 0,
}
WAV2VEC2_DROPOUT = ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout")
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def wav2vec2(
    name: str = "Wav2Vec2ForCTC", rate: float = 0.0, *, old: bool = False, **options: Any
) -> nn.Module:
    """A wav2vec 2.0 or HuBERT; `old` for tensors of norm and direction as PyTorch had them before 2.0."""

    def run(parent: Any, samples: Tensor, mask: Tensor | None = None) -> Tensor:
        return parent(input_values=samples, attention_mask=mask)[0]

    rates = dict.fromkeys((*WAV2VEC2_DROPOUT, "final_dropout"), rate)
    made = model_of(name, {**WAV2VEC2, **rates, **options}, run)
    base = getattr(made, made.base_model_prefix, made)
    base.feature_extractor._requires_grad = False  # it would ask for gradients of samples that have them
    if old:
        positions = base.encoder.pos_conv_embed
        nn.utils.parametrize.remove_parametrizations(positions.conv, "weight")
        with warnings.catch_warnings(action="ignore"):
            nn.utils.weight_norm(positions.conv, dim=2)
    return made

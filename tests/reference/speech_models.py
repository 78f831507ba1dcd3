"""Models of speech of transformers: outputs as tensors, spectrograms with the mel bins last."""

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

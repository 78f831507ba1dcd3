"""Cases of whisper and wav2vec2."""

import numpy as np

from tests.cases.case import Case, ids, kept
from tests.reference import speech_models

WHISPER = {
    "vocab_size": 50,
    "mel_bins": 10,
    "source_length": 11,
    "max_length": 20,
    "width": 24,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_heads": 3,
    "decoder_heads": 2,
    "encoder_feed_forward": 40,
    "decoder_feed_forward": 36,
}
SPECTROGRAMS = np.random.default_rng(6).normal(size=(3, 22, 10))
SPOKEN = [SPECTROGRAMS, ids(3, 7, 48) + 2, kept(7, 3, 5, length=7)]
RATES = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.2)
WAV2VEC2 = {
    "vocab_size": 12,
    "width": 24,
    "depth": 2,
    "heads": 3,
    "feed_forward": 40,
    "conv_channels": (10, 12, 14),
    "conv_kernels": (7, 3, 2),
    "conv_strides": (4, 2, 2),
    "position_kernel": 6,
    "position_groups": 4,
}
LARGE = {"conv_norm": "layer", "norm_first": True, "conv_bias": True}
NOTHING = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout", "final_dropout"), 0.0)
SOUNDS = np.random.default_rng(9).normal(size=(3, 151))
DROPPED = dict.fromkeys((*NOTHING, "projection_dropout"), 0.2)
CASES = {
    "wav2vec2, large": Case(
        "wav2vec2",
        {**WAV2VEC2, **LARGE, **NOTHING},
        lambda: speech_models.wav2vec2(**speech_models.LARGE),
        [SOUNDS, kept(151, 97, 120, length=151)],
        layout="transformers",
    ),
    "whisper": Case("whisper", WHISPER, speech_models.whisper, SPOKEN, layout="transformers"),
}
HEAD_CASES = {
    "wav2vec2, states": Case(
        "wav2vec2",
        {**WAV2VEC2, **DROPPED, "position_kernel": 5, "head": "none"},
        lambda: speech_models.wav2vec2("HubertModel", 0.2, num_conv_pos_embeddings=5),
        [SOUNDS],
        layout="transformers_model",
    ),
    "whisper, states": Case(
        "whisper",
        {**WHISPER, **RATES, "head": "none", "activation": "relu"},
        lambda: speech_models.whisper("WhisperModel", 0.2, activation_function="relu"),
        SPOKEN[:2],
        layout="transformers_model",
    ),
}

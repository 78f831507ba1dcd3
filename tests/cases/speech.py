"""Cases of whisper."""

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
CASES = {
    "whisper": Case("whisper", WHISPER, speech_models.whisper, SPOKEN, layout="transformers"),
}
HEAD_CASES = {
    "whisper, states": Case(
        "whisper",
        {**WHISPER, **RATES, "head": "none", "activation": "relu"},
        lambda: speech_models.whisper("WhisperModel", 0.2, activation_function="relu"),
        SPOKEN[:2],
        layout="transformers_model",
    ),
}

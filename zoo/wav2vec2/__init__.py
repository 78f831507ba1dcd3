"""Encoders of speech, and the characters that they write down: wav2vec 2.0 and HuBERT."""

from zoo._inference.transcribe_characters import transcribe
from zoo.wav2vec2.layouts import CONFIG_FIELDS, IGNORED, TORCH_NAMES
from zoo.wav2vec2.model import TASKS, TENSOR_PARALLEL, Wav2Vec2, create

__all__ = [
    "CONFIG_FIELDS",
    "IGNORED",
    "TASKS",
    "TENSOR_PARALLEL",
    "TORCH_NAMES",
    "Wav2Vec2",
    "create",
    "transcribe",
]

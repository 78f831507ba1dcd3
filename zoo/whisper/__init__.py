"""Speech to text in many languages: Whisper."""

from zoo._inference.transcribe_windows import transcribe
from zoo.whisper.layouts import CONFIG_FIELDS, TIED, TORCH_NAMES
from zoo.whisper.model import TASKS, TENSOR_PARALLEL, Whisper, create, inputs

__all__ = [
    "CONFIG_FIELDS",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "Whisper",
    "create",
    "inputs",
    "transcribe",
]

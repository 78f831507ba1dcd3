"""Decoder-only language models of 2021 to 2023: GPT-NeoX, Pythia, GPT-J, BLOOM and Falcon.

Black et al., https://arxiv.org/abs/2204.06745; the BigScience workshop, https://arxiv.org/abs/2211.05100;
Almazrouei et al., https://arxiv.org/abs/2311.16867. The attributes have the names of GPT-NeoX' files.
"""

from zoo._inference.generate import generate
from zoo.gpt_neox.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES
from zoo.gpt_neox.model import (
    CLASSIFIER,
    CLASSIFYING,
    HEAD,
    TASKS,
    TENSOR_PARALLEL,
    GPTNeoX,
    create,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "IGNORED",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "GPTNeoX",
    "create",
    "generate",
]

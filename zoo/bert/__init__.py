"""Encoders of text: BERT, RoBERTa, DistilBERT, and the embeddings of sentences that are made with them."""

from zoo._nn.text_pooling import POOLING, pooled
from zoo.bert.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES
from zoo.bert.model import (
    CLASSIFIER,
    CLASSIFYING,
    HEAD,
    HEADLESS,
    NECK,
    TASKS,
    TENSOR_PARALLEL,
    Bert,
    create,
    inputs,
    max_tokens,
)

__all__ = [
    "CLASSIFIER",
    "CLASSIFYING",
    "CONFIG_FIELDS",
    "HEAD",
    "HEADLESS",
    "IGNORED",
    "NECK",
    "POOLING",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "Bert",
    "create",
    "inputs",
    "max_tokens",
    "pooled",
]

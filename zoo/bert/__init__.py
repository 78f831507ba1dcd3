"""Encoders of text: BERT, RoBERTa, DistilBERT, and the embeddings of sentences that are made with them."""

from zoo.bert.layouts import CONFIG_FIELDS, IGNORED, TIED, TORCH_NAMES
from zoo.bert.model import CLASSIFIER, HEAD, NECK, TASKS, TENSOR_PARALLEL, Bert, create, max_tokens, pooled

__all__ = [
    "CLASSIFIER",
    "CONFIG_FIELDS",
    "HEAD",
    "IGNORED",
    "NECK",
    "TASKS",
    "TENSOR_PARALLEL",
    "TIED",
    "TORCH_NAMES",
    "Bert",
    "create",
    "max_tokens",
    "pooled",
]

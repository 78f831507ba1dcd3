"""Pretrained Flax (linen) models by name: `zoo.load("vae_mnist", pretrained=True)`."""

from zoo._entry import Entry
from zoo._errors import ManifestError, PublishError, UnknownModelError, WeightsError, ZooError
from zoo._loading import info, list_models, load
from zoo._model import Model
from zoo._preprocess import preprocess
from zoo._saving import save
from zoo._text import tokenizer

__all__ = [
    "Entry",
    "ManifestError",
    "Model",
    "PublishError",
    "UnknownModelError",
    "WeightsError",
    "ZooError",
    "info",
    "list_models",
    "load",
    "preprocess",
    "save",
    "tokenizer",
]

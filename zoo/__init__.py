"""Pretrained Flax (linen) models by name: `zoo.load("vae_mnist", pretrained=True)`."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from zoo._errors import ManifestError, PublishError, UnknownModelError, WeightsError, ZooError
from zoo._inference.features import feature_gradients, features
from zoo._inference.fold_batch_norm import fold_batch_norm, unfold_batch_norm
from zoo._inference.nnx import to_nnx
from zoo._inference.predict import predict_all
from zoo._inference.xla import compiler_options
from zoo._loading.load import load
from zoo._loading.resolve import info, list_models
from zoo._model import Model
from zoo._nn.layers import BatchNorm
from zoo._preprocessing.preprocess import preprocess
from zoo._preprocessing.text import tokenizer
from zoo._publishing.publish import publish
from zoo._registry.entry import Entry
from zoo._saving.save import save
from zoo._saving.verify import verify, write_golden
from zoo._variables.partition import graft, partition
from zoo._variables.sharding import fsdp, tensor_parallel

__all__ = [
    "BatchNorm",
    "Entry",
    "ManifestError",
    "Model",
    "PublishError",
    "UnknownModelError",
    "WeightsError",
    "ZooError",
    "compiler_options",
    "feature_gradients",
    "features",
    "fold_batch_norm",
    "fsdp",
    "graft",
    "info",
    "list_models",
    "load",
    "partition",
    "predict_all",
    "preprocess",
    "publish",
    "save",
    "tensor_parallel",
    "to_nnx",
    "tokenizer",
    "unfold_batch_norm",
    "verify",
    "write_golden",
]


def __getattr__(name: str) -> ModuleType:
    """Imports a module such as `zoo.gpt2` when it is first used."""
    if name.startswith("_") or find_spec(f"zoo.{name}") is None:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return import_module(f"zoo.{name}")

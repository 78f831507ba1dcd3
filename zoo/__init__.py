"""Pretrained Flax (linen) models by name: `zoo.load("vae_mnist", pretrained=True)`."""

from typing import TYPE_CHECKING

from zoo import _package
from zoo._errors import ManifestError, PublishError, UnknownModelError, WeightsError, ZooError
from zoo._inference.embed import embed
from zoo._inference.features import feature_gradients, features
from zoo._inference.fold_batch_norm import fold_batch_norm, unfold_batch_norm
from zoo._inference.generate_texts import generate
from zoo._inference.nnx import to_nnx
from zoo._inference.predict import predict
from zoo._inference.predict_all import predict_all
from zoo._inference.xla import compiler_options
from zoo._loading.load import load
from zoo._loading.resolve import info, list_models
from zoo._model import Model
from zoo._nn.layers import BatchNorm
from zoo._preprocessing.preprocess import preprocess
from zoo._preprocessing.text import tokenizer
from zoo._publishing.publish import publish
from zoo._registry.entry import Entry
from zoo._saving.convert import convert
from zoo._saving.export import to_torch
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
    "convert",
    "embed",
    "feature_gradients",
    "features",
    "fold_batch_norm",
    "fsdp",
    "generate",
    "graft",
    "info",
    "list_models",
    "load",
    "partition",
    "predict",
    "predict_all",
    "preprocess",
    "publish",
    "save",
    "tensor_parallel",
    "to_nnx",
    "to_torch",
    "tokenizer",
    "unfold_batch_norm",
    "verify",
    "write_golden",
]

__version__ = _package.VERSION


def __dir__() -> list[str]:
    return sorted([*__all__, *_package.modules(), "__version__"])


if TYPE_CHECKING:  # what editors complete and check; at run time each is imported when it is first used
    from zoo import bert as bert
    from zoo import cnn as cnn
    from zoo import gpt2 as gpt2
    from zoo import mlp as mlp
    from zoo import resnet as resnet
    from zoo import training as training
    from zoo import transformer as transformer
    from zoo import vae as vae
    from zoo import vit as vit
else:
    __getattr__ = _package.module

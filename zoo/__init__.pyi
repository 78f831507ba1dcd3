"""The public names and where they are, read by type checkers and by `zoo/__init__.py`."""

from . import bert as bert
from . import cnn as cnn
from . import gpt2 as gpt2
from . import mlp as mlp
from . import resnet as resnet
from . import swin as swin
from . import training as training
from . import transformer as transformer
from . import vae as vae
from . import vit as vit
from ._errors import ManifestError as ManifestError
from ._errors import PublishError as PublishError
from ._errors import UnknownModelError as UnknownModelError
from ._errors import WeightsError as WeightsError
from ._errors import ZooError as ZooError
from ._inference.embed import embed as embed
from ._inference.features import feature_gradients as feature_gradients
from ._inference.features import features as features
from ._inference.fold_batch_norm import fold_batch_norm as fold_batch_norm
from ._inference.fold_batch_norm import unfold_batch_norm as unfold_batch_norm
from ._inference.generate_texts import generate as generate
from ._inference.nnx import to_nnx as to_nnx
from ._inference.predict import predict as predict
from ._inference.predict_all import predict_all as predict_all
from ._inference.xla import compiler_options as compiler_options
from ._loading.load import load as load
from ._loading.resolve import info as info
from ._loading.resolve import list_models as list_models
from ._model import Model as Model
from ._nn.layers import BatchNorm as BatchNorm
from ._preprocessing.preprocess import preprocess as preprocess
from ._preprocessing.text import tokenizer as tokenizer
from ._publishing.publish import publish as publish
from ._registry.entry import Entry as Entry
from ._saving.convert import convert as convert
from ._saving.export import to_torch as to_torch
from ._saving.save import save as save
from ._saving.verify import verify as verify
from ._saving.verify import write_golden as write_golden
from ._variables.partition import graft as graft
from ._variables.partition import partition as partition
from ._variables.sharding import fsdp as fsdp
from ._variables.sharding import tensor_parallel as tensor_parallel

__version__: str

"""Makes golden files of weights with the PyTorch twins: `python -m tests.make_goldens NAME...`."""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
import torch

import converters
import zoo
from tests.cases import images, labels
from tests.reference import text_models, twins
from zoo import gpt2, resnet
from zoo._loading.resolve import resolve
from zoo._loading.weights import locate
from zoo._registry.entry import Entry
from zoo._saving.verify import Call, golden_path, write_golden


class Twin(NamedTuple):
    """Module for the weights of a name, and the calls that are recorded."""

    build: Callable[[], torch.nn.Module]
    compute: Callable[[torch.nn.Module, Entry], dict[str, Call]]
    names: Sequence[tuple[str, str]] = ()


def _classify(twin: torch.nn.Module, entry: Entry) -> dict[str, Call]:
    pixels = images(*entry.inputs[0].shape)
    return {"__call__": ([pixels], [twin(_torch(pixels)).numpy()])}


def _autoencode(twin: torch.nn.Module, entry: Entry) -> dict[str, Call]:
    pixels, classes = images(1, 28, 28, 1), labels(1)
    latents = np.random.default_rng(9).standard_normal((1, 32))
    decoded = twin.decode(torch.from_numpy(latents), torch.from_numpy(classes))
    _, mean, logvar = twin(_torch(pixels), torch.from_numpy(classes), torch.zeros(1, 32))
    return {
        "encode": ([pixels], [mean.numpy(), logvar.numpy()]),
        "decode": ([latents, classes], [decoded.movedim(1, -1).numpy()]),
    }


def _continue(twin: torch.nn.Module, entry: Entry) -> dict[str, Call]:
    tokens = np.random.default_rng(9).integers(entry.config["vocab_size"], size=(1, 40))
    return {"__call__": ([tokens], [output.numpy() for output in twin(torch.from_numpy(tokens))])}


def _torch(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).movedim(-1, 1)


TWINS = {
    "mlp_mnist": Twin(twins.MLP, _classify),
    "cnn_mnist": Twin(twins.CNN, _classify),
    "vae_mnist": Twin(twins.VAE, _autoencode),
    "gpt_shakespeare": Twin(
        lambda: text_models.gpt2(vocab_size=65, n_positions=128, n_embd=128, n_layer=5, n_head=4),
        _continue,
        gpt2.TORCH_NAMES["transformers"],
    ),
    "resnet20_cifar10": Twin(lambda: twins.CifarResNet(20), _classify, resnet.TORCH_NAMES["cifar"]),
}


def make(name: str) -> None:
    """Writes the golden file of a model with the manifest's settings, beside its weights."""
    model = zoo.load(name, pretrained=True)
    inputs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in model.entry.inputs]
    build, compute, names = TWINS[model.entry.name]
    twin = build().eval()
    like = {key: tensor.numpy() for key, tensor in twin.state_dict().items()}
    state_dict = converters.to_torch(model.variables, model.module, *inputs, names=names, like=like)
    twin.load_state_dict({key: torch.tensor(array) for key, array in state_dict.items()})
    twin.double()
    with torch.no_grad():
        calls = compute(twin, model.entry)
    path = golden_path(locate(resolve(name)))
    write_golden(path, calls, made_by=f"PyTorch {torch.__version__.partition('+')[0]}", overwrite=True)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        make(argument)

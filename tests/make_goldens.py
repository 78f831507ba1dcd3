"""Makes golden files of weights with the PyTorch twins: `python -m tests.make_goldens NAME...`."""

import sys
from collections.abc import Callable

import jax
import numpy as np
import torch

import converters
import zoo
from tests import twins
from tests.cases import images, labels
from zoo._loading import directory_of
from zoo._verifying import Call, golden_path, write_golden
from zoo._weights import locate


def _classify(twin: torch.nn.Module) -> dict[str, Call]:
    pixels = images(1, 28, 28, 1)
    return {"__call__": ([pixels], [twin(_torch(pixels)).numpy()])}


def _autoencode(twin: torch.nn.Module) -> dict[str, Call]:
    pixels, classes = images(1, 28, 28, 1), labels(1)
    latents = np.random.default_rng(9).standard_normal((1, 32))
    decoded = twin.decode(torch.from_numpy(latents), torch.from_numpy(classes))
    _, mean, logvar = twin(_torch(pixels), torch.from_numpy(classes), torch.zeros(1, 32))
    return {
        "encode": ([pixels], [mean.numpy(), logvar.numpy()]),
        "decode": ([latents, classes], [decoded.movedim(1, -1).numpy()]),
    }


def _torch(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).movedim(-1, 1)


# family -> its twin, and what to compute
TWINS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[torch.nn.Module], dict[str, Call]]]] = {
    "mlp": (twins.MLP, _classify),
    "cnn": (twins.CNN, _classify),
    "vae": (twins.VAE, _autoencode),
}


def make(name: str) -> None:
    """Writes the golden file of a model with the manifest's settings, beside its weights."""
    model = zoo.load(name, pretrained=True)
    inputs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in model.entry.inputs]
    state_dict = converters.to_torch(model.variables, model.module, *inputs)
    build, compute = TWINS[model.entry.family]
    twin = build().double().eval()
    twin.load_state_dict({key: torch.from_numpy(array) for key, array in state_dict.items()})
    with torch.no_grad():
        calls = compute(twin)
    write_golden(golden_path(locate(model.entry, directory_of(name))), calls, overwrite=True)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        make(argument)

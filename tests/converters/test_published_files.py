"""Small files of the forms that publishers give theirs; benchmarks/real/checkpoints.py has real ones."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from converters import CheckpointError, convert, match, read_checkpoint, to_torch
from tests.converters.test_state_dict import equal
from tests.equivalence import FORWARD, difference, randomise, run_flax, run_torch


class Trained(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        self.linear = torch.nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.relu(self.bn1(self.conv1(x))).mean((2, 3)))


class TrainedInFlax(nn.Module):
    def setup(self) -> None:
        self.conv1 = nn.Conv(4, (3, 3), padding=1, use_bias=False)
        self.bn1 = nn.BatchNorm(use_running_average=True)
        self.linear = nn.Dense(5)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.linear(nn.relu(self.bn1(self.conv1(x))).mean((1, 2)))


class Nested(torch.nn.Module):
    """torchvision's MobileNets: `features.1.conv.0.1.running_mean`."""

    def __init__(self) -> None:
        super().__init__()
        block = torch.nn.Module()
        depthwise = torch.nn.Sequential(
            torch.nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), torch.nn.BatchNorm2d(4)
        )
        block.conv = torch.nn.Sequential(depthwise, torch.nn.Conv2d(4, 6, 1))
        self.features = torch.nn.ModuleList([torch.nn.Conv2d(3, 4, 1), block])

    def forward(self, x: Tensor) -> Tensor:
        first, block = self.features
        return block.conv(first(x)).movedim(1, -1)


class BlockInFlax(nn.Module):
    def setup(self) -> None:
        depthwise = nn.Conv(4, (3, 3), padding=1, feature_group_count=4, use_bias=False)
        self.conv = [[depthwise, nn.BatchNorm(use_running_average=True)], nn.Conv(6, (1, 1))]

    def __call__(self, x: jax.Array) -> jax.Array:
        (depthwise, norm), pointwise = self.conv
        return pointwise(norm(depthwise(x)))


class NestedInFlax(nn.Module):
    def setup(self) -> None:
        self.features = [nn.Conv(4, (1, 1)), BlockInFlax()]

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.features:
            x = layer(x)
        return x


class Embeddings(torch.nn.Module):
    """BERT's of older versions of transformers, which saved the positions' numbers too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("position_ids", torch.arange(7)[None])
        self.word_embeddings = torch.nn.Embedding(11, 6)
        self.position_embeddings = torch.nn.Embedding(7, 6)
        self.LayerNorm = torch.nn.LayerNorm(6)

    def forward(self, ids: Tensor) -> Tensor:
        positions = self.position_embeddings(self.position_ids[:, : ids.shape[1]])
        return self.LayerNorm(self.word_embeddings(ids) + positions)


class EmbeddingsInFlax(nn.Module):
    def setup(self) -> None:
        self.word_embeddings = nn.Embed(11, 6)
        self.position_embeddings = nn.Embed(7, 6)
        self.LayerNorm = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False)

    def __call__(self, ids: jax.Array) -> jax.Array:
        positions = self.position_embeddings(np.arange(ids.shape[1]))
        return self.LayerNorm(self.word_embeddings(ids) + positions)


class Fourier(torch.nn.Module):
    """A parameter of its own, of a layer that Flax does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.b = torch.nn.Parameter(torch.zeros(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cos(x @ self.b.T)


class Numbered(torch.nn.Module):
    """GeoCLIP's: attributes with numbers, set one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.LocEnc0, self.LocEnc1 = (torch.nn.Sequential(Fourier(), torch.nn.Linear(4, 5)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.LocEnc0(x) + self.LocEnc1(x)


class FourierInFlax(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.numpy.cos(x @ self.param("b", nn.initializers.zeros, (4, 3)).T)


class NumberedInFlax(nn.Module):
    def setup(self) -> None:
        self.LocEnc = [nn.Sequential([FourierInFlax(), nn.Dense(5)]) for _ in range(2)]

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.LocEnc[0](x) + self.LocEnc[1](x)


def _zip(state_dict: Any, directory: Path) -> Path:
    torch.save(state_dict, directory / "weights.pth")
    return directory / "weights.pth"


def _legacy(state_dict: Any, directory: Path) -> Path:
    torch.save(state_dict, directory / "weights.pth", _use_new_zipfile_serialization=False)
    return directory / "weights.pth"


def _training_checkpoint(state_dict: Any, directory: Path) -> Path:
    """As torch 0.3 wrote them, which did not count batches yet."""
    kept = {name: tensor for name, tensor in state_dict.items() if "num_batches" not in name}
    return _legacy({"epoch": 3, "state_dict": kept, "best_prec1": 91.73}, directory)


def _hub_directory(state_dict: Any, directory: Path) -> Path:
    safetensors.torch.save_file(state_dict, directory / "model.safetensors", {"format": "pt"})
    for name in ("config.json", "tokenizer.json", "modules.json"):
        (directory / name).write_text(json.dumps({"model_type": "bert"}))
    return directory


@dataclass(frozen=True)
class Case:
    twin: Callable[[], torch.nn.Module]
    module: nn.Module
    input: np.ndarray
    save: Callable[[Any, Path], Path]
    options: Mapping[str, Any] = field(default_factory=dict)


RNG = np.random.default_rng(0)
IMAGES, VECTORS, IDS = RNG.normal(size=(2, 6, 5, 3)), RNG.normal(size=(2, 3)), RNG.integers(11, size=(2, 5))
CASES = {
    "training checkpoint": Case(
        lambda: torch.nn.DataParallel(Trained()), TrainedInFlax(), IMAGES, _training_checkpoint
    ),
    "nested": Case(Nested, NestedInFlax(), IMAGES, _legacy),
    "hub directory": Case(Embeddings, EmbeddingsInFlax(), IDS, _hub_directory, {"ignore": ("position_ids",)}),
    "numbered": Case(Numbered, NumberedInFlax(), VECTORS, _zip),
    "sequential": Case(
        lambda: torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)),
        nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(2)]),
        VECTORS,
        _zip,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_outputs_are_pytorchs_and_the_whole_file_comes_back(case: Case, tmp_path: Path) -> None:
    twin = randomise(case.twin()).eval()
    path = case.save(twin.state_dict(), tmp_path)
    variables = convert(path, case.module, case.input, **case.options)

    first = np.moveaxis(case.input, -1, 1) if case.input.ndim == 4 else case.input
    expected = run_torch(twin, [first]).outputs[0]
    (output,), *_ = run_flax(case.module, variables, [case.input])
    assert difference(output, expected) <= FORWARD

    back = to_torch(variables, case.module, case.input, like=path, **case.options)
    original = read_checkpoint(path)
    assert list(back) == list(original)
    for name, tensor in original.items():
        assert (back[name].dtype, back[name].shape) == (tensor.dtype, tensor.shape)
        assert back[name].tobytes() == tensor.tobytes()
    fresh = case.twin().double().eval()
    fresh.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in back.items()}, strict=True)
    np.testing.assert_array_equal(run_torch(fresh, [first]).outputs[0], expected)


def test_what_was_unwrapped_and_stripped_is_in_the_notes(tmp_path: Path) -> None:
    case = CASES["training checkpoint"]
    path = case.save(case.twin().state_dict(), tmp_path)
    assert match(path, case.module, case.input).notes == (
        "took the weights from 'state_dict', left out 'epoch', 'best_prec1'",
        "took the prefix 'module.' off every name",
    )


@pytest.mark.parametrize("save", [_zip, _legacy], ids=["zip", "legacy"])
def test_a_bin_holds_the_same_arrays_as_the_safetensors_beside_it(save: Any, tmp_path: Path) -> None:
    case = CASES["hub directory"]
    tensors = randomise(case.twin()).state_dict()
    found, wanted = (
        convert(write(tensors, tmp_path), case.module, case.input, **case.options)
        for write in (save, _hub_directory)
    )
    assert equal(found, wanted)


@pytest.mark.parametrize("save", [_zip, _legacy], ids=["zip", "legacy"])
def test_a_tensor_without_a_name_is_refused(save: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a tensor of shape \(\) without a name, expected a mapping"):
        read_checkpoint(save(torch.tensor(3.6810), tmp_path))

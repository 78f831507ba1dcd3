"""Drafts for ten networks, written in both frameworks as their users write them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
import torch

import converters
from converters import ConversionError
from converters.state_dict import match
from tests.converters.matching import flax_networks as ours
from tests.converters.matching import flax_networks_attention as ours_attention
from tests.converters.matching import torch_networks as theirs
from tests.converters.matching import torch_networks_attention as theirs_attention

RNG = np.random.default_rng(0)
IGNORED = [r".*relative_position_index"]  # numbers that the Flax module computes


def images(size: int) -> np.ndarray:
    return RNG.normal(size=(2, size, size, 3)).astype(np.float32)


def tokens(length: int) -> np.ndarray:
    return RNG.integers(0, 11, (2, length)).astype(np.int32)


@dataclass(frozen=True)
class Case:
    theirs: Callable[[], torch.nn.Module]
    ours: Callable[[], nn.Module]
    inputs: tuple[np.ndarray, ...]


CASES = {
    "U-Net": Case(theirs.UNet, ours.UNet, (images(16),)),
    "DCGAN": Case(theirs.DCGAN, ours.DCGAN, (RNG.normal(size=(2, 1, 1, 6)).astype(np.float32),)),
    "LSTM tagger": Case(theirs.Tagger, ours.Tagger, (tokens(6),)),
    "MobileNetV3": Case(theirs.MobileNetV3, ours.MobileNetV3, (images(16),)),
    "EfficientNet": Case(theirs.EfficientNet, ours.EfficientNet, (images(16),)),
    "ConvNeXt": Case(theirs.ConvNeXt, ours.ConvNeXt, (images(32),)),
    "Swin": Case(theirs_attention.Swin, ours_attention.Swin, (images(16),)),
    "CLIP": Case(theirs_attention.CLIP, ours_attention.CLIP, (images(8), tokens(7))),
    "VQ-VAE": Case(theirs_attention.VQVAE, ours.VQVAE, (images(16),)),
    "actor-critic": Case(
        theirs_attention.ActorCritic, ours.ActorCritic, (RNG.normal(size=(2, 4)).astype(np.float32),)
    ),
}
COMPUTED = ("actor-critic", "VQ-VAE")  # the others take seconds to compile


def drafted(state_dict: Mapping[str, Any], case: Case) -> ConversionError:
    with pytest.raises(ConversionError) as caught:
        converters.convert(state_dict, case.ours(), *case.inputs, ignore=IGNORED)
    return caught.value


def random_model(case: Case) -> torch.nn.Module:
    torch.manual_seed(0)
    model = case.theirs().eval()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if "var" in name else torch.randn(tensor.shape) * 0.3)
    return model


def called(model: torch.nn.Module, inputs: Sequence[np.ndarray]) -> list[str]:
    """Names of the modules that own parameters, in the order of their first calls."""
    found: dict[str, None] = {}
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_pre_hook(lambda *_, name=name: found.setdefault(name))
    with torch.no_grad():
        model(*map(channels_first, inputs))
    return list(found)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_draft_gives_each_layer_the_one_that_pytorch_calls_in_its_place(case):
    model = random_model(case)
    state_dict = model.state_dict()
    error = drafted(state_dict, case)
    assert "a draft of names= with which all fits" in str(error)
    found = match(state_dict, case.ours(), *case.inputs, names=error.draft, ignore=IGNORED)
    order = called(model, case.inputs)
    layers = dict.fromkeys(name.rpartition(".")[0] for link in found.links for name in link.tensors)
    # Links are in the order of calls, and both models call their layers in the same order.
    assert [name for name in layers if name in order] == order


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in COMPUTED else pytest.mark.slow) for name in CASES]
)
def test_the_network_computes_what_pytorch_does_with_the_draft(name):
    case = CASES[name]
    model = random_model(case)
    state_dict = model.state_dict()
    names = drafted(state_dict, case).draft
    variables = converters.convert(state_dict, case.ours(), *case.inputs, names=names, ignore=IGNORED)
    with torch.no_grad():
        expected = model(*map(channels_first, case.inputs))
    expected = (expected.movedim(1, -1) if expected.ndim == 4 else expected).numpy()
    found = jax.jit(case.ours().apply)(variables, *case.inputs)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_layers_that_only_the_order_tells_apart_are_named_with_the_way_to_find_out():
    case = CASES["actor-critic"]
    text = str(drafted(random_model(case).state_dict(), case))
    assert "their order was taken: Dense_{1..3,5};" in text
    assert "`converters.compare(torch_module, module, variables, inputs, names=...)`" in text


def channels_first(x: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(x)
    return tensor.movedim(-1, 1) if x.ndim == 4 else tensor.long() if x.dtype == np.int32 else tensor

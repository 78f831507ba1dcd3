"""Modules of which several methods are ported."""

import jax
import numpy as np
import pytest
import torch
from torch import nn

import converters
from tests.equivalence import randomise


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1))
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.mean, self.logvar = nn.Linear(8, 4), nn.Linear(8, 4)
        self.scale, self.drop = nn.Parameter(torch.tensor(1.5)), nn.Dropout(0.1)
        self.out = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def encode(self, x):
        x = self.encoder(x).mean((2, 3))
        for layer in self.layers:
            x = torch.relu(layer(x))
        return {"mean": self.mean(x), "logvar": self.logvar(x)}

    def decode(self, z, size: int = 2):
        z = self.drop(z * self.scale)[:, :, None, None]
        return self.out(z.expand(-1, -1, size, size))

    def forward(self, x):
        return self.decode(self.encode(x)["mean"])

    def choose(self, x):
        return x[x > 0]


IMAGES, CODES = torch.randn(2, 3, 8, 12), torch.randn(2, 4)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return randomise(Autoencoder().eval()).float()


@pytest.fixture(scope="module")
def ported(module):
    calls = {"encode": (IMAGES,), "decode": {"z": CODES, "size": 3}, "forward": (IMAGES,)}
    return converters.port(module, methods=calls)


def test_each_method_gives_what_it_gives_in_pytorch(module, ported):
    apply = jax.jit(ported.module.apply, static_argnames="method")
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    found = apply(ported.variables, images, method="encode")
    with torch.no_grad():
        wanted = module.encode(torch.from_numpy(images).permute(0, 3, 1, 2))
        decoded = module.decode(CODES, 3).permute(0, 2, 3, 1).numpy()
    assert {*found} == {"mean", "logvar"}
    np.testing.assert_allclose(found["logvar"], wanted["logvar"].numpy(), rtol=1e-5, atol=1e-5)
    found = apply(ported.variables, CODES.numpy(), method="decode")
    np.testing.assert_allclose(found, decoded, rtol=1e-5, atol=1e-5)
    assert apply(ported.variables, images, method="forward").shape == (3, 4, 4, 3)


def test_layers_are_made_once_under_their_names(module, ported):
    assert ported.source.count("nn.Dense(8, ") == 1
    assert "for dense in self.layers:\n" in ported.source
    assert "self.encoder_2 = nn.Conv(" in ported.source
    assert "    def decode(self, z: jax.Array, *, train: bool = False) -> jax.Array:\n" in ported.source
    again = converters.convert(module.state_dict(), ported.module, *ported.inputs)
    np.testing.assert_array_equal(again["params"]["scale"], ported.variables["params"]["scale"])
    assert ported.proof.gradients < 1e-12


def test_calls_that_are_no_methods_are_refused(module):
    for methods, message in (
        ({"encoder": (IMAGES,)}, "methods='encoder': Autoencoder has no method of that name"),
        ({"encode": IMAGES}, r"methods='encode': give its arguments as a tuple, such as \(x,\)"),
        ({"encode": ()}, "Autoencoder.encode: missing a required argument: 'x'"),
        ({"choose": (CODES,)}, r"test_methods.py:\d+: indexing by a mask gives a shape"),
    ):
        with pytest.raises(converters.ConversionError, match=message):
            converters.port(module, methods=methods)
    with pytest.raises(converters.ConversionError, match="with methods=, give the inputs of forward as"):
        converters.port(module, IMAGES, methods={"encode": (IMAGES,)})


def test_a_layer_that_is_made_of_a_methods_array_is_refused():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = nn.MultiheadAttention(4, 2, batch_first=True)

        def attend(self, x, bias):
            return self.attn(x, x, x, attn_mask=bias, need_weights=False)[0]

    with pytest.raises(converters.ConversionError, match="an array of one method"):
        converters.port(Masked(), methods={"attend": (torch.randn(2, 3, 4), torch.randn(3, 3))})

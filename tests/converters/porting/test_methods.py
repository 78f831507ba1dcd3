"""Modules of which several methods are ported."""

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import converters
from converters.porting.loading import loaded
from converters.porting.methods import called, together
from converters.porting.port import write
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


class Caller(nn.Module):
    """Its methods call the module, and take arguments by position alone, and any by name."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 6)

    def forward(self, x, **options):
        return self.b(self.a(x) + options["bias"] if "bias" in options else self.a(x))

    def encode(self, x, /, **options):
        return self.a(x) * options["scale"] + options["bias"]

    def rebuild(self, x):
        return self(x) + self.forward(x, bias=1.0)


def test_methods_that_call_the_module_and_take_any_arguments_by_name_are_ported():
    module, x, bias = randomise(Caller().eval()).float(), torch.randn(3, 6), torch.randn(3, 4)
    calls = {"rebuild": (x,), "encode": {"x": x, "bias": bias, "scale": 2.0}}
    made = converters.port(module, methods=calls)
    given, options = x.numpy(), {"bias": bias.numpy()}
    with torch.no_grad():
        wanted = module.rebuild(x).numpy(), module.encode(x, bias=bias, scale=2.0).numpy()
    found = (
        made.module.apply(made.variables, given, method="rebuild"),
        made.module.apply(made.variables, given, options, method="encode"),
    )
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


class Reached(nn.Module):
    """Its methods reach the same layers in other words: one by one, and in a loop."""

    def __init__(self):
        super().__init__()
        self.layers, self.bn = nn.ModuleList(nn.Linear(6, 6) for _ in range(3)), nn.BatchNorm1d(6)
        self.rnn = nn.LSTM(6, 6, batch_first=True)

    def first(self, x):
        return self.layers[0](x)

    def loop(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.bn(x)

    def again(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.bn(x) + self.rnn(x[:, None])[0][:, 0]

    def last(self, x):
        return F.linear(self.layers[2](x), self.layers[2].weight, self.layers[2].bias)

    def bare(self, x):
        return F.linear(x, self.layers[2].weight)


def _written(*methods):
    """Returns the source for some methods, whose parameters can be made."""
    module = Reached().eval()
    whole, given = together(module, called(module, dict.fromkeys(methods, (torch.randn(3, 6),))))
    made = write(whole, given, {name: torch.randn(4, 6) for name in given})
    flax = loaded(made.source, made.root, "<written>")()
    arrays = [jax.ShapeDtypeStruct((3, 6), "float32")] * len(given)
    shapes = jax.eval_shape(flax.init, jax.random.key(0), *arrays)["params"]
    return made.source, {name for name in shapes if name.startswith("layers")}


def test_layers_that_methods_reach_in_other_words_are_made_once():
    source, made = _written("first", "loop", "again", "last")
    assert made == {"layers.0", "layers.1", "layers.2"}
    assert source.count("nn.Dense(") == 3
    assert "for dense in (self.layers_0, self.layers_1):" in source
    source, made = _written("loop", "first")
    assert made == {"layers.0", "layers.1", "layers.2"}
    assert source.count("nn.Dense(") == 1
    assert "for dense in self.layers:" in source
    assert "return self.layers[0](" in source
    with pytest.raises(converters.ConversionError, match=r"several methods: layers\.2 is made as nn.Dense"):
        _written("last", "bare")


def test_arguments_that_forward_does_not_name_are_a_mapping():
    x, bias = torch.randn(3, 6), torch.randn(3, 4)
    made = converters.port(Caller(), x, kwargs={"bias": bias})
    assert "def __call__(self, x: jax.Array, options: Mapping[str, Any]) -> jax.Array:" in made.source
    assert made.proof.output < 1e-14

    class Alone(Caller):
        def forward(self, x, /, **options):
            return super().forward(x, **options)

    with pytest.raises(converters.ConversionError, match=r"Alone\.forward takes x by position alone and"):
        converters.port(Alone(), x, kwargs={"bias": bias})

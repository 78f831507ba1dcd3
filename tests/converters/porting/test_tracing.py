"""Modules beside their calls of layers: changes in place, shared layers, buffers, sizes."""

import inspect
from typing import Any

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import converters
from converters.porting.graph import leaves
from converters.porting.loading import loaded
from converters.porting.port import Written, write
from tests.equivalence import difference, randomise


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x):
        y = self.fc(x)
        y += x
        y[:, 0] = 0
        y[:, 1:3] = x[:, 3:5]
        y.view(-1, 2, 3)[:, 1].mul_(2)
        a, b = y.chunk(2, 1)
        b.add_(1)
        a[x[:, :3] > 0] = 0.5
        y.t()[0] += 3
        y.unsqueeze(1).permute(2, 0, 1)[2:3].sub_(x.t()[:1, :, None])
        c = torch.zeros_like(y)
        c.copy_(b[:, :1])
        c.masked_fill_(x > 1, 2.0)
        return F.relu_(y) + c + a.sum(1, keepdim=True)


class ChangesItsInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.fc = nn.ReLU(inplace=True), nn.Linear(6, 6)

    def forward(self, x):
        return self.fc(self.act(x))


class ChangedByAnother(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.fc = ChangesItsInput(), nn.Linear(6, 6)

    def forward(self, x):
        x = self.fc(x)
        y = self.block(x)
        return x + y


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.fc2 = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        self.kept = self.fc(x)
        return self.fc2(self.kept * self.scale)


class Attributes(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.inner = nn.Linear(6, 6), Inner()

    def forward(self, x):
        self.inner.scale = self.fc(x)
        y = self.inner(x)
        return y + self.inner.kept


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(6, 6), nn.LayerNorm(6)

    def forward(self, x):
        return x + F.relu(self.norm(self.fc(x)))


class Borrows(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.out = layer, nn.Linear(6, 6)

    def forward(self, x, scale):
        return self.out(self.layer(x)) * scale


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.block, self.scale = nn.Linear(6, 6), Residual(), nn.Parameter(torch.ones(6))
        self.borrows = Borrows(self.fc)

    def forward(self, x):
        y = self.fc(self.fc(x))
        for _ in range(3):
            y = self.block(y)
        return self.borrows(y * self.scale, self.scale)


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.block, self.head = nn.Embedding(11, 6), Residual(), nn.Linear(6, 11)
        self.head.weight = self.embedding.weight
        self.positions = nn.Parameter(torch.zeros(1, 20, 6))
        self.codes = nn.Embedding(7, 6)
        self.register_buffer("table", torch.randn(20, 6))
        self.register_buffer("ids", torch.arange(20)[None])
        self.register_buffer("mask", torch.ones(20, 20).tril()[None], persistent=False)
        self.register_buffer("large", torch.randn(9, 6), persistent=False)

    def forward(self, ids):
        length = ids.shape[1]
        x = self.embedding(ids) + self.positions[:, :length] + self.table[: ids.size(1)]
        x = self.block(x + self.embedding(self.ids[:, :length])) * self.large.sum(0)
        x = x + self.codes((x @ self.codes.weight.T).argmax(-1))
        mask = self.mask[:, :length, :length]
        x = (mask / mask.sum(-1, keepdim=True)) @ x
        return {"logits": self.head(x), "hidden": (x, None)}


class Convolves(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x, height, width):
        batch, _, channels = x.shape
        y = self.conv(x.transpose(1, 2).view(batch, channels, height, width))
        return x + y.flatten(2).transpose(1, 2), height, width


class Sizes(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Convolves()

    def forward(self, x):
        batch, channels, height, width = x.shape
        x = x.flatten(2).transpose(1, 2)
        x, height, width = self.block(x, height, width)
        return x.transpose(1, 2).reshape(batch, channels, height, width)


class Patches(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(4, width, 2, stride=2)

    def forward(self, x):
        y = self.conv(x)
        return y.flatten(2).mT, y.shape[2], y.shape[3]


class Measured(nn.Module):
    """Needs the sizes of an array that it does not get; the height is the batch, by chance, at two sizes."""

    def __init__(self):
        super().__init__()
        self.patches, self.block = Patches(4), Convolves()

    def forward(self, x):
        x, height, width = self.patches(x)
        x, height, width = self.block(x, height, width)
        return x.mT.reshape(x.shape[0], -1, height, width)


class Angles(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("near", 1 / torch.arange(1.0, 7.0) ** 2, persistent=False)
        self.register_buffer("far", 1 / torch.arange(2.0, 8.0) ** 2, persistent=False)

    def forward(self, x, kind):
        return torch.sin(x * getattr(self, kind))


class Bias(nn.Module):
    def __init__(self, *, bias):
        super().__init__()
        self.fc, self.fc2 = nn.Linear(6, 6), nn.Linear(6, 6)
        self.bias = nn.Parameter(torch.zeros(6)) if bias else None

    def forward(self, x):
        x = self.fc2(F.relu(self.fc(x)) + x)
        return (x, self.bias) if self.bias is not None else (x, x)


class Settings(nn.Module):
    """Calls a module without weights with two settings, and others that end differently."""

    def __init__(self):
        super().__init__()
        self.angles, self.one, self.two = Angles(), Bias(bias=False), Bias(bias=True)

    def forward(self, x):
        x = x + self.angles(x, "near") * self.angles(x, "far")
        x, more = self.one(x)
        x, bias = self.two(x)
        return x + more + bias


class Trees(nn.Module):
    def forward(self, batch):
        return batch["a"] * 2 + batch["more"][0]


X = torch.randn(4, 6), torch.randn(5, 6)
IDS = torch.randint(0, 11, (2, 7)), torch.randint(0, 11, (3, 9))
IMAGES = torch.randn(2, 4, 6, 8), torch.randn(3, 4, 10, 4)
PATCHES = torch.randn(2, 4, 4, 8), torch.randn(3, 4, 6, 4), torch.randn(2, 4, 12, 10)
TREES = tuple({"a": torch.randn(size, 4), "more": [torch.randn(size, 4)]} for size in (2, 3))
CASES = {
    "changes in place, of views too": (InPlace, X),
    "an input that another module changes": (ChangedByAnother, X),
    "values in attributes": (Attributes, X),
    "shared layers": (Shared, X),
    "a tied head, buffers and constants": (Language, IDS),
    "sizes as arguments": (Sizes, IMAGES),
    "sizes of another module's array": (Measured, PATCHES),
    "a module without weights with two settings": (Settings, X),
    "inputs in a tree": (Trees, TREES),
}


def written(module: nn.Module, *inputs: Any) -> Written:
    bind = inspect.signature(module.forward).bind
    return write(module, *(bind(each).arguments for each in inputs))


def double(tree: Any) -> Any:
    return torch.utils._pytree.tree_map(
        lambda each: each.double() if each.is_floating_point() else each, tree
    )


@pytest.mark.filterwarnings("ignore:the axes of")
@pytest.mark.parametrize(("make", "inputs"), CASES.values(), ids=CASES)
def test_the_source_gives_the_same_numbers_at_all_sizes(make, inputs):
    torch.manual_seed(0)
    module = randomise(make().eval()).float()
    made = written(module, *inputs[:2])
    ours = loaded(made.source, made.root, "<written>")()
    module.double()
    variables = None
    with jax.enable_x64(True):
        for each in map(double, inputs):
            numbers = torch.utils._pytree.tree_map(lambda tensor: tensor.numpy().copy(), each)
            arrays = made.arrays(inspect.signature(module.forward).bind(numbers).arguments)
            variables = variables or converters.convert(made.tensors(module), ours, *arrays)
            with torch.no_grad():
                wanted = [tensor.numpy() for tensor in made.results(module(each))]
            found = [
                np.asarray(array) for array in leaves(ours.apply(variables, *arrays)) if array is not None
            ]
            assert max(map(difference, found, wanted)) < 1e-14


def test_arrays_that_layers_share_have_one_gradient():
    found = converters.port(Language().eval(), IDS[0])
    assert not any("holds for" in note for note in found.notes)
    assert found.proof.gradients < 1e-12
    assert found.source.count('name="embedding"') + found.source.count("name='embedding'") == 1


class OfLayers(nn.Module):
    """Calls functions with the arrays of layers that are called, too."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.bn = nn.Linear(6, 6), nn.LayerNorm(6), nn.BatchNorm1d(6)
        self.unread = nn.BatchNorm1d(6)

    def forward(self, x):
        fc, norm = self.fc, self.norm
        x = fc(x) + F.linear(2 * x, fc.weight, fc.bias)
        x = norm(x) + F.layer_norm(2 * x, (6,), norm.weight, norm.bias)
        return self.bn(x)


@pytest.mark.parametrize("target", ["linen", "nnx"])
def test_functions_with_the_arrays_of_a_layer_are_calls_of_it(target):
    made = converters.port(OfLayers(), torch.randn(4, 6), others=[torch.randn(5, 6)], target=target)
    assert made.source.count("nn.Dense(") + made.source.count("nnx.Linear(") == 1
    assert made.proof.gradients < 1e-12


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda self, x: self.fc(x) + F.linear(x, self.fc.weight), "fc is called with other settings"),
        (lambda self, x: self.fc(x) + x @ self.fc.weight, "its arrays are also used by themselves"),
    ],
)
def test_arrays_of_a_layer_that_are_used_in_two_ways_are_refused(forward, words):
    kind = type("Twice", (OfLayers,), {"forward": forward})
    with pytest.raises(converters.ConversionError, match=rf"test_tracing\.py:\d+: .*{words}"):
        write(kind().eval(), {"x": torch.randn(4, 6)}, {"x": torch.randn(5, 6)})

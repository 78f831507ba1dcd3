"""What the port refuses, with the line of the module that it is about."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import converters
from converters.porting.port import Written, write

X = torch.randn(4, 6), torch.randn(5, 6)


def written(module: nn.Module, *inputs: Any) -> Written:
    bind = inspect.signature(module.forward).bind
    return write(module, *(bind(each).arguments for each in inputs))


class Branches(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


class Item(nn.Module):
    def forward(self, x):
        return x * x.sum().item()


class Weighs(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * float(self.scale)


class Iterates(nn.Module):
    def forward(self, x):
        while (x > 1).any():
            x = x / 2
        return x


class Masks(nn.Module):
    def forward(self, x):
        return x[x > 0]


class Ends(nn.Module):
    def forward(self, x):
        return x[: x.argmax()]


class Nonzero(nn.Module):
    def forward(self, x):
        return torch.nonzero(x)


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x


class Strided(nn.Module):
    def forward(self, x):
        y = x * 2
        y.diagonal().zero_()
        return y


class Bakes(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = {}

    def forward(self, x):
        return x + torch.from_numpy(np.ones(x.shape[0] ** 2, np.float32)).sum()


class Halves(nn.Module):
    def forward(self, x):
        return x * 2 if x.shape[0] > 4 else torch.relu(x)


class Chance(nn.Module):
    def forward(self, x):
        return x + torch.poisson(x.abs())


class Quarrel(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Switch()

    def forward(self, x):
        return self.block(self.block(x, flip=True), flip=False)


class Switch(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x, flip):
        return self.fc(-x if flip else x)


REFUSED = {
    "a branch on numbers": (Branches, "return x if x.mean()", "an `if`"),
    "a number read": (Item, "x.sum().item()", "`item`"),
    "a weight read": (Weighs, "float(self.scale)", "`float`"),
    "a loop on numbers": (Iterates, "while (x > 1)", "`while`"),
    "a mask as index": (Masks, "x[x > 0]", "indexing by a mask gives a shape"),
    "an end that is a number of a tensor": (Ends, "x.argmax()", "a part of an array ends"),
    "nonzero": (Nonzero, "torch.nonzero", "gives a shape"),
    "a buffer that counts": (Counts, "self.calls += 1", "changes calls of the module in place"),
    "a view that cannot be followed": (Strided, "y.diagonal()", "made by `diagonal`"),
    "an array made outside of torch": (Bakes, "", "differ with the sizes"),
    "other things at another size": (Halves, "return x * 2 if", "other things for another size"),
    "chance without a stream": (Chance, "torch.poisson", "'poisson' is not known"),
    "a module that does two things": (Quarrel, "", "does other things in another call"),
}


@pytest.mark.parametrize(("make", "line", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_right_is_refused_with_its_line(make, line, words):
    with pytest.raises(converters.ConversionError) as caught:
        written(make().eval(), *X)
    message = str(caught.value)
    assert words in message
    if line:
        lines, start = inspect.getsourcelines(make.forward)
        number = start + next(index for index, each in enumerate(lines) if line in each)
        assert f"{__file__}:{number}: " in message


class MakesALayer(nn.Module):
    def forward(self, x):
        return nn.Linear(6, 6)(x)


class MakesANorm(nn.Module):
    def forward(self, x):
        return nn.LayerNorm(6)(x)


class HidesALayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(6, 6)]

    def forward(self, x):
        return self.layers[0](x)


@pytest.mark.parametrize(
    ("kind", "name"), [(MakesALayer, "kaiming_uniform_"), (MakesANorm, "LayerNorm"), (HidesALayer, "Linear")]
)
def test_layers_that_the_module_does_not_keep_are_refused(kind, name):
    _, start = inspect.getsourcelines(kind.forward)
    words = rf"test_refused_modules.py:{start + 1}: `{name}` has weights that are none of the module's"
    with pytest.raises(converters.ConversionError, match=words):
        converters.port(kind(), torch.randn(2, 6))

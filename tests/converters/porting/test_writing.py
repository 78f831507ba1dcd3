"""The written source: classes, loops, fields, names of variables, layout."""

import ast
import inspect
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import converters
from converters.porting.dialects import LINEN, NNX, Dialect
from converters.porting.loading import loaded
from converters.porting.port import write
from converters.porting.running import runtime
from converters.porting.writing import (
    helpers,
    images,
    layout,
    nnx_layers,
    normalization,
    phrases,
    sequences,
    turning,
)


class Residual(nn.Module):
    """A block with an optional shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x: Any) -> Any:
        identity = x
        out = self.conv(x)
        if self.downsample is not None:
            identity = self.downsample(x)
        return torch.relu(out + identity)


class Inverted(nn.Module):
    """Layers in a Sequential, the first and the one in the middle optional."""

    def __init__(self, width: int, hidden: int, squeezed: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(width, hidden, 1)] if hidden != width else []
        layers += [nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)]
        layers += [nn.Sequential(nn.Conv2d(hidden, hidden, 5, padding=2))] if squeezed else []
        self.block = nn.Sequential(*layers, nn.BatchNorm2d(hidden), nn.Conv2d(hidden, width, 1))

    def forward(self, input: Any) -> Any:
        return input + self.block(input)


class Dense(nn.Module):
    """A list that grows."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(4 * (i + 1), 4, 1) for i in range(layers))

    def forward(self, x: Any) -> Any:
        features = [x]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


def source(module: nn.Module, dialect: Dialect = LINEN) -> str:
    name = next(iter(inspect.signature(module.forward).parameters))
    images = torch.zeros(2, 4, 8, 8), torch.zeros(3, 4, 12, 12)
    return write(module.eval(), *({name: each} for each in images), dialect=dialect).source


def test_a_block_with_an_optional_shortcut_is_one_class() -> None:
    text = source(nn.Sequential(Residual(4, 4), Residual(4, 8, 2), Residual(8, 8)))
    assert text.count("class Residual") == 1
    assert "    downsample: bool = False\n" in text
    assert "        if self.downsample:\n            x = conv(" in text
    assert "        return nn.relu(out + x)\n" in text


def test_optional_layers_that_are_numbered_are_one_class() -> None:
    text = source(nn.Sequential(Inverted(4, 4), Inverted(4, 8), Inverted(4, 8, 2)))
    assert text.count("class Inverted") == 1
    assert "index = count()" in text


def test_numbers_that_follow_from_a_field_are_written_so() -> None:
    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.up, self.down = nn.Conv2d(width, 4 * width, 1), nn.Conv2d(4 * width, width, 1)
            self.grow = nn.Conv2d(width, 2 * width, 1)

        def forward(self, x: Any) -> Any:
            return self.grow(x + self.down(torch.relu(self.up(x))))

    text = source(nn.Sequential(Block(4), Block(8)))
    assert "4 * self.features" in text or "self.hidden_features" in text


class Padded(nn.Module):
    """A convolution and its activation, with a kernel of any sides."""

    def __init__(self, inputs: int, outputs: int, sides: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, sides, padding=tuple(each // 2 for each in sides))

    def forward(self, x: Any) -> Any:
        return torch.relu(self.conv(x))


def test_convolutions_with_kernels_of_any_sides_are_one_class() -> None:
    text = source(nn.Sequential(Padded(4, 4, (1, 1)), Padded(4, 6, (3, 1)), Padded(6, 8, (5, 5))))
    assert text.count("class Padded") == text.count("nn.Conv(") == 1
    assert "    kernel_size: tuple[int, int]\n" in text
    assert "    padding: int | tuple[tuple[int, int], tuple[int, int]] = 0\n" in text
    assert 'Padded(6, kernel_size=(3, 1), padding=((1, 1), (0, 0)), dtype=self.dtype, name="1")' in text


def test_paddings_of_square_kernels_follow_from_these() -> None:
    text = source(nn.Sequential(Padded(4, 4, (3, 3)), Padded(4, 6, (5, 5)), Padded(6, 8, (7, 7))))
    assert "(self.kernel_size, self.kernel_size), padding=self.kernel_size // 2" in " ".join(text.split())
    assert "    kernel_size: int\n" in text


def test_equal_layers_are_a_loop_and_what_differs_is_a_table() -> None:
    text = source(nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(5))))
    assert "for i in range(5):\n            x = nn.Conv(" in text.replace("input", "x")
    widths = (4, 8, 6, 10, 12, 14)
    text = source(nn.Sequential(*(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))))
    assert "for i, features in enumerate((8, 6, 10, 12, 14)):" in text


def test_a_value_that_is_read_after_a_loop_keeps_its_name() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(3))

        def forward(self, x: Any) -> Any:
            y = x
            for layer in self.layers:
                y = layer(y)
            return x + y

    text = source(Skip())
    assert "for i in range(3):" in text
    assert "return x + y" in text


@pytest.mark.parametrize(
    "read",
    [lambda f, x: [f[0], x], lambda f, x: f[:2], lambda f, x: f],
    ids=["its first", "a part", "whole"],
)
def test_only_the_whole_of_a_grown_list_is_read_by_its_name(read: Any) -> None:
    class Joins(nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4 * count, 4, 1)

        def forward(self, features: Any) -> Any:
            return self.conv(torch.cat(features, 1))

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(Joins(i + 1) for i in range(3))

        def forward(self, x: Any) -> Any:
            features = [x]
            for layer in self.layers:
                features.append(layer(features))
            other = torch.sigmoid(x)
            out = torch.cat(read(features, other), 1)
            whole = torch.cat(features, 1)
            return whole, out, other

    module = Reads().eval()
    arguments, others = ({"x": torch.randn(n, 4, 5, 6)} for n in (2, 3))
    made = write(module, arguments, others)
    assert "features.append(" in made.source
    arrays = made.arrays({"x": arguments["x"].numpy()})
    ours = loaded(made.source, made.root, "<grown>")()
    variables = converters.convert(made.tensors(module), ours, *arrays)
    for found, wanted in zip(ours.apply(variables, *arrays), module(**arguments), strict=True):
        np.testing.assert_allclose(np.moveaxis(found, -1, 1), wanted.detach().numpy(), atol=1e-6)


def test_modules_of_nnx_make_their_layers_first() -> None:
    text = source(nn.Sequential(Residual(4, 4), Residual(4, 8, 2), Residual(8, 8)), NNX)
    assert text.count("class Residual(nnx.Module):") == 1
    assert "class Sequential(nnx.List[Residual]):" in text
    assert "self.conv = nnx.Conv(in_features, features, (3, 3), strides=strides" in text
    assert "            self.downsample: nnx.Conv | None = nnx.Conv(4, 8, (1, 1)" in text
    assert "        if self.downsample is not None:\n            x = self.downsample(x)\n" in text
    assert "train" not in text


def test_a_list_of_nnx_is_gone_through() -> None:
    text = source(nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(5))), NNX)
    assert "        for _ in range(5):\n            self.append(nnx.Conv(4, 4, " in text
    assert "        for layer in self:\n            x = layer(x)\n" in text


def test_lists_in_lists_of_nnx_are_made_once() -> None:
    pairs = (nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)) for _ in range(3))
    module = nn.Sequential(*pairs, *(nn.Sequential(nn.Conv2d(4, 4, 1)) for _ in range(3)))
    images = torch.zeros(2, 4, 8, 8), torch.zeros(3, 4, 12, 12)
    made = write(module.eval(), *({"input": each} for each in images), dialect=NNX)
    ours = runtime(NNX).made(made.source, made.root, "<lists>")
    assert converters.convert(module.state_dict(), ours)  # else tensors are left over


def test_the_source_is_the_same_twice() -> None:
    first, second = (source(nn.Sequential(Residual(4, 4), Residual(4, 8, 2))) for _ in range(2))
    assert first == second


@pytest.mark.costly  # of the development environment, which the lowest versions are tested without
def test_the_source_is_clean_for_ruff(tmp_path: Any) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    file = tmp_path / "net.py"
    module = nn.Sequential(Inverted(4, 8), Inverted(4, 8, 2), Residual(4, 4), Dense(3))
    file.write_text(source(module))
    (tmp_path / "nnx.py").write_text(source(module, NNX))
    settings = ["--isolated", "--line-length", "100"]
    copied = [each.__file__ for each in (helpers, images, nnx_layers, normalization, sequences)]
    copied.append(str(tmp_path / "nnx.py"))
    subprocess.run(
        [*ruff, "format", "--check", *settings, file, *copied], check=True, capture_output=True, cwd=tmp_path
    )
    rules = "E,F,I,B,UP,N8,SIM,RUF,C4,PIE,RET"
    found = subprocess.run(
        [*ruff, "check", *settings, "--select", rules, file, *copied], capture_output=True, cwd=tmp_path
    )
    assert not found.returncode, found.stdout.decode()


LAYOUTS = [
    # Arguments have one line of their own if they fit there, else one each, with a comma after the last.
    f'h, c = nn.OptimizedLSTMCell(3, name="{"n" * 35}")(\n    (x4[0], x3[0]), words2[:, 0]\n)[0][::-1]',
    f'out = nn.Conv(\n    self.features, (7, 7), padding=3, use_bias=False, name="{"n" * 35}"\n)(x)',
    "x = x.reshape(\n    " + ",\n    ".join(f"x.shape[{i}] // {'7' * 20}" for i in range(4)) + ",\n)",
    "x = (\n    " + "a" * 50 + "\n    + " + "b" * 30 + " * " + "c" * 30 + "\n)",
    'y = x[:, : x.shape[1], None, 1:, ::2] if -(a + b) ** 2 < 1e-6 else f"{i + 1}.{j}"',
    "for i, (features, strides) in enumerate(\n    ("
    + ", ".join(["(160, 2)"] * 8)
    + ")\n):\n    x = (1,) + [*x, 2]",
    # Two methods of what calls or indices give have parentheses, and a line each if they need them.
    "mask = (\n    " + "x.at[0].set(100)" + ".at[1].set(2)" * 6 + "\n)",
    "x = (\n    x.at[0]"
    + "".join(f"\n    .set({'1' * 40})\n    .at[1]" for _ in range(2))
    + "\n    .set(2)\n)",
    "x = jnp.zeros((" + "7 * 7, " * 9 + "7 * 7)).reshape(\n    " + "7 * 7, " * 3 + "7 * 7\n)",
    "x = " + "x" * 40 + " + " + "y.f().g().h(\n    " + "z" * 60 + "\n)",
    "x = (0.075, 0.1234567890123, 1.5e-7)",
]


@pytest.mark.parametrize("text", LAYOUTS)
def test_lines_are_broken_as_ruff_breaks_them(text: str) -> None:
    assert "\n".join(layout.laid_out(ast.parse(text).body, 0)) == text


def test_numbers_are_as_a_person_writes_them() -> None:
    values = (0.2 * 3 / 8, 0.1 + 0.2, 2**-0.5, float(torch.tensor(0.1)))
    assert phrases.number(values) == "(0.075, 0.3, 0.7071067811865476, 0.10000000149011612)"


def test_a_kernel_of_ones_needs_no_padding() -> None:
    text = source(nn.Sequential(nn.Conv2d(4, 4, 1, stride=3), nn.Conv2d(4, 6, 3)))
    assert 'nn.Conv(4, (1, 1), strides=3, dtype=self.dtype, name="0")' in text
    assert 'nn.Conv(6, (3, 3), padding=0, dtype=self.dtype, name="1")' in text


def test_a_module_of_a_script_has_no_package() -> None:
    module = type("Net", (nn.Conv2d,), {"__module__": "__main__"})(4, 4, 1)
    assert "Derived from the" in " ".join(source(nn.Sequential(module)).split())  # torch's Sequential
    made = type("Net", (nn.Sequential,), {"__module__": "__main__"})(module)
    assert "__main__" not in source(made)
    assert "Derived" not in source(made)


def test_the_number_of_classes_is_a_field_of_a_classifier() -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 7)

        def forward(self, x: Any) -> Any:
            return self.fc(x.mean((2, 3)))

    text = source(Classifier())
    assert "    num_classes: int = 7\n" in text
    assert text.endswith("    return Classifier(num_classes=num_classes, dtype=dtype)\n")


@pytest.mark.parametrize(
    ("size", "end", "written"),
    [
        ("4", "4", "for layer in self.blocks:"),
        ("self.depth", "self.depth", "for layer in self.blocks:"),
        ("self.depth", "2", "for i in range(2):"),  # the others are called elsewhere
        ("4", "self.depth", "for i in range(self.depth):"),
    ],
)
def test_a_loop_goes_through_a_list_only_if_it_is_all_of_it(size, end, written):
    loop = ast.parse(f"for i in range({end}):\n    x = self.blocks[i](x)").body
    (found,) = turning.direct(loop, {"self.blocks": size})
    assert ast.unparse(found).startswith(written)

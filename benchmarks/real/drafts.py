"""Drafts of names for torchvision's classifiers, against Flax modules of the same layers with Flax's numbers.

    python -m benchmarks.real.drafts [--models PATTERN] [--style flat|blocks|nested]

Nothing is computed: the torch model runs on the meta device, which tells the order of its calls; a compact
module that calls the same layers in that order is made of them, in three styles:

    flat    all layers in one compact module
    blocks  a module for each of the model's that is no Sequential; layers are made as they are called
    nested  the same, but every layer of a module is made before the first is called, the last one first, as
            Python does in `Dense(8)(relu(Dense(8)(x)))`

A draft is right if it gives every array its own tensor; said, if all layers that it gives another one's are
among those of which it says that their order was taken; wrong otherwise; or problems remain.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import fnmatch
import re
import time
import unittest.mock
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from torchvision.models import regnet

from converters.linen import inspect_module
from converters.matching import Fit, best_fit, conversion_error
from converters.tensors import StateDict

STYLES = ("flat", "blocks", "nested")
BLOCK_PARAMS = regnet.BlockParams.from_init_params
COLUMNS = ("right", "said", "wrong", "problems", "none")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="*")
    parser.add_argument("--style", choices=STYLES, action="append")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names = fnmatch.filter(torchvision.models.list_models(module=torchvision.models), options.models)
    for style in options.style or STYLES:
        counts: Counter[str] = Counter()
        for name in names:
            start = time.perf_counter()
            verdict, seconds, text = trial(name, style)
            counts[verdict] += 1
            total = time.perf_counter() - start
            print(f"{style:7} {name:24} {verdict:8} draft {seconds:5.2f} s of {total:5.1f}", flush=True)
            if options.verbose:
                print(text)
        print(f"{style:7} {len(names)} models:", ", ".join(f"{counts[c]} {c}" for c in COLUMNS), flush=True)


def trial(name: str, style: str) -> tuple[str, float, str]:
    """Returns what becomes of a model's draft, the seconds that it took, and its text."""
    with torch.device("meta"), unittest.mock.patch.object(regnet.BlockParams, "from_init_params", on_cpu):
        model = torchvision.models.get_model(name, weights=None).train()
    size = 299 if "inception" in name else 224
    root = called(model, torch.empty(2, 3, size, size, device="meta"))
    module, own = twin(root, style)
    inspection = inspect_module(module, jnp.zeros(()))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tensors = StateDict({n: np.broadcast_to(np.float32(0), shape) for n, shape in shapes.items()})
    owned = set(own.values())
    unused = [re.escape(n) for n in shapes if owned.isdisjoint(layers(n))]

    def attempt(more: Sequence[Any] = ()) -> Fit:
        return best_fit(inspection, tensors, more, (), unused)

    misfit = attempt()
    start = time.perf_counter()
    error = conversion_error(misfit, module, attempt)
    seconds = time.perf_counter() - start
    return verdict(misfit, error.draft, str(error), attempt, own), seconds, str(error)


def on_cpu(*args: Any, **kwargs: Any) -> regnet.BlockParams:
    """Computes the sizes of a RegNet, of which torchvision asks tensors."""
    with torch.device("cpu"):
        return BLOCK_PARAMS(*args, **kwargs)


def verdict(
    misfit: Fit, draft: Sequence[Any], text: str, attempt: Callable[[Any], Fit], own: Mapping[Any, str]
) -> str:
    """Compares what a draft makes of every array with the tensor that is its own."""
    if not draft:
        return "none"
    fit = attempt(draft)
    if fit.problems:
        return "problems"
    names = {link.arrays: link.tensors[0] for link in misfit.links}
    wrong = [
        names[link.arrays]
        for link in fit.links
        for path in [link.arrays[0].path[1:]]
        if (own.get(path) or own.get(path[:-1]) or own.get(path[:-2])) not in layers(link.tensors[0])
    ]
    said = re.findall(r"their order was taken: ([^;\n]*)", text)
    patterns = [pattern(name) for name in ", ".join(said).split(", ")]
    missed = [n for n in wrong if not any(re.fullmatch(p, layer) for p in patterns for layer in layers(n))]
    return "wrong" if missed else "said" if wrong else "right"


def pattern(name: str) -> str:
    """Returns a regular expression for a name in short, such as `Conv_{1..3,7}` or `Block_*.Conv_0`."""
    before, brace, rest = name.partition("{")
    if not brace:
        return re.escape(name).replace(r"\*", r"\d+")
    numbers, _, after = rest.partition("}")
    runs = ([*map(int, run.split(".."))] for run in numbers.split(","))
    found = "|".join(str(number) for run in runs for number in range(run[0], run[-1] + 1))
    return f"{re.escape(before)}({found}){re.escape(after)}"


def layers(tensor: str) -> Iterator[str]:
    """Yields the names that may be a tensor's layer: its own, and those of the modules around it."""
    while tensor:
        yield tensor
        tensor = tensor.rpartition(".")[0]


@dataclass
class Call:
    """A call of a torch module, and the calls in it."""

    module: torch.nn.Module
    name: str
    calls: list["Call"] = field(default_factory=list)


LEAVES = (
    torch.nn.Conv2d,
    torch.nn.Linear,
    torch.nn.BatchNorm2d,
    torch.nn.LayerNorm,
    torch.nn.MultiheadAttention,
)


def called(model: torch.nn.Module, *inputs: torch.Tensor) -> Call:
    """Runs a model and returns the tree of its calls; layers that are used without a call stand first."""
    root = Call(model, "")
    stack, seen = [root], {id(model)}

    def enter(name: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, *_: Any) -> None:
            call = Call(module, name)
            if id(module) not in seen:
                stack[-1].calls.append(call)
            seen.add(id(module))
            stack.append(call)

        return hook

    def leave(*_: Any) -> None:
        stack.pop()

    for name, module in model.named_modules():
        if name:
            module.register_forward_pre_hook(enter(name))
            module.register_forward_hook(leave)
    model(*inputs)
    add_uncalled(root, seen)
    return root


def add_uncalled(call: Call, seen: set[int]) -> None:
    """Adds the layers of which a module uses the weights without calling them."""
    if isinstance(call.module, LEAVES):
        return
    rest = [(n, m) for n, m in call.module.named_children() if isinstance(m, LEAVES) and id(m) not in seen]
    call.calls[:0] = [Call(module, f"{call.name}.{name}".lstrip(".")) for name, module in rest]
    for each in call.calls:
        add_uncalled(each, seen)


def twin(root: Call, style: str) -> tuple[nn.Module, dict[tuple[str, ...], str]]:
    """Returns a compact module of the same layers, and the torch name of each of its layers by path."""
    own: dict[tuple[str, ...], str] = {}

    def is_block(call: Call) -> bool:
        dissolved = isinstance(call.module, torch.nn.Sequential | torch.nn.ModuleList)
        return style != "flat" and bool(call.calls) and not dissolved and not isinstance(call.module, LEAVES)

    def parts(call: Call) -> Iterator[Call | tuple[str, torch.Tensor]]:
        for name, tensor in call.module.named_parameters(recurse=False):
            yield f"{call.name}.{name}".lstrip("."), tensor
        for each in call.calls:
            if isinstance(each.module, LEAVES) or is_block(each):
                yield each
            else:
                yield from parts(each)

    def body(self: nn.Module, x: Any, call: Call) -> Any:
        found = [*parts(call)]
        made = [None] * len(found)
        order = range(len(found)) if style != "nested" else reversed(range(len(found)))
        if style == "nested":
            made = {i: make(found[i]) for i in order if isinstance(found[i], Call)}
        for index, each in enumerate(found):
            if isinstance(each, Call):
                layer = made[index] if style == "nested" else make(each)
                layer(example(each.module, x))
                if isinstance(each.module, LEAVES):
                    own[(*self.path, layer.name)] = each.name
            else:
                name, tensor = each
                number = sum(not isinstance(other, Call) for other in found[:index])
                attribute = f"p{number}_{name.rpartition('.')[2]}"
                self.param(attribute, nn.initializers.zeros, tuple(tensor.shape))
                own[(*self.path, attribute)] = name
        return x

    def make(call: Call) -> nn.Module:
        return block(call)() if is_block(call) else flax_layer(call.module)

    def block(call: Call) -> type[nn.Module]:
        def __call__(self: nn.Module, x: Any) -> Any:  # noqa: N807  becomes a method
            return body(self, x, call)

        return type(type(call.module).__name__, (nn.Module,), {"__call__": nn.compact(__call__)})

    return block(root)(), own


def flax_layer(layer: torch.nn.Module) -> nn.Module:
    """Returns the Flax layer with arrays of the same shapes."""
    if isinstance(layer, torch.nn.Conv2d):
        return nn.Conv(
            layer.out_channels,
            layer.kernel_size,
            padding=0,
            feature_group_count=layer.groups,
            use_bias=layer.bias is not None,
        )
    if isinstance(layer, torch.nn.Linear):
        return nn.Dense(layer.out_features, use_bias=layer.bias is not None)
    if isinstance(layer, torch.nn.BatchNorm2d):
        return nn.BatchNorm(use_running_average=True)
    if isinstance(layer, torch.nn.MultiheadAttention):
        return nn.MultiHeadDotProductAttention(layer.num_heads)
    return nn.LayerNorm()


def example(layer: torch.nn.Module, x: Any) -> Any:
    """Returns the smallest input that a layer takes."""
    if isinstance(layer, torch.nn.Conv2d):
        return jnp.zeros((1, *layer.kernel_size, layer.in_channels))
    if isinstance(layer, torch.nn.Linear):
        return jnp.zeros((1, layer.in_features))
    if isinstance(layer, torch.nn.BatchNorm2d):
        return jnp.zeros((1, layer.num_features))
    if isinstance(layer, torch.nn.LayerNorm):
        return jnp.zeros((1, *layer.normalized_shape))
    if isinstance(layer, torch.nn.MultiheadAttention):
        return jnp.zeros((1, 1, layer.embed_dim))
    return x


if __name__ == "__main__":
    main()

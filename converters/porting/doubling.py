"""Both models in float64 and without chance: what a proof runs them in."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from converters.porting.caches import fresh
from converters.porting.dispatch import DROPOUTS
from converters.porting.port import Written
from converters.porting.running import Runtime, runtime

QUICK = {"xla_backend_optimization_level": 0}  # a program that runs once is compiled in a seventh of the time
AT_LEAST = "jnp.promote_types(x.dtype, jnp.float32)"  # which float64 is
STATISTICS = ("running_mean", "running_var")


class _Certain(TorchFunctionMode):
    """Reads float32 as float64, and draws nothing at random."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "float" and args:
            return args[0].double()
        args = tuple(torch.float64 if each is torch.float32 else each for each in args)
        kwargs = {
            key: torch.float64 if each is torch.float32 else each for key, each in (kwargs or {}).items()
        }
        if name == "hardsigmoid" and len(args) == 1 and not kwargs.get("inplace"):
            # Whose gradient PyTorch multiplies by a sixth in float32, also in float64.
            return torch.nn.functional.relu6(args[0] + 3) / 6
        if name in CERTAIN:
            return CERTAIN[name](func, args, kwargs)
        return func(*args, **kwargs)


@contextmanager
def certain_torch() -> Iterator[None]:
    """Runs torch code in float64 wherever it says float32, and without chance.

    Dropout gives its input, and what is drawn at random is `DRAWN`, or the probability that it is to be kept
    with, as in `certain`.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Certain():
            yield
    finally:
        torch.set_default_dtype(before)


DRAWN = 0.25  # in place of numbers from the normal distribution, and of those between 0 and 1


def _drawn(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    return func(*args, **kwargs).fill_(DRAWN)


def _normal(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    mean, std = (args[at] if len(args) > at else kwargs.get(n, at) for at, n in enumerate(("mean", "std")))
    return mean + std * DRAWN


def _normal_in_place(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    x, *rest = args
    return x.copy_(_normal(func, rest, kwargs) * torch.ones_like(x))


def _uniform_in_place(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    x, *rest = args
    low = rest[0] if rest else kwargs.get("from", 0.0)
    high = rest[1] if len(rest) > 1 else kwargs.get("to", 1.0)
    return x.fill_(low + (high - low) * DRAWN)


def _undropped(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    return args[0] if args else kwargs["input"]


def _undropped_by_alpha(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    x = _undropped(func, args, kwargs)
    rate = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    if not (args[2] if len(args) > 2 else kwargs.get("training", False)):
        return x
    limit = 1.7580993408473766  # of SELU
    return (x + rate * limit) / math.sqrt((1 - rate) * (1 + rate * limit**2))


def _filled(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    return args[0].fill_(args[1] if len(args) > 1 else kwargs.get("p", 0.5))


def _probabilities(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    return torch.full_like(args[0], args[1] if len(args) > 1 else kwargs["p"]) if args[1:] else args[0]


def _attended(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    names = [*inspect.signature(func).parameters] if inspect.isfunction(func) else SDPA
    at = [*names].index("dropout_p")
    args = (*args[:at], 0.0, *args[at + 1 :]) if len(args) > at else args
    return func(*args, **{key: 0.0 if key == "dropout_p" else each for key, each in kwargs.items()})


SDPA = ("query", "key", "value", "attn_mask", "dropout_p")  # whose signature torch does not tell
CERTAIN = {
    **dict.fromkeys(DROPOUTS, _undropped),
    **dict.fromkeys((each for each in DROPOUTS if "alpha" in each), _undropped_by_alpha),
    **dict.fromkeys(("rand", "randn", "rand_like", "randn_like"), _drawn),
    "normal": _normal,
    "normal_": _normal_in_place,
    "uniform_": _uniform_in_place,
    "bernoulli_": _filled,
    "bernoulli": _probabilities,
    "scaled_dot_product_attention": _attended,
    "multi_head_attention_forward": _attended,
}


@contextmanager
def certain(run: Runtime) -> Iterator[None]:
    """Runs Flax code without chance: `Wide(chance=False)` for JAX."""

    def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, **kwargs: Any) -> jax.Array:
        return jnp.full(() if shape is None else shape, p, jnp.float64)

    def normal(key: Any, shape: Any = (), dtype: Any = float) -> jax.Array:
        return jnp.full(shape, DRAWN, dtype)

    def uniform(
        key: Any, shape: Any = (), dtype: Any = float, minval: Any = 0.0, maxval: Any = 1.0
    ) -> jax.Array:
        return jnp.full(shape, minval + (maxval - minval) * DRAWN, dtype)

    with (
        mock.patch.multiple(jax.random, bernoulli=bernoulli, normal=normal, uniform=uniform),
        run.certain(),
    ):
        yield


def randomized(module: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy in float64 whose parameters and running statistics are random.

    Each has the size that trained ones have, so that numbers neither vanish nor grow through the layers.
    """
    made = doubled(module)
    rng = np.random.default_rng(0)
    statistics = [(n, b) for n, b in made.named_buffers() if n.rpartition(".")[2] in STATISTICS]
    with torch.no_grad():
        for name, tensor in (*made.named_parameters(), *statistics):
            if tensor.is_floating_point():
                fan_in = math.prod(tensor.shape[1:]) if tensor.ndim > 1 else 10
                numbers = np.asarray(rng.normal(size=tensor.shape) / math.sqrt(fan_in or 1))
                positive = name.endswith("running_var")
                tensor.copy_(torch.from_numpy(np.abs(numbers) + 0.5 if positive else numbers))
    return made


def doubled(module: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy in float64, all of whose parameters have gradients."""
    made = fresh(module).cpu().double().eval()
    for parameter in made.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return made


def wide_module(written: Written) -> Any:
    """Returns the written module with float64 wherever it says float32."""
    source = written.source.replace("jnp.float32", "jnp.float64")
    source = source.replace(AT_LEAST.replace("jnp.float32", "jnp.float64"), AT_LEAST)
    run = runtime(written.dialect)
    return run.wide(run.made(source, written.root, f"<{written.root} in float64>"))


def wide(tree: Any) -> Any:
    """Returns a nesting with its floating-point tensors in float64."""
    return mapped(lambda each: each.detach().double() if each.is_floating_point() else each, tree)


def numbers(tree: Any) -> Any:
    """Returns a nesting with NumPy arrays in place of tensors."""
    return mapped(lambda each: each.detach().numpy(), tree)


def mapped(function: Callable[[torch.Tensor], Any], tree: Any) -> Any:
    """Applies a function to each tensor of a nesting."""
    return torch.utils._pytree.tree_map(
        lambda each: function(each) if isinstance(each, torch.Tensor) else each, tree
    )

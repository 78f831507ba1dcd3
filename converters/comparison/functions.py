"""Functions inside two models that have options but no name: pooling, GELU, dropout.

PyTorch's are seen as they are called, Flax's in the trace of the whole model.
"""

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from converters.comparison.report import Finding
from converters.comparison.runner import Runner
from converters.inspection import Path


@dataclass(frozen=True, kw_only=True)
class Pool:
    """One pooling, in numbers that mean the same in both frameworks."""

    kind: str  # "max" or "avg"
    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]  # before the first value of each axis; sizes and shape tell the rest
    sizes: tuple[int, ...]  # of the input's spatial axes
    shape: tuple[int, ...]  # of the output's
    count_include_pad: bool

    @property
    def inside(self) -> bool:
        """Returns whether no window reaches into padding, so that it cannot matter what is counted."""
        each = zip(self.sizes, self.window, self.stride, self.dilation, self.padding, self.shape, strict=True)
        return all(
            before == 0 and (shape - 1) * stride + (window - 1) * dilation < size
            for size, window, stride, dilation, before, shape in each
        )


@dataclass
class CallLog:
    """Record of the calls, in order."""

    pools: list[Pool] = field(default_factory=list)
    dropouts: list[float | None] = field(default_factory=list)  # rates; None where eval mode hides it
    erf: int = 0  # exact GELUs, mostly
    tanh: int = 0  # approximate GELUs, mostly
    low: list[Finding] = field(default_factory=list)  # layers that left float64


LOW = (jnp.float32, jnp.float16, jnp.bfloat16)
# The parameters of torch's functions written in C, which have no signature to ask.
MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
AVG_POOL = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")


def torch_function(
    found: CallLog, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
) -> None:
    """Notes one function of torch that was called."""
    name = getattr(func, "__name__", "").removesuffix("_").removesuffix("_with_indices")
    if name in ("max_pool1d", "max_pool2d", "max_pool3d"):
        found.pools.append(_torch_pool("max", {**dict(zip(MAX_POOL, args, strict=False)), **kwargs}, out))
    elif name in ("avg_pool1d", "avg_pool2d", "avg_pool3d"):
        found.pools.append(_torch_pool("avg", {**dict(zip(AVG_POOL, args, strict=False)), **kwargs}, out))
    elif name == "gelu":
        exact = kwargs.get("approximate", "none") == "none"
        found.erf += exact
        found.tanh += not exact
    elif name in ("erf", "tanh"):
        setattr(found, name, getattr(found, name) + 1)
    elif "dropout" in name or name == "multi_head_attention_forward":
        given = _bound(func, args, kwargs)
        rate = given.get("p", given.get("dropout_p"))
        found.dropouts.append(float(rate) if rate else None)  # often `p if self.training else 0.0`
    elif name == "scaled_dot_product_attention":
        found.dropouts.append(None)


def _bound(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        bound = inspect.signature(func).bind(*args, **kwargs)
    except ValueError:  # written in C: torch.dropout(input, p, train)
        return {**dict(zip(("input", "p"), args, strict=False)), **kwargs}
    bound.apply_defaults()
    return bound.arguments


def _torch_pool(kind: str, given: Mapping[str, Any], out: Any) -> Pool:
    shape = (out[0] if isinstance(out, tuple) else out).shape
    count = len(given["kernel_size"]) if isinstance(given["kernel_size"], tuple | list) else None
    spatial = tuple(shape[-count:] if count else shape[2:])

    def each(value: Any) -> tuple[int, ...]:
        return tuple(value) if isinstance(value, tuple | list) else (int(value),) * len(spatial)

    window = each(given["kernel_size"])
    stride = each(given.get("stride") or window)
    dilation, padding = each(given.get("dilation", 1)), each(given.get("padding", 0))
    sizes = tuple(given["input"].shape[-len(spatial) :])
    pool = Pool(
        kind=kind,
        window=window,
        stride=stride,
        dilation=dilation,
        padding=padding,
        sizes=sizes,
        shape=spatial,
        count_include_pad=kind == "avg",
    )
    return pool if given.get("count_include_pad", True) else replace(pool, count_include_pad=pool.inside)


def flax_layer(found: CallLog, runner: Runner, layer: Any, path: Path, result: Any) -> None:
    """Notes one layer of Flax that was called."""
    rate = runner.dropout_rate(layer)
    if rate:
        found.dropouts.append(float(rate))
    low = [leaf.dtype for leaf in jax.tree.leaves(result) if getattr(leaf, "dtype", None) in LOW]
    if low:
        where = "/".join(path)
        found.low.append(
            Finding(layer=where, setting="the dtype of its output", flax=str(low[0]), torch="float64")
        )


def flax_functions(jaxpr: core.Jaxpr, found: CallLog, times: int = 1) -> None:
    """Notes the functions in the trace of a model."""
    constant: set[Any] = set(jaxpr.constvars)
    equation: Any  # its abstract values have shapes, whatever jax says of their type
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        fixed = all(isinstance(v, core.Literal) or v in constant for v in equation.invars)
        constant.update(equation.outvars if fixed else ())
        if name in ("reduce_window_max", "reduce_window_sum"):
            if fixed and found.pools:
                # The number of values in each window of a row of ones: count_include_pad=False.
                found.pools[-1] = replace(found.pools[-1], count_include_pad=found.pools[-1].inside)
            else:
                found.pools += [_flax_pool(name, params, equation)] * times
        elif name in ("erf", "erfc"):
            found.erf += times
        elif name == "tanh":
            found.tanh += times
        for inner in _inner(params):
            flax_functions(inner, found, times * params.get("length", 1))


def _flax_pool(name: str, params: Mapping[str, Any], equation: Any) -> Pool:
    """Flax pools all but the first axis, the batch, and the last, the channels."""
    window, stride, dilation = (
        tuple(params[key])[1:-1] for key in ("window_dimensions", "window_strides", "window_dilation")
    )
    padding = tuple(before for before, _ in params["padding"])[1:-1]
    sizes, shape = (tuple(v.aval.shape)[1:-1] for v in (equation.invars[0], equation.outvars[0]))
    kind = "max" if name == "reduce_window_max" else "avg"
    return Pool(
        kind=kind,
        window=window,
        stride=stride,
        dilation=dilation,
        padding=padding,
        sizes=sizes,
        shape=shape,
        count_include_pad=kind == "avg",
    )


def _inner(params: Mapping[str, Any]) -> Iterator[core.Jaxpr]:
    for value in jax.tree.leaves(
        list(params.values()), is_leaf=lambda v: isinstance(v, core.Jaxpr | core.ClosedJaxpr)
    ):
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value


def differences(flax: CallLog, torch: CallLog, *, lifted: bool, agree: bool) -> Iterator[Finding | str]:
    """Yields the differences, and sentences about what could not be compared.

    Args:
        flax: The Flax model's functions.
        torch: The torch module's.
        lifted: If true, one function of Flax may be several of PyTorch.
        agree: If true, all layers' inputs and outputs agree: other functions compute the same, and only
            dropout, which eval mode hides, can differ.
    """
    yield from flax.low[:1]  # the others follow from the first
    shown = itertools.chain(_pools(flax, torch), _gelus(flax, torch, lifted=lifted))
    for each in shown:
        yield f"{each}; the numbers agree" if agree and isinstance(each, Finding) else each
    if not _same_rates(flax.dropouts, torch.dropouts):
        rates = [_rates(log.dropouts) for log in (flax, torch)]
        yield Finding(layer="", setting="dropout rates in order", flax=rates[0], torch=rates[1])
    elif None in torch.dropouts and flax.dropouts:
        yield f"dropout: {torch.dropouts.count(None)} rates that PyTorch tells in training only"


def _pools(flax: CallLog, torch: CallLog) -> Iterator[Finding | str]:
    if len(flax.pools) != len(torch.pools):
        yield f"pooling: Flax pools {len(flax.pools)} times, PyTorch {len(torch.pools)} times"
        return
    for index, (mine, theirs) in enumerate(zip(flax.pools, torch.pools, strict=True), start=1):
        yield from _options(f"{theirs.kind} pooling, call {index}", mine, theirs)


def _gelus(flax: CallLog, torch: CallLog, *, lifted: bool) -> Iterator[Finding | str]:
    if flax.erf == torch.erf:
        return
    counts = [f"erf {log.erf} times, tanh {log.tanh} times" for log in (flax, torch)]
    if lifted and flax.erf and torch.erf:
        yield f"GELU: {counts[0]} in the trace, for PyTorch's {counts[1]}"
    else:
        yield Finding(layer="", setting="GELU", flax=counts[0], torch=counts[1])


def _rates(found: Sequence[float | None]) -> str:
    return ", ".join("hidden" if rate is None else f"{rate:g}" for rate in found) or "none"


def _same_rates(flax: Sequence[float | None], torch: Sequence[float | None]) -> bool:
    """Returns whether the rates agree in order, a hidden one with any or with no dropout at all."""
    reached = {0}  # how many of Flax's may have been seen so far
    for rate in torch:
        following = {i + 1 for i in reached if i < len(flax) and rate in (None, flax[i])}
        reached = following | (reached if rate is None else set())
    return len(flax) in reached


def _options(name: str, flax: Pool, torch: Pool) -> Iterator[Finding]:
    """Yields the differences; outputs of another shape may come from inputs of another shape."""
    given = {"sizes"} if flax.sizes == torch.sizes else {"sizes", "shape"}
    for option in (option.name for option in fields(Pool) if option.name not in given):
        mine, theirs = getattr(flax, option), getattr(torch, option)
        if mine != theirs:
            yield Finding(layer="", setting=f"{name}: {option}", flax=str(mine), torch=str(theirs))

"""State dicts into Flax variables and back. Knows no model: the module says what it needs."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from converters.checkpoints import as_tensors
from converters.errors import ConversionError
from converters.inspection import Inspection, Path
from converters.linen.target import LinenTarget
from converters.matching.arguments import as_patterns, check_names, check_rules
from converters.matching.arrays import contiguous
from converters.matching.conversion import Conversion
from converters.matching.effective import EffectiveTensors
from converters.matching.fit import Fit, doubt, doubts
from converters.matching.links import Link, in_order
from converters.matching.rules import Rule
from converters.matching.search import (
    NamesAndRules,
    best_fit,
    conversion_error,
    fewest_problems,
    links_after_rules,
)
from converters.target import Target
from converters.tensors import Tensors, as_numpy

if TYPE_CHECKING:
    from flax import nnx

M = TypeVar("M", bound="nnx.Module")
Method = Callable[..., Any] | str | None


def is_nnx(module: Any) -> bool:
    """Returns whether a module is one of NNX, which is imported already if it is."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(module, nnx.Module)


def _target(
    module: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any], rngs: Any, method: Method
) -> Target:
    """Returns what the module's framework does with it; a function makes an NNX module."""
    makes_one = callable(module) and not isinstance(module, type) and not hasattr(module, "module")
    if isinstance(module, nn.Module) or not (is_nnx(module) or makes_one):
        return LinenTarget(module=module, inputs=inputs, kwargs=kwargs, rngs=rngs, method=method)
    if inputs or kwargs or method is not None:
        raise ConversionError("an NNX module knows its shapes: leave out example inputs, kwargs= and method=")
    from converters.nnx import NnxTarget

    return NnxTarget.of(module)


def match(
    source: Any,
    module: "nn.Module | nnx.Module | Callable[[], nnx.Module]",
    *inputs: Any,
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    rngs: Any = None,
    method: Method = None,
    names: NamesAndRules = (),
    rules: Sequence[Rule] = (),
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
    key: str | None = None,
    dtype: Any = None,
    allow_nonfinite: bool = False,
) -> Conversion:
    """Finds the tensors for every array of a module, and reads none; arguments as for `convert`."""
    target = _target(module, inputs, kwargs, rngs, method)
    return _match(
        target,
        as_tensors(source, key),
        names,
        rules,
        ignore,
        missing,
        dtype=dtype,
        allow_nonfinite=allow_nonfinite,
    )


def _match(
    target: Target,
    tensors: Tensors,
    names: NamesAndRules,
    rules: Sequence[Rule],
    ignore: Sequence[str],
    missing: Sequence[str],
    *,
    dtype: Any,
    allow_nonfinite: bool,
) -> Conversion:
    fit = _fit(target, tensors, names, rules, ignore, missing)
    return Conversion.of(
        fit,
        notes=(*fit.notes, *doubts(fit), *target.doubts(fit.links)),
        dtype=dtype and jnp.dtype(dtype),
        allow_nonfinite=allow_nonfinite,
        initialize=target.initial_values,
    )


@overload
def convert(
    source: Any,
    module: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] = ...,
    rngs: Any = ...,
    method: Method = ...,
    names: NamesAndRules = ...,
    rules: Sequence[Rule] = ...,
    ignore: Sequence[str] = ...,
    missing: Sequence[str] = ...,
    key: str | None = ...,
    dtype: Any = ...,
    allow_nonfinite: bool = ...,
) -> dict[str, Any]: ...


@overload
def convert(
    source: Any,
    module: "nnx.Module",
    *inputs: Any,
    kwargs: Mapping[str, Any] = ...,
    rngs: Any = ...,
    method: Method = ...,
    names: NamesAndRules = ...,
    rules: Sequence[Rule] = ...,
    ignore: Sequence[str] = ...,
    missing: Sequence[str] = ...,
    key: str | None = ...,
    dtype: Any = ...,
    allow_nonfinite: bool = ...,
) -> "nnx.State[Any, Any]": ...


@overload
def convert(
    source: Any,
    module: Callable[[], M],
    *inputs: Any,
    kwargs: Mapping[str, Any] = ...,
    rngs: Any = ...,
    method: Method = ...,
    names: NamesAndRules = ...,
    rules: Sequence[Rule] = ...,
    ignore: Sequence[str] = ...,
    missing: Sequence[str] = ...,
    key: str | None = ...,
    dtype: Any = ...,
    allow_nonfinite: bool = ...,
) -> M: ...


def convert(
    source: Any,
    module: Any,
    *inputs: Any,
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    rngs: Any = None,
    method: Method = None,
    names: NamesAndRules = (),
    rules: Sequence[Rule] = (),
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
    key: str | None = None,
    dtype: Any = None,
    allow_nonfinite: bool = False,
) -> Any:
    """Converts PyTorch's tensors into the variables of a linen module, or the state of an NNX module.

    Every array of the module asks for its tensor; then nothing may be left over. A prefix that all names
    share (`module.`, `_orig_mod.`, `model.`) is taken off where all of them then fit.

    Args:
        source: a checkpoint's path, or a mapping of names to arrays.
        module: any linen module; or an NNX one: concrete, abstract (`nnx.eval_shape(lambda: Net(rngs=...))`),
            or a function that makes one (`lambda: Net(rngs=nnx.Rngs(0))`), which allocates nothing.
        inputs: example arrays or `jax.ShapeDtypeStruct`s for `module.init`; only their shapes matter. An NNX
            module knows its shapes and takes none.
        kwargs: keyword arguments for `module.init`.
        rngs: for `module.init`.
        method: for `module.init`.
        names: pairs of (regular expression, replacement), applied in order to Flax's full dotted names,
            such as `encoder.layers.0.weight`, to make PyTorch's. May hold rules, which count as `rules`.
        rules: `Fuse`, `Split`, `Unflatten`, `Reshape`, `Transpose`, `Keep`, `Orthogonalize` or your own, in
            the order Flax to PyTorch.
        ignore: regular expressions for whole names that may be left over, or one; `num_batches_tracked`
            always may.
        missing: regular expressions for whole names (`head.weight`), or paths of arrays
            (`params/head/kernel`), that the file may lack, or one: these arrays keep the values of
            `module.init`.
        key: which mapping of a file that holds several.
        dtype: for floating-point arrays; None keeps the tensors' own.
        allow_nonfinite: lets NaN and infinity pass.

    Returns:
        The nested dict of NumPy arrays that `module.apply` takes. For an NNX module its `nnx.State`, for
        `nnx.update(module, state)` or `nnx.merge`; for a function the module itself, in the mode in which the
        function makes it.

    Raises:
        CheckpointError: the file cannot be read.
        ConversionError: everything that is missing, misshapen, left over, duplicated or of the wrong kind,
            and layers that read a map flattened with its channels last, which PyTorch has first.

    Warns:
        UserWarning: a tensor has equal axes, and nothing says that they are in the module's order; or a layer
            of an NNX module may read a map flattened, which only a run of the module would tell.
    """
    target = _target(module, inputs, kwargs, rngs, method)
    found = _match(
        target,
        as_tensors(source, key),
        names,
        rules,
        ignore,
        missing,
        dtype=dtype,
        allow_nonfinite=allow_nonfinite,
    )
    for sentence in (*([doubt(found.swappable)] if found.swappable else ()), *target.doubts(found.links)):
        warnings.warn(sentence, stacklevel=2)
    return target.variables(found.arrays())


def to_torch(
    variables: "Mapping[str, Any] | nnx.Module | nnx.State[Any, Any]",
    module: "nn.Module | nnx.Module | None" = None,
    *inputs: Any,
    like: Any = None,
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    rngs: Any = None,
    method: Method = None,
    names: NamesAndRules = (),
    rules: Sequence[Rule] = (),
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
    key: str | None = None,
) -> dict[str, np.ndarray]:
    """A module's variables as a PyTorch state dict: the inverse of `convert`, bit for bit.

    Args:
        variables: of the module; an NNX module holds its own, and needs no `module` beside it.
        like: the state dict or checkpoint that the variables came from. It restores what Flax has no
            place for: counters, mask buffers, prefixes, tied duplicates, the order.
        module, inputs, kwargs, rngs, method, names, rules, ignore, missing, key: as for `convert`.

    Returns:
        Names and contiguous arrays. Where Flax keeps the sum of two biases and `like` does not say how to
        split it, the second is zero.

    Raises:
        ConversionError: the variables are not the module's, or `like` does not fit it.
    """
    target = _target(variables if module is None else module, inputs, kwargs, rngs, method)
    if like is None:
        inspection = target.inspections()[0]
        values = target.values(variables, inspection)
        found = links_after_rules(inspection, names, rules)
        made = dict(item for link in found for item in _tensors(link, values))
        return {name: made[name] for name in in_order(found)}
    original = as_tensors(like, key)
    fit = _fit(target, original, names, rules, ignore, missing)
    values = target.values(variables, target.inspections()[0])
    made = {name: tensor for link in fit.links for name, tensor in _tensors(link, values, fit.tensors)}
    ties = fit.ties()
    if isinstance(fit.tensors, EffectiveTensors):
        made = fit.tensors.restored(made)
    added = dict(item for link in fit.lacking for item in _tensors(link, values))
    return {name: made.get(ties.get(name, name), contiguous(original[name])) for name in original} | added


def _fit(
    target: Target,
    tensors: Tensors,
    names: NamesAndRules,
    rules: Sequence[Rule],
    ignore: Sequence[str],
    missing: Sequence[str] = (),
) -> Fit:
    """Returns the fit of tensors and a module, or raises the error that says why there is none."""
    check_names(names)
    check_rules(rules)
    ignore, missing = as_patterns("ignore", ignore), as_patterns("missing", missing)
    inspections = target.inspections()

    def attempt(inspection: Inspection, more: NamesAndRules = ()) -> Fit:
        return best_fit(inspection, tensors, [*names, *more], rules, ignore, missing)

    inspection, fit = fewest_problems(inspections, attempt)
    if fit.problems:
        raise conversion_error(fit, target.module, partial(attempt, inspection))
    return fit


def _tensors(
    link: Link, values: Mapping[Path, Any], like: Tensors | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    arrays = tuple(as_numpy(values[array.path]) for array in link.arrays)
    if like is not None and link.lossy:
        original = tuple(like[name] for name in link.tensors)
        same = zip(link.to_flax(original), arrays, strict=True)
        if all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in same):
            yield from zip(link.tensors, map(contiguous, original), strict=True)
            return
    for name, tensor in zip(link.tensors, link.to_torch(arrays), strict=True):
        yield name, contiguous(tensor)

"""State dicts into Flax variables and back. Knows no model: the module says what it needs."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.core import meta
from flax.traverse_util import flatten_dict

from converters.checkpoints import as_tensors
from converters.errors import ConversionError
from converters.inspection import Inspection, Path
from converters.linen.initial import initial_values
from converters.linen.inspect import inspect_module
from converters.matching.arguments import as_patterns, check_names, check_rules
from converters.matching.arrays import contiguous
from converters.matching.conversion import Conversion
from converters.matching.effective import EffectiveTensors
from converters.matching.fit import Fit, doubt, doubts
from converters.matching.links import Link, in_order
from converters.matching.rules import Rule
from converters.matching.search import NamesAndRules, best_fit, conversion_error, links_after_rules
from converters.tensors import Tensors, as_numpy

Method = Callable[..., Any] | str | None


def match(
    source: Any,
    module: nn.Module,
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
    tensors = as_tensors(source, key)
    inspection = inspect_module(module, *inputs, kwargs=kwargs, rngs=rngs, method=method)
    fit = _fit(inspection, module, tensors, names, rules, ignore, missing)
    return Conversion.of(
        fit,
        notes=(*fit.notes, *doubts(fit)),
        dtype=dtype and jnp.dtype(dtype),
        allow_nonfinite=allow_nonfinite,
        initialize=lambda paths: initial_values(
            module, paths, *inputs, kwargs=kwargs, rngs=rngs, method=method
        ),
    )


def convert(
    source: Any,
    module: nn.Module,
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
) -> dict[str, Any]:
    """PyTorch's tensors as the variables of a linen module.

    Every array of the module asks for its tensor; then nothing may be left over. A prefix that all names
    share (`module.`, `_orig_mod.`, `model.`) is taken off where all of them then fit.

    Args:
        source: a checkpoint's path, or a mapping of names to arrays.
        module: any linen module.
        inputs: example arrays or `jax.ShapeDtypeStruct`s for `module.init`; only their shapes matter.
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
        The nested dict of NumPy arrays that `module.apply` takes.

    Raises:
        CheckpointError: the file cannot be read.
        ConversionError: everything that is missing, misshapen, left over, duplicated or of the wrong kind,
            and layers that read a map flattened with its channels last, which PyTorch has first.

    Warns:
        UserWarning: a tensor has equal axes, and nothing says that they are in the module's order.
    """
    found = match(
        source,
        module,
        *inputs,
        kwargs=kwargs,
        rngs=rngs,
        method=method,
        names=names,
        rules=rules,
        ignore=ignore,
        missing=missing,
        key=key,
        dtype=dtype,
        allow_nonfinite=allow_nonfinite,
    )
    if found.swappable:
        warnings.warn(doubt(found.swappable), stacklevel=2)
    return found.variables()


def to_torch(
    variables: Mapping[str, Any],
    module: nn.Module,
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
        variables: of the module.
        like: the state dict or checkpoint that the variables came from. It restores what Flax has no
            place for: counters, mask buffers, prefixes, tied duplicates, the order.
        module, inputs, kwargs, rngs, method, names, rules, ignore, missing, key: as for `convert`.

    Returns:
        Names and contiguous arrays. Where Flax keeps the sum of two biases and `like` does not say how to
        split it, the second is zero.

    Raises:
        ConversionError: the variables are not the module's, or `like` does not fit it.
    """
    inspection = inspect_module(module, *inputs, kwargs=kwargs, rngs=rngs, method=method)
    values = check_variables(variables, inspection, type(module).__name__)
    if like is None:
        found = links_after_rules(inspection, names, rules)
        made = dict(item for link in found for item in _tensors(link, values))
        return {name: made[name] for name in in_order(found)}
    original = as_tensors(like, key)
    fit = _fit(inspection, module, original, names, rules, ignore, missing)
    made = {name: tensor for link in fit.links for name, tensor in _tensors(link, values, fit.tensors)}
    ties = fit.ties()
    if isinstance(fit.tensors, EffectiveTensors):
        made = fit.tensors.restored(made)
    added = dict(item for link in fit.lacking for item in _tensors(link, values))
    return {name: made.get(ties.get(name, name), contiguous(original[name])) for name in original} | added


def _fit(
    inspection: Inspection,
    module: nn.Module,
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

    def attempt(more: NamesAndRules = ()) -> Fit:
        return best_fit(inspection, tensors, [*names, *more], rules, ignore, missing)

    fit = attempt()
    if fit.problems:
        raise conversion_error(fit, module, attempt)
    return fit


def check_variables(variables: Mapping[str, Any], inspection: Inspection, module: str) -> dict[Path, Any]:
    """The variables by their paths.

    Raises:
        ConversionError: they are not those of the module.
    """
    if not isinstance(variables, Mapping):
        found_type = type(variables).__name__
        raise ConversionError(f"variables are a mapping of collections, found a {found_type}")
    found: dict[Path, Any] = flatten_dict(meta.unbox(dict(variables)))
    wanted = {array.path: array for array in inspection.arrays}
    lines = [f"  missing    {array}" for path, array in wanted.items() if path not in found]
    lines += [f"  left over  {'/'.join(path)}" for path in found if path not in wanted]
    lines += [
        f"  misshapen  {array}: {np.shape(found[path])} for {array.shape}"
        for path, array in wanted.items()
        if path in found and np.shape(found[path]) != array.shape
    ]
    if lines:
        raise ConversionError("\n".join([f"the variables do not fit {module}:", *lines]))
    return found


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

"""Inspects a linen module: one abstract run of `init` tells its layers and arrays.

With `converters.linen.calls`, all that this package knows about the inside of Flax linen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import struct
from flax.core import meta
from flax.traverse_util import flatten_dict

from converters.errors import ConversionError
from converters.inspection import Inspection, Lift, Path, Variable
from converters.linen.calls import in_tree
from converters.linen.flattened import Marks, find_flattened
from converters.linen.parameters import shapes_only
from converters.linen.table import rows


def _attributes(layers: Mapping[Path, nn.Module]) -> dict[Path, str]:
    """The attribute that each layer is in, for those that are in one."""
    found: dict[Path, str] = {}
    for path, layer in layers.items():
        for attribute, value in vars(layer).items():
            if attribute not in ("parent", "scope", "_state"):
                for child, origin in _modules(value, attribute):
                    # torch.nn.Sequential has no attribute between itself and its layers.
                    plain = origin.removeprefix("layers.") if isinstance(layer, nn.Sequential) else origin
                    # A name with a dot is no attribute's but said, and is PyTorch's.
                    if child.name is not None and "." not in child.name:
                        found.setdefault((*path, child.name), plain)
    return found


def _modules(value: Any, origin: str) -> Iterator[tuple[nn.Module, str]]:
    if isinstance(value, nn.Module):
        yield value, origin
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _modules(item, f"{origin}.{key}")
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _modules(item, f"{origin}.{index}")


def inspect_module(
    module: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    rngs: Any = None,
    method: Callable[..., Any] | str | None = None,
) -> Inspection:
    """Runs the shapes of `module.init` once: no arithmetic, no random numbers, nothing allocated.

    Args:
        module: any linen module.
        inputs: example arrays or `jax.ShapeDtypeStruct`s; only their shapes and dtypes matter.
        kwargs: keyword arguments of the call. Arrays among them are traced, other values stay as they are.
        rngs: as for `init`; a key for all streams by default.
        method: as for `init`.

    Raises:
        ConversionError: it is no linen module, or there are texts among the inputs.
    """
    _check(module, inputs)
    run = _Run(module, inputs, dict(kwargs), rngs, method)
    shapes, seen = run(boxed=False)
    lifts: dict[Path, tuple[Lift, ...]] = {}
    if any(seen.views.get(path[1:-1], {}).get(path) != array.shape for path, array in shapes.items()):
        # Some arrays have axes that their layers never see. Shapes alone cannot tell which ones, so
        # run again with every array in a box that Flax tells of each axis it adds.
        boxes, boxed = run(boxed=True)
        lifts = {path: _lifts(path, box, boxed.views) for path, box in boxes.items() if isinstance(box, _Box)}
    # jax sorts what it traces by name; a module's view has its own parameters in the order of their calls.
    order = {path: index for index, path in enumerate(seen.layers)}
    within = {path: at for view in seen.views.values() for at, path in enumerate(view)}
    arrays = [
        Variable(path=path, shape=a.shape, dtype=a.dtype, lifts=lifts.get(path, ()))
        for path, a in shapes.items()
    ]
    return Inspection(
        layers=seen.layers,
        arrays=tuple(
            sorted(arrays, key=lambda each: (order.get(each.path[1:-1], -1), within.get(each.path, -1)))
        ),
        attributes=_attributes(seen.layers),
        rows=rows,
        flattened=cache(partial(find_flattened, seen.program, seen.marks)),
    )


def _check(module: Any, inputs: Sequence[Any]) -> None:
    if not isinstance(module, nn.Module):
        if isinstance(module, type):
            found = f"the class {module.__name__}: call it"
        else:
            inner = isinstance(getattr(module, "module", None), nn.Module)
            found = f"{type(module).__name__}{': pass its attribute `module`' if inner else ''}"
        raise ConversionError(f"expected a flax.linen or flax.nnx module, found {found}")
    for at, given in enumerate(inputs):
        if any(isinstance(leaf, str) for leaf in jax.tree.leaves(given)):
            raise ConversionError(
                f"example input {at} has texts in it, expected arrays or jax.ShapeDtypeStructs; names pairs "
                "and patterns have keywords: names=, ignore=, missing="
            )


@dataclass
class _Seen:
    layers: dict[Path, nn.Module] = field(default_factory=dict)
    # module path -> array path -> shape, or axes of the box, as seen from inside that module
    views: dict[Path, dict[Path, tuple[int, ...]]] = field(default_factory=dict)
    marks: Marks = field(default_factory=Marks)
    program: Any = None


def split_arguments(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns keyword arguments that are arrays, or trees of arrays, and the others."""
    arrays = {}
    for name, value in kwargs.items():
        leaves = jax.tree.leaves(value)
        if leaves and all(hasattr(leaf, "shape") for leaf in leaves):
            arrays[name] = value
    return arrays, {name: value for name, value in kwargs.items() if name not in arrays}


def _shape(leaf: Any) -> Any:
    """The array's shape and dtype: make_jaxpr would keep the array."""
    if isinstance(leaf, jax.Array | np.ndarray):
        # Newer versions of JAX warn of float64 that they will not make.
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True)
        return jax.ShapeDtypeStruct(leaf.shape, dtype)
    return leaf


@dataclass(frozen=True)
class _Run:
    module: nn.Module
    inputs: tuple[Any, ...]
    kwargs: dict[str, Any]
    rngs: Any
    method: Callable[..., Any] | str | None

    def __call__(self, *, boxed: bool) -> tuple[dict[Path, Any], _Seen]:
        seen = _Seen()

        def intercept(
            call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
        ) -> Any:
            layer = context.module
            if not in_tree(layer):
                return call(*args, **kwargs)
            path = layer.path
            seen.layers.setdefault(path, layer)  # before the call: parents come before children
            result = (
                seen.marks.call(layer, call, args, kwargs)
                if context.method_name == "__call__"
                else call(*args, **kwargs)
            )
            seen.views[path] = _view(layer, path, boxed)
            return result

        arrays, static = split_arguments(self.kwargs)

        def init(rngs: Any, inputs: Any, arrays: Any) -> Any:
            # Made in here, it needs no compiler.
            key = jax.random.key(0) if rngs is None else rngs
            with nn.intercept_methods(intercept), shapes_only():
                return self.module.init(key, *inputs, method=self.method, **arrays, **static)

        try:
            shapes = jax.tree.map(_shape, (self.rngs, self.inputs, arrays))
            seen.program, tree = jax.make_jaxpr(init, return_shape=True)(*shapes)
        except Exception as error:
            given = [getattr(x, "shape", x) for x in self.inputs]
            hint = "pass example inputs that it takes, images with their channels last"
            error.add_note(f"converters ran init of {type(self.module).__name__} on {given}; {hint}")
            raise
        if not boxed:
            tree = meta.unbox(tree)
        return flatten_dict(tree, is_leaf=lambda _, value: isinstance(value, _Box)), seen


class _Box(struct.PyTreeNode, meta.AxisMetadata[Any]):
    """Remembers the axes that lifted transforms add to the array inside."""

    value: Any
    axes: tuple[int, ...] = struct.field(pytree_node=False, default=())  # innermost first

    def unbox(self) -> Any:
        return self.value

    def replace_boxed(self, val: Any) -> "_Box":
        return _Box(val, self.axes)

    def add_axis(self, index: int, params: dict[Any, Any]) -> "_Box":
        return _Box(self.value, (*self.axes, index))

    def remove_axis(self, index: int, params: dict[Any, Any]) -> "_Box":
        return _Box(self.value, self.axes[:-1])


def _view(layer: nn.Module, path: Path, boxed: bool) -> dict[Path, tuple[int, ...]]:
    """The arrays at and below a layer as they look from inside it; boxes those that it owns itself."""
    view = {}
    for collection, tree in layer.variables.items():
        for name, value in flatten_dict(tree, is_leaf=lambda _, v: isinstance(v, meta.AxisMetadata)).items():
            if boxed and len(name) == 1 and not isinstance(value, _Box):
                value = _Box(value)
                layer.put_variable(collection, name[0], value)
            found = value.axes if isinstance(value, _Box) else jax.tree.leaves(value)[0].shape
            view[(collection, *path, *name)] = found
    return view


def _lifts(path: Path, box: _Box, views: Mapping[Path, Mapping[Path, tuple[int, ...]]]) -> tuple[Lift, ...]:
    shape = list(jax.tree.leaves(box)[0].shape)
    lifts = []
    for count in range(len(box.axes) - 1, -1, -1):
        # Inside the lifted module, `count` axes are still to be seen; its parent sees one more.
        depth = next(
            depth
            for depth in range(1, len(path))
            if len(views.get(path[1:depth], {}).get(path, box.axes)) <= count
        )
        axis = box.axes[count] % len(shape)
        lifts.append(Lift(depth - 1, axis, shape.pop(axis)))
    return tuple(lifts)

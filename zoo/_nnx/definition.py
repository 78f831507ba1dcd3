"""The linen module behind a module of NNX, and what one abstract run tells of it."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax

from converters.linen import inspect_module
from zoo._nnx.tree import PARAMS, Path

Shapes = Mapping[str, tuple[int, ...]]
# Names of arguments by which linen modules are told that they train; False where the name says the opposite.
MODES = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Definition:
    """A linen module without arrays; static in NNX, equal where the module and its arrays' shapes are.

    Attributes:
        module: The module, unbound.
        shapes: Shapes of the arrays at and below it, by path, in the order of files.
        native: If true, linen itself runs it, inside of a module above: in a loop or `nn.remat`, for example.
        mutable: Collections that linen itself may change when it runs.
        streams: Random streams that linen itself draws from when it trains.
        draws: If true, its own code draws random numbers.
        record: More that the module at the root carries, such as a model's entry.
    """

    module: nn.Module
    shapes: Shapes
    native: bool = False
    mutable: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    draws: bool = False
    record: Any = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Definition):
            return False
        return self is other or (
            self.module == other.module and self.shapes == other.shapes and self.record == other.record
        )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # `nnx.jit` asks for it at every call
        try:
            return hash((type(self.module), self.module))
        except TypeError:  # a field that does not hash; equality decides
            return hash(type(self.module))

    def __repr__(self) -> str:
        return f"{type(self.module).__name__} of linen"


@dataclass(kw_only=True)
class Part:
    """A module of linen in its tree.

    Attributes:
        layer: The instance, bound; its methods can no longer be called.
        attribute: Attribute of its parent that holds it, dotted in a list or dict; None where none does.
        arrays: Collection and name of each array of its own, in the order of their calls.
        children: Modules below, by name.
        native: As in `Definition`.
    """

    layer: nn.Module
    attribute: str | None
    native: bool
    arrays: list[tuple[str, str]] = field(default_factory=list)
    children: dict[str, "Part"] = field(default_factory=dict)

    def each(self) -> "list[Part]":
        """Returns the part and all below it."""
        return [self, *(part for child in self.children.values() for part in child.each())]

    def paths(self) -> Iterator[tuple[str, Path]]:
        """Yields collection and path of each array at and below the part."""
        yield from ((kind, (name,)) for kind, name in self.arrays)
        for name, child in self.children.items():
            yield from ((kind, (name, *path)) for kind, path in child.paths())

    def define(self, shapes: Shapes, record: Any = None) -> Definition:
        """Returns its definition."""
        run = [self, *(part for part in self.each() if part.native)]
        drops = [part.layer for part in run if isinstance(part.layer, nn.Dropout) and part.layer.rate]
        collections = (kind for part in run for kind, _ in part.arrays if kind != PARAMS)
        return Definition(
            module=unbound(self.layer),
            shapes=shapes,
            native=self.native,
            mutable=tuple(dict.fromkeys(collections)),
            streams=tuple(dict.fromkeys(layer.rng_collection for layer in drops)),
            draws=any(_draws(type(part.layer)) for part in run),
            record=record,
        )


def parts(module: nn.Module, given: Collection[Path], *inputs: Any) -> Part:
    """Returns the tree of a linen module, found by abstract runs of `init`; computes no array.

    Some layers are called in training only: dropout, and heads that help. Those that need arrays which are
    not given are left out.

    Args:
        module: Any linen module.
        given: Paths of its arrays, collection first.
        inputs: Example arrays, or their shapes.
    """
    seen = _Scopes()
    with nn.intercept_methods(seen):
        takes = inspect.signature(type(module).__call__).parameters
        mode = next((name for name in MODES if name in takes), "")
        found = inspect_module(module, *inputs, kwargs={mode: not MODES[mode]} if mode else {})
        try:
            trained = inspect_module(module, *inputs, kwargs={mode: MODES[mode]}) if mode else found
        except Exception:  # whoever trains the module sees it
            trained = found
    own = [each.path for each in found.arrays]
    arrays = dict.fromkeys([*own, *(each.path for each in trained.arrays if each.path in given)])
    absent = {each.path[1:] for each in trained.arrays if each.path not in arrays}
    useless = {path[:depth] for path in absent for depth in range(1, len(path))} - set(found.layers)
    more = {path: layer for path, layer in trained.layers.items() if path not in useless}
    attributes = {**trained.attributes, **found.attributes}
    top = _tree({**more, **found.layers}, [*arrays], attributes, seen.lifted)
    top.layer = module  # as it was given: what is bound has tuples for lists
    return top


class _Scopes:
    """An interceptor that notes modules in scopes of their own, as a loop or `nn.remat` of linen has."""

    def __init__(self) -> None:
        self.lifted: set[Path] = set()
        self._depth = 0
        self._root: Any = None

    def __call__(
        self, call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
    ) -> Any:
        scope = context.module.scope
        if scope is None:
            return call(*args, **kwargs)
        if not self._depth:
            self._root = scope.root
        if scope.root is not self._root and context.method_name != "setup":
            self.lifted.add(tuple(scope.path))
        self._depth += 1
        try:
            return call(*args, **kwargs)
        finally:
            self._depth -= 1


def _tree(
    layers: Mapping[Path, nn.Module], arrays: list[Path], attributes: Mapping[Path, str], lifted: set[Path]
) -> Part:
    top = Part(layer=layers[()], attribute=None, native=False)
    every: dict[Path, Part] = {(): top}
    homes = {array: _home(layers, array[1:]) for array in arrays}
    for path in [*homes.values(), *layers]:
        for depth in range(1, len(path) + 1):
            here = path[:depth]
            if here not in every:
                parent, layer = every[here[:-1]], layers[here]
                native = here in lifted or parent.native or _is_entangled(layer, here)
                every[here] = Part(layer=layer, attribute=attributes.get(here), native=native)
                parent.children[here[-1]] = every[here]
    for array, home in homes.items():
        every[home].arrays.append((array[0], array[len(home) + 1]))
    return top


def _home(layers: Mapping[Path, nn.Module], path: Path) -> Path:
    """Returns the path of the module that has an array."""
    return next(path[:depth] for depth in range(len(path) - 1, -1, -1) if path[:depth] in layers)


def _is_entangled(layer: nn.Module, path: Path) -> bool:
    """Returns whether a module was given others whose arrays are not below it: it cannot run alone."""
    given = [value for each in fields(layer) if each.name != "parent" for value in _modules(layer, each.name)]
    return any(tuple(inner.path[: len(path)]) != path for inner in given if inner.scope is not None)


def _modules(layer: nn.Module, name: str) -> list[nn.Module]:
    return [leaf for leaf in jax.tree.leaves(getattr(layer, name)) if isinstance(leaf, nn.Module)]


def unbound(layer: nn.Module) -> nn.Module:
    """Returns a module, and those that its fields hold, without scope, parent or name."""
    if layer.scope is None and layer.parent is None:
        return layer
    given = {
        each.name: jax.tree.map(
            lambda leaf: unbound(leaf) if isinstance(leaf, nn.Module) else leaf, getattr(layer, each.name)
        )
        for each in fields(layer)
        if each.name != "parent" and _modules(layer, each.name)
    }
    copied: nn.Module = layer.copy(parent=None, name=None, **given)
    return copied


def _draws(kind: type[nn.Module]) -> bool:
    """Returns whether the code of a class, below linen's own, draws random numbers."""
    own = kind.__mro__[: kind.__mro__.index(nn.Module)]
    methods = (inspect.unwrap(each) for base in own for each in vars(base).values() if callable(each))
    return any("make_rng" in each.__code__.co_names for each in methods if inspect.isfunction(each))

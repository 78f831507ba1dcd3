"""Calls of a composite: linen's own code runs, and NNX's modules answer in the place of linen's.

The code sees linen modules, bound to the arrays that the NNX modules hold now. A call of one of them is
answered by the NNX module at its path, whatever that is: replaced layers take part.
"""

import inspect
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import flax.linen as nn
from flax import nnx
from flax.core import Scope
from flax.errors import InvalidRngError, ScopeParamNotFoundError, ScopeParamShapeError
from flax.traverse_util import flatten_dict, unflatten_dict

from zoo._errors import ZooError
from zoo._nnx.definition import MODES, Definition
from zoo._nnx.flax_private import LazyRng, alone, draw_from
from zoo._nnx.tree import Path, find, variables


@dataclass(kw_only=True)
class _Run:
    """A call of a composite that is under way.

    Attributes:
        node: The composite.
        trains: If true, it trains.
        scope: Scope of its linen module, once it is bound.
        set_up: Paths of the linen modules below it whose `setup` is under way.
    """

    node: Any
    trains: bool
    scope: Scope | None = None
    set_up: list[Path] = field(default_factory=list)


class _Runs(threading.local):
    """Calls that are under way in a thread, the outermost first; linen's interceptors are a thread's, too."""

    now: tuple[_Run, ...] = ()


_RUNS = _Runs()


def run(node: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs a method of the linen class behind a composite.

    Args:
        node: The composite.
        method: Name of the method.
        args: Positional arguments.
        kwargs: Keyword arguments; the composite's mode is added outside of another call, if it is taken.

    Raises:
        ZooError: a replaced layer is where linen runs all by itself, or the call lacks random numbers.
    """
    definition, runs = node.definition, _RUNS.now
    kind: Any = type(definition.module)
    positional, names = _parameters(kind, method)
    given = dict(zip(positional, args, strict=False)) | kwargs
    mode = next((name for name in MODES if name in names), None)
    if not runs and mode is not None and mode not in given:
        given[mode] = kwargs[mode] = node.deterministic is not MODES[mode]
    told = given.get(mode) if mode is not None else None
    trains = told is MODES[mode] if isinstance(told, bool) and mode else _default(node, runs)
    own = _Run(node=node, trains=trains)
    held = dict(variables(node))
    before = {path: each.get_value() for path, each in held.items()}

    def called(bound: nn.Module) -> Any:
        own.scope = bound.scope
        _give_streams(own, definition)
        return getattr(bound, method)(*args, **kwargs)

    with _under_way((*runs, own)):
        mutable = list(definition.mutable) or False
        output = nn.apply(called, definition.module, mutable=mutable)(unflatten_dict(before))
    if definition.mutable:
        output, after = output
        _keep(held, before, flatten_dict(after))
    return output


def _default(node: Any, runs: tuple[_Run, ...]) -> bool:
    """Returns whether a method that takes no mode trains: as the call around it, or as the module is set."""
    return runs[-1].trains if runs else not node.deterministic


@contextmanager
def _under_way(runs: tuple[_Run, ...]) -> Iterator[None]:
    before, _RUNS.now = _RUNS.now, runs
    try:
        if runs[1:]:  # the outermost call intercepts for all
            yield
        else:
            with nn.intercept_methods(_intercept):
                yield
    except InvalidRngError as error:
        stream = re.search(r'PRNG for "([^"]+)"', str(error))
        name = stream[1] if stream else "dropout"
        raise ZooError(
            f"the call draws random numbers of the stream {name!r}, which the module has not; make it with "
            f"streams that have it: zoo.to_nnx(model, nnx.Rngs(0, {name}=1))."
        ) from error
    finally:
        _RUNS.now = before


def _intercept(
    call: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
) -> Any:
    layer, method, runs = context.module, context.method_name, _RUNS.now
    if layer.scope is None or not runs:
        return call(*args, **kwargs)
    own = next((each for each in reversed(runs) if each.scope is layer.scope.root), None)
    path = tuple(layer.scope.path)
    node = find((own or runs[-1]).node, path) if path else None
    if node is None:
        return call(*args, **kwargs)
    definition = getattr(node, "definition", None)
    # In a loop or `nn.remat` of linen, scopes are its own.
    if own is None or (isinstance(definition, Definition) and definition.native):
        _check_native(definition, layer, path)
        return call(*args, **kwargs)
    if method == "setup":
        return _set_up(own, path, call)
    if path in own.set_up:  # a helper of its `setup`
        return call(*args, **kwargs)
    answer = getattr(node, method, None)
    if answer is None:
        raise ZooError(
            f"{'/'.join(path)} is called by {method!r}, which its {type(node).__name__} lacks; it stands in "
            f"for {type(layer).__name__}."
        )
    positional = [_answering(each, runs) for each in args]
    named = {name: _answering(each, runs) for name, each in kwargs.items()}
    if isinstance(definition, Definition):
        # By name, `nnx.tabulate` can show arguments that are modules or named tuples.
        kind: Any = type(definition.module)
        takes, _ = _parameters(kind, method)
        if len(positional) <= len(takes):
            positional, named = [], dict(zip(takes, positional, strict=False)) | named
    with alone():
        return answer(*positional, **named)


def _set_up(own: _Run, path: Path, call: Callable[..., Any]) -> None:
    """Sets a linen module up, for attributes that others read of it; a replaced one may have other arrays."""
    own.set_up.append(path)
    try:
        call()
    except (ScopeParamNotFoundError, ScopeParamShapeError):
        pass
    finally:
        own.set_up.pop()


def _answering(value: Any, runs: tuple[_Run, ...]) -> Any:
    """Returns the NNX module in the place of a linen one that is an argument; other arguments as they are."""
    if isinstance(value, nn.Module) and value.scope is not None:
        for each in runs:
            if each.scope is value.scope.root:
                return find(each.node, tuple(value.scope.path)) or value
    return value


def _check_native(definition: Any, layer: nn.Module, path: Path) -> None:
    if not isinstance(definition, Definition) or not definition.native:
        raise ZooError(
            f"{'/'.join(path)} was replaced, and linen's {type(layer).__name__} there runs in a loop or "
            "nn.remat, which would leave the new layer out; build the model without scan=True and remat=True."
        )


class _Streams(dict[str, LazyRng]):
    """Random streams of a scope, which are drawn from NNX's when they are asked for."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        super().__init__()
        self._rngs = rngs

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._rngs or "default" in self._rngs

    def __missing__(self, name: str) -> LazyRng:
        self[name] = LazyRng.create(self._rngs[name]())
        return self[name]


def _give_streams(own: _Run, definition: Definition) -> None:
    if own.scope is None or not (definition.draws or definition.streams):
        return
    streams = _Streams(own.node.rngs)
    if own.trains:
        for name in definition.streams:  # a loop splits those that are there when it begins
            streams[name]
    draw_from(own.scope, streams)


def _keep(held: Mapping[Any, Any], before: Mapping[Any, Any], after: Mapping[Any, Any]) -> None:
    """Writes what linen changed to NNX's variables."""
    new = ["/".join(path) for path in after if path not in held]
    if new:
        raise ZooError(
            f"the call made new variables, {', '.join(new)}; an NNX module has those that linen's init makes."
        )
    for path, value in after.items():
        if value is not before[path] and path[0] != "params":
            held[path].set_value(value)


@cache
def _parameters(kind: Any, method: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names of a method's positional parameters, and of those that take keywords.

    Where it takes any number of positional ones, these have no names.
    """
    found = [*inspect.signature(getattr(kind, method)).parameters.values()][1:]
    several = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in found)
    named = tuple(each.name for each in found if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keywords = tuple(each.name for each in found if each.kind is inspect.Parameter.KEYWORD_ONLY)
    return () if several else named, named + keywords

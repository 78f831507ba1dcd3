"""Where each thing belongs in the tree of modules: shared layers, arrays, values that leave their module.

A value is at hand in the scope that makes it and in those that it is given to. One that another scope uses
comes to it over the scopes between them: as a result of those that it leaves, as an argument of those below.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from converters.errors import ConversionError
from converters.porting.dispatch import OWNED
from converters.porting.graph import Operation, Scope, Value, values

Measured: TypeAlias = Sequence[tuple[Value, tuple[Scope, ...]]]


@dataclass
class Homes:
    """Parameters and modules that the scopes of a run have in common.

    Attributes:
        arrays: Path of the scope that each parameter and buffer is declared in, by the array's name.
        layers: Path of the scope that makes each module that several calls share, by the module's name.
        leaving: For each scope, the values that are used outside of it though it does not return them.
        names: Name of the module whose arrays a module has, for those that have another's.
        modules: All modules by name.
        constants: Arrays that no operation gives and that are too large to be written out, by name.
        twins: Scopes of each shared module, one for each of its calls, by name.
        measured: Values whose sizes are needed where they are not at hand, each with the scope that needs
            it and those around it.
        tables: Weights of embeddings that functions take, too, by name.
        called: Names of the layers that hold their own arrays, as layers of Flax do.
        bare: Names of the modules of whose arrays one is declared by a module around them.
        settings: Arguments that each shared module is made with, as text, by its name.
    """

    arrays: dict[str, str] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    leaving: dict[Scope, list[Value]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    modules: dict[str, torch.nn.Module] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    twins: dict[str, list[Any]] = field(default_factory=dict)
    measured: Measured = ()
    tables: dict[str, Value] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    bare: set[str] = field(default_factory=set)
    settings: dict[str, str] = field(default_factory=dict)

    def path(self, operation: Operation, scope: Scope) -> str:
        """Returns the name of the layer that an operation is a call of; "" if it is none.

        A function that is called with the arrays of a layer is that layer, too.
        """
        if operation.path or operation.function not in OWNED:
            return operation.path
        names = {each.parameter.rpartition(".")[0] for each in values(_taken(operation, scope))} - {""}
        name = names.pop() if len(names) == 1 else ""
        inside = not scope.path or name.startswith(f"{scope.path}.")
        return name if inside and name in self.modules and not any(self.modules[name].children()) else ""

    def hold(self, name: str, where: str, *, bare: bool) -> None:
        """Notes how the arrays of a module are held: by a layer of Flax, or by themselves.

        Args:
            name: The module's.
            where: Place in the torch code.
            bare: If true, they are held by themselves.

        Raises:
            ConversionError: some are held so, and others in the other way.
        """
        (self.bare if bare else self.called).add(name)
        if name in self.bare & self.called:
            raise ConversionError(
                f"{where}{name} is a layer that is called, and its arrays are also used by themselves; a "
                "layer of Flax does not give them: call the layer, or give the arrays a module of their own."
            )


def is_constant(value: Value) -> bool:
    """Returns whether the numbers of a value are the same in both runs, and those of no weight."""
    one, two = value.constant, value.other_constant
    if one is None or two is None or one.shape != two.shape:
        return False
    return bool(
        torch.equal(one, two)
        or (one.is_floating_point() and torch.allclose(one, two, rtol=0, atol=0, equal_nan=True))
    )


def homes(root: Scope, inlined: Callable[[Scope], bool], measured: Measured = ()) -> Homes:
    """Finds where everything of a run belongs.

    Args:
        root: The scope of the whole module.
        inlined: Tells of a scope whether it is written into the one that calls it.
        measured: The result's arrays whose sizes others need.
    """
    found = Homes(names=_tied(root.module), modules=dict(root.module.named_modules()), measured=measured)
    uses: dict[str, list[tuple[Scope, ...]]] = {}
    calls: dict[str, list[tuple[Scope, ...]]] = {}
    made: dict[Value, tuple[Scope, ...]] = {}
    lookups: dict[str, list[tuple[Scope, ...]]] = {}
    for chain, operation in _operations((root,), inlined):
        path = found.path(operation, chain[-1]) if operation is not None else ""
        if path and _has_arrays(found.modules.get(path)):
            calls.setdefault(found.names.get(path, path), []).append(chain)
        if operation is not None and operation.kind is torch.nn.Embedding:
            lookups.setdefault(f"{operation.path}.weight", []).append(chain)
        for value in values(_taken(operation, chain[-1])):
            if value.parameter:
                uses.setdefault(value.parameter, []).append(chain)
                found.tables[value.parameter] = value
            else:
                _leave(value, made, chain, found.leaving)
        if operation is not None:
            made |= dict.fromkeys(values(operation.output), chain)
    for value, around in measured:
        _leave(value, made, around, found.leaving)
    found.tables = {name: each for name, each in found.tables.items() if name in lookups}
    for name in found.tables:
        uses[name] += lookups[name]
    found.arrays = {name: _home(name, chains) for name, chains in uses.items()}
    for name, chains in calls.items():
        if len({chain[-1].path for chain in chains}) > 1 or len({*chains}) < len(chains):
            found.layers[name] = _home(name, chains)
    return found


def _taken(operation: Operation | None, scope: Scope) -> Any:
    """Returns what an operation takes, or what a scope returns at its end."""
    if operation is None:
        return scope.output, scope.trained_output
    return operation.arguments, operation.keywords


def _operations(
    chain: tuple[Scope, ...], inlined: Callable[[Scope], bool]
) -> Iterator[tuple[tuple[Scope, ...], Operation | None]]:
    """Yields the operations in order, each with the scopes that it is in; None at the end of a scope."""
    yield from _inside(chain[-1], chain, inlined)
    yield chain, None


def _inside(scope: Scope, chain: tuple[Scope, ...], inlined: Callable[[Scope], bool]) -> Any:
    for operation in scope.operations:
        if operation.scope is not None and inlined(operation.scope):
            yield from _inside(operation.scope, chain, inlined)
            continue
        if operation.scope is not None:
            yield from _operations((*chain, operation.scope), inlined)
        yield chain, operation


def _leave(
    value: Value,
    made: dict[Value, tuple[Scope, ...]],
    chain: Sequence[Scope],
    leaving: dict[Scope, list[Value]],
) -> None:
    """Notes the scopes that a value leaves on its way to the one that uses it."""
    for scope in made.get(value, ()):
        if scope not in chain:
            found = leaving.setdefault(scope, [])
            if all(value is not each for each in (*values(scope.output), *found)):
                found.append(value)


def _home(name: str, chains: list[tuple[Scope, ...]]) -> str:
    """Returns the path of the innermost scope that is around all of several and that can name the thing."""
    paths = [[scope.path for scope in chain] for chain in chains]
    shared = [path for path in paths[0] if all(path in each for each in paths)]
    return [path for path in shared if not path or name.startswith(f"{path}.")][-1]


def _has_arrays(module: Any) -> bool:
    return isinstance(module, torch.nn.Module) and bool(module.state_dict())


def _tied(root: torch.nn.Module) -> dict[str, str]:
    """Returns the modules that have another's arrays, with that module: an embedding or the first one."""
    owners: dict[int, tuple[str, torch.nn.Module]] = {}
    modules = [
        (name, each) for name, each in root.named_modules() if each._parameters.get("weight") is not None
    ]
    for name, module in sorted(modules, key=lambda each: not isinstance(each[1], torch.nn.Embedding)):
        owners.setdefault(id(module.weight), (name, module))
    found = {}
    for name, module in modules:
        owner, other = owners[id(module.weight)]
        same = {*map(id, module.parameters())} == {*map(id, other.parameters())}
        if owner != name and (same or isinstance(other, torch.nn.Embedding)):
            found[name] = owner
    return found

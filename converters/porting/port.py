"""The source of a Flax module from two runs of a torch module."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from converters.errors import ConversionError
from converters.porting.caches import fresh
from converters.porting.capture import captured
from converters.porting.dialects import LINEN, Dialect
from converters.porting.emit import Code, Emitter, Handler, Order, channels_last, plain
from converters.porting.functions import FUNCTIONS
from converters.porting.graph import Scope, Value, values
from converters.porting.layers import LAYERS
from converters.porting.layers.packages import imported
from converters.porting.methods import called_with
from converters.porting.sizes import MeasuredError
from converters.porting.stubs import raised
from converters.porting.training import Difference, only_in_training
from converters.porting.unify import unified
from converters.porting.weaving import all_values, woven
from converters.porting.writing.file import file_source


@dataclass(frozen=True, kw_only=True)
class Written:
    """A source, and what it takes and gives.

    Attributes:
        source: Text of the file.
        root: Name of the class of the whole module.
        inputs: Names of the arguments that hold arrays, with their values.
        outputs: Values that the module returns.
        trained_outputs: The same in training.
        orders: Order of the axes of each value in `inputs` and `outputs`.
        uses_train: If true, the module does other things in training, and the source does them, too.
        eval_only: Modules that do in training what the source does not do, with the reason.
        scope: The run.
        changed: Names of the buffers that training changes, but for running statistics of layers.
        constants: Tensors that the weights do not have, by the names of the buffers that hold them.
        dialect: Flax's way of writing modules that it is in.
    """

    source: str
    root: str
    inputs: Mapping[str, Any]
    outputs: Any
    trained_outputs: Any
    orders: Mapping[Value, Order]
    uses_train: bool
    eval_only: tuple[str, ...]
    scope: Scope
    changed: frozenset[str]
    constants: Mapping[str, torch.Tensor]
    dialect: Dialect

    def tensors(self, module: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Returns the weights that the written module takes: the module's, and those that no file has."""
        own = dict(module.named_buffers())
        wide = any(each.dtype == torch.float64 for each in module.parameters())
        return {
            **module.state_dict(),
            **{
                name: own.get(name, each.double() if wide and each.is_floating_point() else each)
                for name, each in self.constants.items()
            },
        }

    def arrays(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Returns the arguments of the Flax module, in order.

        Args:
            arguments: NumPy arrays as the torch module takes them, by name.
        """
        return [self._arranged(given, arguments[name]) for name, given in self.inputs.items()]

    def inputs_back(self, arrays: Sequence[Any]) -> list[Any]:
        """Returns the arrays in the Flax module's arguments, with their axes as the torch module has them."""
        pairs = zip(self.inputs.values(), arrays, strict=True)
        leaves = [pair for given, each in pairs for pair in _pairs(given, each)]
        return [
            np.transpose(each, np.argsort(self.orders[value])) for value, each in leaves if each is not None
        ]

    def results(self, output: Any, *, train: bool = False) -> list[Any]:
        """Returns the tensors of the torch module's output, with their axes as the Flax module has them."""
        tree = self.trained_outputs if train else self.outputs
        return [each.permute(self.orders[value]) for value, each in _pairs(tree, output)]

    def returned(self, output: Any, *, train: bool = False) -> list[Any]:
        """Returns the arrays of the Flax module's output, in the order of `results`."""
        return [each for _, each in _pairs(self.trained_outputs if train else self.outputs, output)]

    def nested(self, output: Any) -> Any:
        """Returns NumPy arrays of the torch module's output as the Flax module returns them."""
        return self._arranged(self.outputs, output)

    def _arranged(self, tree: Any, given: Any) -> Any:
        match tree:
            case Value():
                return np.transpose(given, self.orders[tree])
            case tuple() if hasattr(tree, "_fields"):
                return type(tree)(*map(self._arranged, tree, given))
            case tuple() | list():
                return type(tree)(map(self._arranged, tree, given))
            case dict():
                return {key: self._arranged(each, given[key]) for key, each in tree.items()}
        return given


def _pairs(tree: Any, given: Any) -> Iterator[tuple[Value, Any]]:
    """Yields the values of a nesting, each with what is in its place in another one."""
    match tree:
        case Value():
            yield tree, given
        case tuple() | list():
            for one, two in zip(tree, given, strict=True):
                yield from _pairs(one, two)
        case dict():
            for key, each in tree.items():
                yield from _pairs(each, given[key])


def call(module: torch.nn.Module, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns positional and keyword arguments for a module, of those of its `forward` by name."""
    return called_with(module.forward, arguments)


def write(
    module: torch.nn.Module,
    arguments: Mapping[str, Any],
    others: Mapping[str, Any],
    *,
    partial: bool = False,
    batch_norm: str = "copy",
    dialect: Dialect = LINEN,
) -> Written:
    """Runs a module twice and returns its source.

    Args:
        module: In eval mode.
        arguments: Arguments of `forward`, by name.
        others: The same at other sizes.
        partial: If true, the modules in it that cannot be ported raise a NotImplementedError.
        batch_norm: "copy" writes PyTorch's batch norm into the file, "zoo" imports it.
        dialect: Flax's way of writing modules, linen or NNX.
    """
    layers = {**LAYERS, **imported()}
    calls = [call(module, each) for each in (arguments, others)]
    evaluated = _run(module, calls, layers, partial=partial)
    if not partial:  # a part that is left out has no mode
        try:
            both = woven(evaluated, _run(module, calls, layers, train=True))
            return _written(both, layers, dialect, batch_norm=batch_norm)
        except ConversionError as error:
            reason = error
        evaluated = _run(module, calls, layers)
    alone = only_in_training(module, evaluated, *calls[0], frozenset(layers), frozenset(FUNCTIONS))
    if not partial and not any(str(reason) in str(each) for each in alone):
        alone = (*alone, Difference(what=f"{type(module).__name__} is other", where=f": {reason}"))
    return _written(evaluated, layers, dialect, partial=partial, batch_norm=batch_norm, left_out=alone)


def _run(
    module: torch.nn.Module,
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]],
    layers: Mapping[type, Handler],
    *,
    train: bool = False,
    partial: bool = False,
) -> Scope:
    """Returns what a module does for several calls of it, at two sizes of the inputs."""
    leaves, functions = frozenset(layers), frozenset(FUNCTIONS)
    try:
        runs = [
            captured(fresh(module).train(train), *each, leaves, functions, partial=partial)[0]
            for each in calls
        ]
    except ConversionError:
        raise
    except Exception as error:  # whatever a module raises that cannot be trained with these inputs
        if not train:
            raise
        raise ConversionError(f"{type(module).__name__} did not run in training: {error}") from error
    return unified(*runs, partial=partial)


def _written(
    scope: Scope,
    layers: Mapping[type, Handler],
    dialect: Dialect,
    *,
    batch_norm: str,
    partial: bool = False,
    left_out: Sequence[Difference] = (),
) -> Written:
    """Writes a run."""
    scope.inputs = {name: each for name, each in scope.inputs.items() if any(True for _ in values(each))}
    orders = {
        value: channels_last(value.ndim) if value.ndim >= 4 and value.floating else plain(value.ndim)
        for value in values(scope.inputs)
    }
    code = _emitted(scope, orders, layers, dialect, partial=partial)
    orders |= dict(zip(values((scope.output, scope.trained_output)), code.orders, strict=True))
    words = [each.what for each in left_out]
    text, root = file_source(code, dialect, batch_norm=batch_norm, left_out=words)
    return Written(
        source=raised(text),
        root=root,
        inputs=scope.inputs,
        outputs=scope.output,
        trained_outputs=scope.output if scope.trained_output is None else scope.trained_output,
        orders=orders,
        uses_train=code.uses_train and not left_out,
        eval_only=tuple(map(str, left_out)),
        scope=scope,
        changed=frozenset(each.parameter for each in all_values(scope) if each.changes),
        constants=code.constants,
        dialect=dialect,
    )


def _emitted(
    scope: Scope,
    orders: Mapping[Value, Order],
    layers: Mapping[type, Handler],
    dialect: Dialect,
    *,
    partial: bool,
) -> Code:
    """Writes a run; anew, with one array more handed on, where a module needs the size of another's."""
    measured: list[tuple[Value, tuple[Scope, ...]]] = []
    while True:
        try:
            emitter = Emitter(
                scope, orders, FUNCTIONS, layers, partial=partial, measured=measured, dialect=dialect
            )
            return emitter.run()
        except MeasuredError as error:
            measured += [each for each in error.needed if each not in measured]

"""The steps of a port: inputs of other sizes, the source, the weights, the proof."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from flax import nnx
from flax.traverse_util import flatten_dict

from converters.comparison.compare import Comparison
from converters.errors import ConversionError
from converters.matching.rules import Keep
from converters.porting.dialects import LINEN, Dialect
from converters.porting.doubling import doubled
from converters.porting.graph import Scope, leaves, values
from converters.porting.methods import called, together
from converters.porting.port import Written, call, write
from converters.porting.ported import Ported
from converters.porting.proof import compared, prove, run_wide
from converters.porting.records import COUNTED
from converters.porting.resizing import Change, changes, resized
from converters.porting.running import runtime

MEAN = "running_mean"  # which has a count beside it


def ported(
    module: torch.nn.Module,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    others: Sequence[Any] | Mapping[str, Any] | None,
    batch_norm: str,
    dialect: Dialect,
) -> Ported:
    """Ports a module; arguments as for `port`."""
    arguments = bound(module, inputs, kwargs)
    with evaluating(module):
        _run(module, arguments)
        if others is None:
            written, second, notes = at_other_sizes(module, arguments, dialect, batch_norm)
        else:
            second = dict(others) if isinstance(others, Mapping) else bound(module, others, kwargs)
            written = write(module, arguments, second, dialect=dialect, batch_norm=batch_norm)
            notes = ()
    ignore, run = unused(module, written.scope), runtime(dialect)
    made = run.made(written.source, written.root, f"<{written.root}>")
    arrays = written.arrays(_numbers(arguments))
    tensors = written.tensors(module)
    variables = run.variables(tensors, made, arrays, ignore)
    report = compared(module, written, variables, arguments, ignore)
    _check(report)
    return Ported(
        source=written.source,
        module=run.filled(made, variables),
        variables=variables,
        names=_kept(variables, tensors),
        ignore=ignore,
        constants={name: tensors[name].detach().numpy() for name in written.constants},
        inputs=tuple(arrays),
        outputs=run_wide(doubled(module), written, arguments),
        report=report,
        proof=prove(module, written, second, ignore),
        notes=(*notes, *_left_out(written, ignore)),
    )


def _left_out(written: Written, ignore: Sequence[str]) -> Iterator[str]:
    """Yields sentences on what the source has not."""
    if written.eval_only:
        yield f"holds for eval mode; in training, {'; '.join(written.eval_only)}"
    if ignore:
        yield f"never ran, and is left out: {', '.join(ignore)}"
    if written.constants:
        yield f"has numbers that no checkpoint has, in `constants`: {', '.join(written.constants)}"


def _kept(variables: Any, tensors: Mapping[str, torch.Tensor]) -> tuple[Keep, ...]:
    """Returns the rules that say of the module's own arrays that they lie as PyTorch's do."""
    if isinstance(variables, dict):
        paths = [path[1:] for path in flatten_dict(variables)]
    else:
        paths = [path for path, _ in nnx.to_flat_state(variables)]
    own = {".".join(map(str, path)) for path in paths}
    return tuple(Keep(name) for name, tensor in tensors.items() if tensor.ndim > 1 and name in own)


def ported_methods(
    module: torch.nn.Module,
    methods: Mapping[str, Any],
    others: Sequence[Any] | Mapping[str, Any] | None,
    batch_norm: str,
) -> Ported:
    """Ports several methods of a module; arguments as for `port`."""
    whole, arguments = together(module, called(module, methods))
    if others is not None:
        if not isinstance(others, Mapping):
            raise ConversionError("with methods=, others= is a mapping of the same methods")
        others = together(module, called(module, others))[1]
    with evaluating(module):
        return ported(whole, (), arguments, others, batch_norm, LINEN)


def bound(module: torch.nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a module's `forward` by their names."""
    try:
        found = inspect.signature(module.forward).bind(*inputs, **kwargs)
    except TypeError as error:
        raise ConversionError(f"{type(module).__name__}.forward: {error}") from error
    made = dict(found.arguments)
    alone = [name for name, each in found.signature.parameters.items() if each.kind is each.POSITIONAL_ONLY]
    if alone and found.kwargs:
        raise ConversionError(
            f"{type(module).__name__}.forward takes {', '.join(alone)} by position alone and others by name; "
            'port it as a method: methods={"forward": {...}}'
        )
    if not any(isinstance(each, torch.Tensor) for each in leaves(made)):
        raise ConversionError(
            "port runs the module: give tensors as it takes them, such as torch.randn(2, 3, 64, 64)"
        )
    return made


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Puts a module into eval mode, and each of its modules back."""
    before = [(each, each.training) for each in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for each, training in before:
            each.training = training


def at_other_sizes(
    module: torch.nn.Module,
    arguments: Mapping[str, Any],
    dialect: Dialect = LINEN,
    batch_norm: str = "copy",
) -> tuple[Written, Mapping[str, Any], tuple[str, ...]]:
    """Returns the source with as many sizes free as the module allows, the other inputs, and notes."""
    first = _batched(module, arguments)
    possible = [*changes(first)]
    refused: ConversionError | None = None
    for change in possible:
        second = resized(first, change.sizes)
        if not _runs(module, second):
            continue
        try:
            written = write(module, first, second, dialect=dialect, batch_norm=batch_norm)
            return written, second, tuple(_notes(change, possible[0], refused))
        except ConversionError as error:
            if refused is None:
                _check_same_sizes(module, first, second, dialect)
            refused = refused or error
    raise AssertionError("the last change is none, which was written")


def _check_same_sizes(
    module: torch.nn.Module, arguments: Mapping[str, Any], others: Mapping[str, Any], dialect: Dialect
) -> None:
    """Raises the error that is there at one size of the inputs, too, with the source of the other modules."""
    try:
        write(module, arguments, arguments, dialect=dialect)
    except ConversionError as error:
        with suppress(ConversionError):
            error.source = write(module, arguments, others, partial=True, dialect=dialect).source
        raise


def _batched(module: torch.nn.Module, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the inputs with a batch of two in place of one, which many a size may be by chance."""
    tensors = [each for each in leaves(dict(arguments)) if isinstance(each, torch.Tensor)]
    if any(each.ndim and each.shape[0] != 1 for each in tensors):
        return arguments
    made = resized(arguments, {(index, 0): 2 for index, each in enumerate(tensors) if each.ndim})
    return made if _runs(module, made) else arguments


def _runs(module: torch.nn.Module, arguments: Mapping[str, Any]) -> bool:
    try:
        _run(module, arguments)
    except ConversionError:
        return False
    return True


def _run(module: torch.nn.Module, arguments: Mapping[str, Any]) -> None:
    args, kwargs = call(module, arguments)
    try:
        with torch.no_grad():
            module(*args, **kwargs)
    except Exception as error:  # whatever a module raises that does not take its input
        name, text = type(module).__name__, f"{type(error).__name__}: {error}"
        raise ConversionError(f"{name} does not run on these inputs: {text}") from error


def _notes(change: Change, most: Change, refused: ConversionError | None) -> Iterator[str]:
    """Yields a sentence if less than the most changes."""
    reason = f": {refused}" if refused is not None else ", which the module does not take otherwise"
    if not change.free:
        yield f"holds for these sizes of the inputs only{reason}"
    elif change.free == "batch" != most.free:
        yield f"holds for any batch, but only these other sizes of the inputs{reason}"


def unused(module: torch.nn.Module, scope: Scope) -> tuple[str, ...]:
    """Returns regular expressions for the tensors that nothing read, one for a module that did not run."""
    ran = {*_read(scope)}
    ran |= {f"{each.removesuffix(MEAN)}{COUNTED}" for each in ran if each.endswith(MEAN)}
    names = [*module.state_dict(keep_vars=True)]
    idle = [name for name in names if name not in ran and name.rpartition(".")[0] not in ran]
    found: dict[str, None] = {}
    for name in idle:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            prefix = ".".join(parts[:count])
            if all(each in idle for each in names if each == prefix or each.startswith(f"{prefix}.")):
                found[re.escape(prefix) + ("" if count == len(parts) else r"\..*")] = None
                break
    return tuple(found)


def _read(scope: Scope) -> Iterator[str]:
    """Yields the names of the tensors that operations take, and of the layers that ran, with those inside."""
    for operation in scope.operations:
        if operation.scope is not None:
            yield from _read(operation.scope)
        elif operation.module is not None:
            for name, _ in operation.module.named_modules():
                yield f"{operation.path}.{name}".strip(".")
        for value in values([operation.arguments, operation.keywords]):
            if value.parameter:
                yield value.parameter


def _check(report: Comparison) -> None:
    """Refuses a difference, and names the first layer that has one."""
    row = report.first_divergence
    if row is not None:
        apart = f"{row.output.relative:.1e}" if row.output else "cannot be compared"
        where = row.layer or "the output"
        raise ConversionError(
            f"the written module is not the same: {where} is the first to differ from PyTorch's "
            f"{row.torch_name or 'own'}, by {apart} of its largest number in float64"
        )


def _numbers(tree: Any) -> Any:
    return torch.utils._pytree.tree_map(
        lambda each: each.detach().cpu().numpy() if isinstance(each, torch.Tensor) else each, tree
    )

"""Outputs for any number of examples: one compiled function, over batches of one size."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from itertools import chain, islice
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from zoo import _progress
from zoo._errors import ZooError
from zoo._inference import xla
from zoo._inference.ahead import ahead
from zoo._loading.given import Given, model_of
from zoo._model import Model
from zoo._nn.calls import check_pixels
from zoo._processes import is_primary
from zoo._registry.entry import Input

Example: TypeAlias = tuple[np.ndarray[Any, Any], ...]  # what a model takes, without the batch's axis
Shown: TypeAlias = AbstractContextManager[Callable[[int], None]]
AXIS = "data"  # of a mesh, which divides batches


def predict_all(
    model: Given,
    examples: Iterable[Any],
    *,
    batch_size: int = 64,
    mesh: Mesh | None = None,
    function: Callable[..., Any] = Model.__call__,
    report: Callable[[int], None] | None = None,
) -> Iterator[Any]:
    """Yields the model's output for each example in turn, as NumPy arrays.

    The last batch is filled up, so that one program serves all, and what it gives for the filling is left
    out. Examples are read while the device computes.

    Args:
        model: A model, whose variables may be on a mesh; or a name, as for `load`.
        examples: Arrays without the batch's axis, or tuples of several that the model takes; all of one shape
            and dtype. Each of several processes passes the same ones, and gets all outputs.
        batch_size: Examples at a time.
        mesh: Its axis `data` divides each batch; by default the mesh that the variables are on. Each of
            its devices gets a copy of variables that are not on it.
        function: Function of the model and a batch; one with a name compiles once, a lambda at each call.
        report: Called with how many examples are done; by default a bar on a terminal.

    Raises:
        ZooError: there are no examples, or one is not what the model takes or differs from the first; the
            batch or its outputs do not divide.
    """
    model, mesh = _placed(model_of(model), mesh)
    shares = _shares(mesh, batch_size)
    rest = iter(examples)
    first = next(rest, None)
    if first is None:
        raise ZooError("there are no examples to predict.")
    # Another function may take something else.
    known = model.entry.inputs if model.entry and function is Model.__call__ else ()
    checked = _checked(_arrays(first), chain([first], rest), known)
    if known and model.entry:
        check_pixels(_arrays(first)[0][None], model.entry)
    compiled = _compiled(function, mesh and NamedSharding(mesh, PartitionSpec()))
    shown = nullcontext(report) if report else _bar(examples)
    return _outputs(lambda batch: compiled(model, *map(shares, batch)), checked, batch_size, shown)


@contextmanager
def _bar(examples: Iterable[Any]) -> Iterator[Callable[[int], None]]:
    """Shows how many examples are done, and how many a second since the first ones, which were compiled."""
    if not is_primary():
        yield lambda done: None
        return
    total = len(examples) if isinstance(examples, Sized) else None
    with _progress.steps_bar("predicting", total, transient=True) as show:
        show(0, "compiling")
        first: tuple[int, float] | None = None

        def report(done: int) -> None:
            nonlocal first
            now = time.monotonic()
            first = first or (done, now)
            speed = f", {(done - first[0]) / (now - first[1]):,.0f}/s" if now > first[1] else ""
            show(done, f"{done:,} examples{speed}")

        yield report


def _placed(model: Model, mesh: Mesh | None) -> tuple[Model, Mesh | None]:
    """The model on the mesh that is given, or that it is on."""
    leaves = jax.tree.leaves(model.variables)
    on = leaves[0].sharding if leaves and isinstance(leaves[0], jax.Array) else None
    if mesh is None:
        known = on.mesh if isinstance(on, NamedSharding) else None
        return model, known if isinstance(known, Mesh) and AXIS in known.axis_names else None
    if on is None or on.device_set != {*mesh.devices.flat}:
        model = jax.device_put(model, NamedSharding(mesh, PartitionSpec()))
    return model, mesh


def _outputs(
    compute: Callable[[Example], Any],
    examples: Iterator[Example],
    size: int,
    shown: Shown,
) -> Iterator[Any]:
    """The outputs of each example, while the batches after it are computed."""
    done = 0
    with shown as report:
        for count, outputs in ahead(compute, _batches(examples, size)):
            yield from _each(outputs, count, size)
            done += count
            report(done)


def _batches(examples: Iterator[Example], size: int) -> Iterator[tuple[int, Example]]:
    """Batches of one size, the last one filled up, and how many of each are examples."""
    while batch := [*islice(examples, size)]:
        filled = batch + batch[:1] * (size - len(batch))
        yield len(batch), tuple(np.stack(each) for each in zip(*filled, strict=True))


def _each(outputs: Any, count: int, size: int) -> Iterator[Any]:
    odd = [leaf.shape for leaf in jax.tree.leaves(outputs) if leaf.shape[:1] != (size,)]
    if odd:
        raise ZooError(
            f"a batch of {size} gave an array of shape {odd[0]}, which is no output for each example; "
            "choose some with function=."
        )
    for index in range(count):
        yield jax.tree.map(lambda array, index=index: array[index], outputs)


def _checked(first: Example, examples: Iterator[Any], known: tuple[Input, ...]) -> Iterator[Example]:
    """The examples, of which each is as the first one, and that as the model's inputs."""
    for array, expected in zip(first, known, strict=False):
        if array.ndim != len(expected.shape) - 1 or _kind(array.dtype) != _kind(np.dtype(expected.dtype)):
            raise ZooError(
                f"{expected.name} of the first example are {array.dtype} {array.shape}; expected "
                f"{expected.dtype} of {len(expected.shape) - 1} axes, such as {expected.shape[1:]}."
            )
    if any(_kind(array.dtype) is None for array in first):
        raise ZooError(f"the first example is no numbers but {', '.join(str(each.dtype) for each in first)}.")
    wanted = [(array.shape, array.dtype) for array in first]
    # A generator of its own, so that what is wrong with the first example is said at once.
    return (_same(index, _arrays(example), wanted) for index, example in enumerate(examples))


def _same(index: int, example: Example, wanted: list[Any]) -> Example:
    found = [(array.shape, array.dtype) for array in example]
    if found != wanted:
        shown, expected = (", ".join(f"{dtype} {shape}" for shape, dtype in each) for each in (found, wanted))
        raise ZooError(f"example {index} is {shown}; the first one is {expected}.")
    return example


def _arrays(example: Any) -> Example:
    return tuple(np.asarray(each) for each in (example if isinstance(example, tuple) else (example,)))


def _kind(dtype: np.dtype[Any]) -> Any:
    return next(
        (kind for kind in (jnp.floating, jnp.integer, jnp.bool_) if jnp.issubdtype(dtype, kind)), None
    )


def _shares(mesh: Mesh | None, batch_size: int) -> Callable[[np.ndarray[Any, Any]], Any]:
    """Puts a batch where it is computed."""
    if batch_size < 1:
        raise ZooError(f"batch_size={batch_size}; expected 1 or more.")
    if mesh is None:
        return lambda array: array
    if AXIS not in mesh.axis_names:
        raise ZooError(f"the mesh's axes are {mesh.axis_names}; one has to be {AXIS!r}.")
    if batch_size % mesh.shape[AXIS]:
        raise ZooError(f"batch_size={batch_size} does not divide over {AXIS}={mesh.shape[AXIS]}.")
    over = NamedSharding(mesh, PartitionSpec(AXIS))
    return lambda array: jax.make_array_from_callback(array.shape, over, lambda index: array[index])


@lru_cache(maxsize=16)
def _compiled(function: Callable[..., Any], whole: Sharding | None) -> Callable[..., Any]:
    return jax.jit(function, out_shardings=whole, compiler_options=xla.compiler_options())

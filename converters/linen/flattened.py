"""Layers that read a map (height, width, channels) as a vector, or make one: found in the traced program.

PyTorch flattens maps with their channels first. The axes of arrays are followed from the convolutions and
poolings that make maps to the layers whose weights have an axis for the flattened values, and from a layer
that makes flattened values to the convolution that reads them as a map. Other operations than those that
keep, move, merge or split axes end the trail: what is found is so, and not everything is found.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
from jax.ad_checkpoint import checkpoint_name

from converters.inspection import Flattened, Path
from converters.layers import Shape

MARK = "converters:"
CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters that hold the program of a call
# Operations whose results have as many axes as an operand, but other ones.
UNRELATED = ("gather", "scatter", "scatter-add", "sort", "top_k", "fft", "cholesky", "triangular_solve")


class Axis(NamedTuple):
    """The meaning of an axis.

    Attributes:
        kind: "space" and "channels" of a map, "map" for a flattened one, "made" by a layer.
        sizes: Sizes of a flattened map (*spatial, channels), or those that a layer's values were split into.
        layer: Number of the mark of the layer that made it.
        piece: Which of the axes it is that the layer's values were split into.
    """

    kind: str
    sizes: Shape = ()
    layer: int = -1
    piece: int = 0


Axes = tuple[Axis | None, ...]
SPACE, CHANNELS = Axis("space"), Axis("channels")


class Marks:
    """Marks the inputs and outputs of layers in a program, so that they are found in it."""

    def __init__(self) -> None:
        self.layers: list[tuple[Path, nn.Module]] = []

    def call(self, layer: nn.Module, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Calls a layer on marked inputs, and marks its outputs."""
        # A recurrent cell's inputs come after its state.
        at = 1 if isinstance(layer, nn.RNNCellBase) else 0
        if not isinstance(layer, READERS) or len(args) <= at or not hasattr(args[at], "ndim"):
            return call(*args, **kwargs)
        number = len(self.layers)
        self.layers.append((layer.path, layer))
        marked = checkpoint_name(args[at], f"{MARK}{number}:reads")
        result = call(*args[:at], marked, *args[at + 1 :], **kwargs)
        if isinstance(layer, MAKERS):
            result = checkpoint_name(result, f"{MARK}{number}:makes")
        return result


MAKERS = (nn.Dense, nn.DenseGeneral)
NORMS = (nn.BatchNorm, nn.LayerNorm, nn.RMSNorm)
READERS = (*MAKERS, *NORMS, nn.RNNCellBase)


def find_flattened(program: Any, marks: Marks) -> tuple[Flattened, ...]:
    """Returns the layers of a traced program that read or make maps as vectors.

    Args:
        program: Result of `jax.make_jaxpr`.
        marks: Marks of the layers in it.
    """
    if not _has_maps(program.jaxpr, set()):
        return ()
    follower = _Follower(marks)
    follower.follow(program.jaxpr, [_unknown(var) for var in program.jaxpr.invars])
    return tuple(dict.fromkeys(follower.found))


def _has_maps(jaxpr: Any, seen: set[int]) -> bool:
    """Returns whether a program, or one that it calls, convolves or pools."""
    if id(jaxpr) in seen:
        return False
    seen.add(id(jaxpr))
    for eqn in jaxpr.eqns:
        if eqn.primitive.name.startswith(("conv_general", "reduce_window")):
            return True
        inner = [getattr(value, "jaxpr", value) for value in eqn.params.values()]
        inner += [branch.jaxpr for branch in eqn.params.get("branches", ())]
        if any(hasattr(each, "eqns") and _has_maps(each, seen) for each in inner):
            return True
    return False


class _Follower:
    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.found: list[Flattened] = []

    def follow(self, jaxpr: Any, inputs: Sequence[Axes]) -> list[Axes]:
        """Follows the axes of a program's inputs to its outputs."""
        known: dict[Any, Axes] = dict(zip(jaxpr.invars, inputs, strict=True))

        def read(atom: Any) -> Axes:
            # Numbers in the program, unlike variables, have a value and need not hash.
            return _unknown(atom) if hasattr(atom, "val") else known.get(atom, _unknown(atom))

        for eqn in jaxpr.eqns:
            outputs = self._step(eqn, [read(atom) for atom in eqn.invars])
            known.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _step(self, eqn: Any, inputs: list[Axes]) -> list[Axes]:
        name = eqn.primitive.name
        if name == "name" and str(eqn.params["name"]).startswith(MARK):
            return [self._marked(eqn, inputs[0])]
        if name == "conv_general_dilated":
            return [self._convolved(eqn, inputs[0])]
        if name == "scan":
            return self._scanned(eqn, inputs)
        if name == "cond":
            return self._branches(eqn, inputs[1:])
        for each in () if name.startswith("reduce") else CALLS:  # whose program is of single numbers
            inner = eqn.params.get(each)
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns") and len(inner.invars) == len(inputs):
                outputs = self.follow(inner, inputs)
                return outputs if len(outputs) == len(eqn.outvars) else [*map(_unknown, eqn.outvars)]
        move = MOVES.get(name) or (_pooled if name.startswith("reduce_window") else None)
        if move is None and "axes" in eqn.params and name.startswith(("reduce", "arg")):
            move = _reduced
        if move:
            return [move(eqn, inputs)] * len(eqn.outvars)
        return [_kept(var, inputs if name not in UNRELATED else []) for var in eqn.outvars]

    def _marked(self, eqn: Any, axes: Axes) -> Axes:
        _, number, what = eqn.params["name"].split(":")
        path, layer = self.marks.layers[int(number)]
        if what == "reads":
            self.found += _reading(path, layer, axes, eqn.invars[0].aval.shape)
            return axes
        sizes = eqn.outvars[0].aval.shape
        features = layer.features if isinstance(layer.features, Sequence) else (layer.features,)
        count = len(features)
        if axes[-1] == CHANNELS or not sizes:
            return axes
        made = (Axis("made", tuple(features), int(number), index) for index in range(count))
        return (*axes[: len(sizes) - count], *made)

    def _convolved(self, eqn: Any, axes: Axes) -> Axes:
        numbers, shape = eqn.params["dimension_numbers"], eqn.invars[0].aval.shape
        channels, spatial = axes[numbers.lhs_spec[1]], [axes[at] for at in numbers.lhs_spec[2:]]
        first = [
            axis
            for axis, at in zip(spatial, numbers.lhs_spec[2:], strict=True)
            if axis and channels and axis.kind == channels.kind == "made" and shape[at] > 1
            if axis.layer == channels.layer and axis.piece < channels.piece
        ]
        if first and channels:
            path, _ = self.marks.layers[channels.layer]
            self.found.append(Flattened(path=path, shape=_channels_first(channels.sizes), axis=0))
        out: list[Axis | None] = [None] * len(eqn.outvars[0].aval.shape)
        out[numbers.out_spec[1]] = CHANNELS
        for at in numbers.out_spec[2:]:
            out[at] = SPACE
        return tuple(out)

    def _branches(self, eqn: Any, inputs: list[Axes]) -> list[Axes]:
        found = [self.follow(each.jaxpr, inputs) for each in eqn.params["branches"]]
        return found[0]

    def _scanned(self, eqn: Any, inputs: list[Axes]) -> list[Axes]:
        step = eqn.params["jaxpr"].jaxpr
        inside = [
            axes[1:] if whole.aval.ndim > part.aval.ndim else axes  # what is scanned, not carried
            for whole, part, axes in zip(eqn.invars, step.invars, inputs, strict=True)
        ]
        outputs = zip(eqn.outvars, step.outvars, self.follow(step, inside), strict=True)
        return [(None, *axes) if whole.aval.ndim > part.aval.ndim else axes for whole, part, axes in outputs]


def _channels_first(sizes: Shape) -> Shape:
    return (sizes[-1], *sizes[:-1])


def _reading(path: Path, layer: nn.Module, axes: Axes, shape: Shape) -> Iterator[Flattened]:
    """Yields what a layer reads as a vector, if that is a map."""
    read = getattr(layer, "axis", -1) if isinstance(layer, nn.DenseGeneral) else -1
    at = [index % len(shape) for index in (read if isinstance(read, Sequence) else (read,))] if shape else []
    along = 0 if isinstance(layer, NORMS) else 1
    merged = _merged([axes[index] for index in at], [shape[index] for index in at])
    if merged and merged.kind == "map":
        yield Flattened(path=path, shape=_channels_first(merged.sizes), axis=along)


def _unknown(atom: Any) -> Axes:
    return (None,) * len(getattr(atom.aval, "shape", ()))


def _kept(var: Any, inputs: Sequence[Axes]) -> Axes:
    """Returns the axes of an elementwise operation: the first known of each among the operands."""
    rank = len(getattr(var.aval, "shape", ()))
    alike = [axes for axes in inputs if len(axes) == rank]
    return tuple(next((axes[at] for axes in alike if axes[at]), None) for at in range(rank))


def _reduced(eqn: Any, inputs: Sequence[Axes]) -> Axes:
    return tuple(axis for at, axis in enumerate(inputs[0]) if at not in eqn.params["axes"])


def _transposed(eqn: Any, inputs: Sequence[Axes]) -> Axes:
    return tuple(inputs[0][at] for at in eqn.params["permutation"])


def _squeezed(eqn: Any, inputs: Sequence[Axes]) -> Axes:
    return tuple(axis for at, axis in enumerate(inputs[0]) if at not in eqn.params["dimensions"])


def _broadcast(eqn: Any, inputs: Sequence[Axes]) -> Axes:
    out = list(_unknown(eqn.outvars[0]))
    for axis, at in zip(inputs[0], eqn.params["broadcast_dimensions"], strict=True):
        out[at] = axis
    return tuple(out)


def _pooled(eqn: Any, inputs: Sequence[Axes]) -> Axes:
    """Pools keep the axes; one over unknown axes shows that they are those of a map."""
    window = eqn.params.get("window_dimensions", ())
    if any(inputs[0]) or len(window) < 3 or window[-1] > 1 or window[0] > 1 or max(window) == 1:
        return inputs[0]
    return (None, *(SPACE for _ in window[2:]), CHANNELS)


def _multiplied(eqn: Any, inputs: Sequence[Axes]) -> Axes:
    """A product over the channels of a map, or over one of its sides, gives a map again."""
    (summed, others), (batch, other_batch) = eqn.params["dimension_numbers"]
    left, right = inputs
    kept = [axis for at, axis in enumerate(left) if at not in (*summed, *batch)]
    free = len(right) - len(others) - len(other_batch)
    over = left[summed[0]] if len(summed) == 1 else None
    is_map = left.count(SPACE) >= 2 and over in (SPACE, CHANNELS) and free == 1
    if not is_map:  # over the features of a sequence, which PyTorch has in this order, too
        return (None,) * len(eqn.outvars[0].aval.shape)
    return (*(left[at] for at in batch), *kept, over)


def _reshaped(eqn: Any, inputs: Sequence[Axes]) -> Axes:
    axes, old, new = inputs[0], eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    out: list[Axis | None] = [None] * len(new)
    for mine, theirs in _groups(old, new):
        sizes = tuple(new[at] for at in theirs)
        if len(theirs) == 1:
            out[theirs[0]] = _merged([axes[at] for at in mine], [old[at] for at in mine])
        elif len(mine) == 1:
            whole = axes[mine[0]]
            if whole and whole.kind == "made" and len(whole.sizes) == 1:
                for index, at in enumerate(theirs):
                    out[at] = Axis("made", sizes, whole.layer, index)
    return tuple(out)


def _groups(old: Shape, new: Shape) -> Iterator[tuple[list[int], list[int]]]:
    """Yields the axes of the old shape and those of the new one that have the same numbers; ones aside."""
    mine, theirs = ([at for at, size in enumerate(shape) if size != 1] for shape in (old, new))
    while mine and theirs:
        left, right = [mine.pop(0)], [theirs.pop(0)]
        while (size := math.prod(old[at] for at in left)) != (other := math.prod(new[at] for at in right)):
            side, rest = (left, mine) if size < other else (right, theirs)
            if not rest:
                return
            side.append(rest.pop(0))
        yield left, right


def _merged(axes: Sequence[Axis | None], sizes: Sequence[int]) -> Axis | None:
    """Returns what axes are together; those of one value do not matter."""
    pairs = [(axis, size) for axis, size in zip(axes, sizes, strict=True) if size != 1]
    known = [axis for axis, _ in pairs]
    if len(known) == 1:
        return known[0]
    if known and all(axis == SPACE for axis in known):
        return SPACE
    if len(known) > 1 and known[-1] == CHANNELS and all(axis == SPACE for axis in known[:-1]):
        return Axis("map", tuple(size for _, size in pairs))
    return None


MOVES: Mapping[str, Callable[[Any, Sequence[Axes]], Axes]] = {
    "broadcast_in_dim": _broadcast,
    "dot_general": _multiplied,
    "reshape": _reshaped,
    "squeeze": _squeezed,
    "transpose": _transposed,
}

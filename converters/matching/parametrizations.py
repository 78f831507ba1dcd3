"""Weights that PyTorch computes from other tensors: which tensors these are, and the arithmetic, both ways.

Tensors of `torch.nn.utils.parametrize` are named `LAYER.parametrizations.WEIGHT.REST`; the older functions of
`torch.nn.utils` put a suffix at the weight's own name. All arithmetic is in float64.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converters.errors import ConversionError
from converters.layers import Shape
from converters.matching.orthogonal import MAPS, map_of, orthogonal_parts, orthogonal_weight
from converters.tensors import Tensors

Arrays = tuple[np.ndarray, ...]

NEW_STYLE = re.compile(r"((?:.*\.)?)parametrizations\.([^.]+)\.(.+)")
OLD_STYLE = re.compile(r"(.+)_(g|v|u|orig|mask)")
# Power iteration in training keeps u and v near the weight's own, whichever axis they are of.
NEARLY_ALIGNED = 0.99


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to compute a weight.

    Attributes:
        name: For messages.
        parts: The ends of the tensors' names, in the order in which functions take them.
        weight: Index of the part that has the weight's shape and dtype.
        fits: Returns whether tensors of these shapes can be the parts.
        compute: The parts -> the weight, in float64.
        restore: The new weight and the old parts -> new parts, in float64.
    """

    name: str
    parts: tuple[str, ...]
    weight: int
    fits: Callable[..., bool]
    compute: Callable[..., np.ndarray]
    restore: Callable[..., Arrays]


@dataclass(frozen=True, kw_only=True)
class Computed:
    """A weight that is computed of other tensors; in a way that nobody knows where there is no kind."""

    name: str
    parts: tuple[str, ...]
    kind: Kind | None


def wide(array: np.ndarray) -> np.ndarray:
    """The array in float64."""
    made: np.ndarray = array.astype(np.float64)
    return made


def norms(direction: np.ndarray, gain: Shape) -> np.ndarray:
    """The norms over the axes of which a gain has none or one value, kept as axes unless it is a scalar."""
    axes = tuple(i for i in range(direction.ndim) if not gain or gain[i] == 1)
    found: np.ndarray = np.sqrt((direction**2).sum(axes, keepdims=bool(gain)))
    return found


def _gain_fits(gain: Shape, direction: Shape) -> bool:
    if not gain:
        return True
    return len(gain) == len(direction) and all(g in (1, d) for g, d in zip(gain, direction, strict=True))


def _scaled(gain: np.ndarray, direction: np.ndarray) -> np.ndarray:
    found: np.ndarray = wide(direction) * (wide(gain) / norms(wide(direction), gain.shape))
    return found


def _rescaled(weight: np.ndarray, gain: np.ndarray, direction: np.ndarray) -> Arrays:
    """The direction is known but for its length: the weight itself is one."""
    return norms(weight, gain.shape), weight


def _masked(weight: np.ndarray, original: np.ndarray, mask: np.ndarray) -> Arrays:
    if (weight[mask == 0] != 0).any():
        raise ConversionError("values that are pruned, zeros in the mask, are no longer zero")
    return np.where(mask == 0, wide(original), weight), mask


def _vectors_fit(weight: Shape, u: Shape, v: Shape) -> bool:
    return any(_matrix_shape(weight, axis) == (*u, *v) for axis in range(len(weight)))


def _matrix_shape(shape: Shape, axis: int) -> Shape:
    return shape[axis], int(np.prod(shape[:axis] + shape[axis + 1 :]))


def spectral_norm(weight: np.ndarray, u: np.ndarray, v: np.ndarray, *, transposed: bool) -> float:
    """Returns u W v, the norm that PyTorch divides by in eval mode.

    PyTorch takes rows along axis 1 for transposed convolutions, else along axis 0. Sizes tell which, or u and
    v, which training keeps near the largest singular vectors.

    Args:
        weight, u, v: As in the file.
        transposed: If true, the weight may be that of a transposed convolution.

    Raises:
        ConversionError: nothing tells along which axis.
    """
    images = []
    for axis in range(weight.ndim):
        if _matrix_shape(weight.shape, axis) == (u.size, v.size):
            images.append(np.moveaxis(wide(weight), axis, 0).reshape(u.size, -1) @ wide(v))
    sigmas = [float(wide(u) @ image) for image in images]
    sure = [
        sigma
        for sigma, image in zip(sigmas, images, strict=True)
        if sigma > NEARLY_ALIGNED * np.linalg.norm(image)
    ]
    if len(sure) == 1:
        return sure[0]
    if len(sigmas) == 1 or weight.ndim == 2 or not transposed:
        return sigmas[0]
    raise ConversionError(
        f"nothing tells along which axis of {weight.shape} a spectral norm is; "
        "take it off where the file was made: torch.nn.utils.parametrize.remove_parametrizations"
    )


def _undivided(weight: np.ndarray, original: np.ndarray, u: np.ndarray, v: np.ndarray) -> Arrays:
    raise ConversionError("no weight but one of spectral norm 1 can be given back through it")


def _kinds(*, transposed: bool) -> tuple[Kind, ...]:
    def divided(weight: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return wide(weight) / spectral_norm(weight, u, v, transposed=transposed)

    gain = Kind(
        name="weight norm",
        parts=("original0", "original1"),
        weight=1,
        fits=_gain_fits,
        compute=_scaled,
        restore=_rescaled,
    )
    spectral = Kind(
        name="spectral norm",
        parts=("original", "0._u", "0._v"),
        weight=0,
        fits=_vectors_fit,
        compute=divided,
        restore=_undivided,
    )
    pruning = Kind(
        name="pruning",
        parts=("orig", "mask"),
        weight=0,
        fits=lambda original, mask: original == mask,
        compute=lambda original, mask: wide(original) * wide(mask),
        restore=_masked,
    )
    orthogonal = Kind(
        name="orthogonal()",
        parts=("original", "0.base"),
        weight=0,
        fits=lambda original, base: len(original) == len(base) > 1,
        compute=lambda original, base: orthogonal_weight(original, base, map=map_of(original, base)),
        restore=lambda weight, original, base: orthogonal_parts(
            weight, map=next(iter(MAPS)), trivialized=True
        ),
    )
    return (
        gain,
        replace(gain, parts=("g", "v")),
        spectral,
        replace(spectral, parts=("orig", "u", "v")),
        pruning,
        orthogonal,
    )


def computed_weights(tensors: Tensors, *, transposed: bool = True) -> Iterator[Computed]:
    """The weights of a state dict that PyTorch computes, in the order of their tensors.

    Args:
        tensors: The state dict; only names and shapes are looked at.
        transposed: If true, the model may have transposed convolutions.
    """
    new: dict[str, dict[str, str]] = {}
    old: dict[str, dict[str, str]] = {}
    for name in tensors:
        if found := NEW_STYLE.fullmatch(name):
            new.setdefault(found[1] + found[2], {})[found[3]] = name
        elif found := OLD_STYLE.fullmatch(name):
            old.setdefault(found[1], {})[found[2]] = name
    if not new and not old:
        return
    kinds = _kinds(transposed=transposed)
    for name, parts in new.items():
        known = _of_kind(name, parts, tensors, kinds)
        yield known or Computed(name=name, parts=tuple(parts.values()), kind=None)
    for name, parts in old.items():
        known = None if name in tensors else _of_kind(name, parts, tensors, kinds)
        if known:
            yield known


def _of_kind(name: str, parts: Mapping[str, str], tensors: Tensors, kinds: Sequence[Kind]) -> Computed | None:
    for kind in kinds:
        if set(kind.parts) == set(parts):
            names = tuple(parts[part] for part in kind.parts)
            if kind.fits(*(tensors.shapes[each] for each in names)):
                return Computed(name=name, parts=names, kind=kind)
    return None

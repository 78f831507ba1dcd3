"""The row of an NNX `Einsum` that is a dense layer: its equation says which axes of the kernel are which."""

import math
from collections.abc import Mapping

import numpy as np
from flax import nnx

from converters.errors import ConversionError
from converters.layers import Leaf, Named, Row, Shape, flat


def einsum(layer: nnx.Einsum, shapes: Mapping[str, Shape]) -> Row:
    """torch.nn.Linear's weight, flat: rows are the axes that the outputs have, columns those that are summed.

    Of "BTD,NDH->BTNH" the weight is (N * H, D), of "BTNH,NHD->BTD" (D, N * H).

    Raises:
        ConversionError: an axis of the kernel is neither or both, or the orders of several differ.
    """
    outputs, inputs = _axes(layer.einsum_str)
    order = (*outputs, *inputs)
    kernel = shapes["kernel"]
    apart = tuple(kernel[axis] for axis in order)
    rows = math.prod(apart[: len(outputs)])

    def to_flax(weight: np.ndarray) -> np.ndarray:
        return weight.reshape(apart).transpose(np.argsort(order))

    def to_torch(kernel: np.ndarray) -> np.ndarray:
        return kernel.transpose(order).reshape(rows, -1)

    row: Named = {"kernel": Leaf("weight", to_flax, to_torch)}
    return row | ({"bias": flat("bias", shapes["bias"])} if "bias" in shapes else {})


def _axes(equation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the axes of the kernel that the outputs have, and those that are summed with the inputs'."""
    given, kernel, made = equation.replace("->", ",").split(",")
    ways = [(letter in made, letter in given) for letter in kernel]
    outputs = tuple(axis for axis, way in enumerate(ways) if way == (True, False))
    inputs = tuple(axis for axis, way in enumerate(ways) if way == (False, True))
    clear = len(outputs) + len(inputs) == len(kernel) == len({*kernel}) and "." not in kernel
    ordered = all(
        sorted(axes, key=lambda axis: where.index(kernel[axis])) == list(axes)
        for axes, where in ((outputs, made), (inputs, given))
        if clear
    )
    if not (clear and ordered and outputs and inputs):
        raise ConversionError(
            f"an Einsum of {equation!r} may be kept in any order of axes; give a subclass of it a "
            "`torch_row` that says which"
        )
    return outputs, inputs

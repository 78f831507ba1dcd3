"""The element types that tensors have: what torch and safetensors call each, and NumPy's type for it."""

from typing import NamedTuple

import ml_dtypes
import numpy as np

from converters.errors import CheckpointError


class Kind(NamedTuple):
    """One element type under its three names; None where a format has no name for it."""

    torch: str
    storage: str | None  # the class of a typed storage; newer types have untyped storages only
    safetensors: str | None
    numpy: np.dtype[np.generic]


KINDS = tuple(
    Kind(torch, storage, safetensors, np.dtype(scalar))
    for torch, storage, safetensors, scalar in (
        ("float64", "DoubleStorage", "F64", np.float64),
        ("float32", "FloatStorage", "F32", np.float32),
        ("float16", "HalfStorage", "F16", np.float16),
        ("bfloat16", "BFloat16Storage", "BF16", ml_dtypes.bfloat16),
        ("float8_e4m3fn", None, "F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("float8_e4m3fnuz", None, "F8_E4M3FNUZ", ml_dtypes.float8_e4m3fnuz),
        ("float8_e5m2", None, "F8_E5M2", ml_dtypes.float8_e5m2),
        ("float8_e5m2fnuz", None, "F8_E5M2FNUZ", ml_dtypes.float8_e5m2fnuz),
        ("float8_e8m0fnu", None, "F8_E8M0", ml_dtypes.float8_e8m0fnu),
        ("int64", "LongStorage", "I64", np.int64),
        ("int32", "IntStorage", "I32", np.int32),
        ("int16", "ShortStorage", "I16", np.int16),
        ("int8", "CharStorage", "I8", np.int8),
        ("uint64", None, "U64", np.uint64),
        ("uint32", None, "U32", np.uint32),
        ("uint16", None, "U16", np.uint16),
        ("uint8", "ByteStorage", "U8", np.uint8),
        ("bool", "BoolStorage", "BOOL", np.bool_),
        ("complex64", "ComplexFloatStorage", "C64", np.complex64),
        ("complex128", "ComplexDoubleStorage", None, np.complex128),
    )
)
BY_TORCH = {kind.torch: kind for kind in KINDS}
BY_STORAGE = {kind.storage: kind for kind in KINDS if kind.storage}
BY_SAFETENSORS = {kind.safetensors: kind for kind in KINDS if kind.safetensors}
BY_NUMPY = {kind.numpy: kind for kind in KINDS}

MAX_ELEMENTS = 2**40  # a terabyte of bytes; no tensor comes near it, and products stay far from 2**63
MAX_DIMS = 64  # NumPy's limit, and torch's


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Refuses sizes that no tensor has, before anything is computed from them or allocated.

    An empty tensor is bounded by its other dimensions, which NumPy would multiply as well.
    """
    if len(shape) > MAX_DIMS:
        raise CheckpointError(f"{name!r} has {len(shape)} dimensions; the limit is {MAX_DIMS}")
    elements = 1
    for size in shape:
        elements *= max(size, 1)
        if size < 0 or elements > MAX_ELEMENTS:
            raise CheckpointError(f"{name!r} has the impossible shape {list(shape)}; the file is damaged")


def check_bools(name: str, array: np.ndarray) -> np.ndarray:
    """The array again; bytes other than 0 and 1 are no booleans, and NumPy would compute with them."""
    if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise CheckpointError(f"{name!r} is boolean but has bytes other than 0 and 1; the file is damaged")
    return array

"""The numbers in the blocks of llama.cpp's quantized tensors: https://github.com/ggml-org/llama.cpp.

Every function takes blocks of bytes, (count, bytes), and returns their float32 numbers, (count, numbers), by
the operations of llama.cpp and in their order, so that no bit differs.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import ml_dtypes
import numpy as np

Floats: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Kind(NamedTuple):
    """A type of elements.

    Attributes:
        name: As llama.cpp calls it.
        numbers: Numbers in a block.
        nbytes: Bytes of a block.
        dtype: Dtype of the numbers.
        numbers_of: Returns the numbers of blocks; None where the bytes are the numbers.
    """

    name: str
    numbers: int
    nbytes: int
    dtype: np.dtype[np.generic] = np.dtype(np.float32)
    numbers_of: Callable[[np.ndarray], np.ndarray] | None = None


def _floats(numbers: np.ndarray) -> Floats:
    """Returns float32 numbers."""
    return numbers.astype(np.float32)


def _half(blocks: np.ndarray, start: int) -> Floats:
    """Returns the float16 at a byte of each block, as float32."""
    return _floats(np.ascontiguousarray(blocks[:, start : start + 2]).view(np.float16))


def _nibbles(codes: np.ndarray) -> np.ndarray:
    """(..., bytes) -> (..., 2, bytes): the lower halves of all bytes, then the upper ones."""
    return np.stack([codes & 15, codes >> 4], axis=-2)


def _fifth_bits(blocks: np.ndarray, start: int) -> np.ndarray:
    """Returns the fifth bit of each of 32 numbers, in its place."""
    return np.unpackbits(blocks[:, start : start + 4], axis=1, bitorder="little") << 4


def _q4_0(blocks: np.ndarray) -> Floats:
    codes = _floats(_nibbles(blocks[:, 2:]).reshape(-1, 32))
    return _half(blocks, 0) * (codes - 8)


def _q4_1(blocks: np.ndarray) -> Floats:
    codes = _floats(_nibbles(blocks[:, 4:]).reshape(-1, 32))
    return _half(blocks, 0) * codes + _half(blocks, 2)


def _q5_0(blocks: np.ndarray) -> Floats:
    codes = _nibbles(blocks[:, 6:]).reshape(-1, 32) | _fifth_bits(blocks, 2)
    return _half(blocks, 0) * (_floats(codes) - 16)


def _q5_1(blocks: np.ndarray) -> Floats:
    codes = _nibbles(blocks[:, 8:]).reshape(-1, 32) | _fifth_bits(blocks, 4)
    return _half(blocks, 0) * _floats(codes) + _half(blocks, 2)


def _q8_0(blocks: np.ndarray) -> Floats:
    return _half(blocks, 0) * _floats(blocks[:, 2:].astype(np.int8))


def _steps(blocks: np.ndarray) -> tuple[Floats, Floats]:
    """Returns the steps and the lowest numbers of a block's 8 parts of 32, which have 6 bits each."""
    first, second, upper = (blocks[:, 4 + 4 * index : 8 + 4 * index] for index in range(3))
    steps = np.concatenate([first & 63, (upper & 15) | (first >> 6 << 4)], axis=1)
    lowest = np.concatenate([second & 63, (upper >> 4) | (second >> 6 << 4)], axis=1)
    found = [_half(blocks, start) * _floats(codes) for start, codes in ((0, steps), (2, lowest))]
    return found[0][:, :, None], found[1][:, :, None]


def _q4_k(blocks: np.ndarray) -> Floats:
    steps, lowest = _steps(blocks)
    codes = _nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    return (steps * _floats(codes) - lowest).reshape(-1, 256)


def _q5_k(blocks: np.ndarray) -> Floats:
    steps, lowest = _steps(blocks)
    codes = _nibbles(blocks[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    fifth = np.unpackbits(blocks[:, None, 16:48], axis=1, bitorder="little").reshape(-1, 8, 32) << 4
    return (steps * _floats(codes | fifth) - lowest).reshape(-1, 256)


def _q6_k(blocks: np.ndarray) -> Floats:
    low = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None] & 3
    codes = _floats((low | high << 4).reshape(-1, 16, 16)) - 32
    steps = _half(blocks, 208) * _floats(blocks[:, 192:208].astype(np.int8))
    return (steps[:, :, None] * codes).reshape(-1, 256)


# Number in a file -> type. Its other types have tables of numbers or fewer than four bits.
KINDS = {
    0: Kind("F32", 1, 4),
    1: Kind("F16", 1, 2, np.dtype(np.float16)),
    2: Kind("Q4_0", 32, 18, numbers_of=_q4_0),
    3: Kind("Q4_1", 32, 20, numbers_of=_q4_1),
    6: Kind("Q5_0", 32, 22, numbers_of=_q5_0),
    7: Kind("Q5_1", 32, 24, numbers_of=_q5_1),
    8: Kind("Q8_0", 32, 34, numbers_of=_q8_0),
    12: Kind("Q4_K", 256, 144, numbers_of=_q4_k),
    13: Kind("Q5_K", 256, 176, numbers_of=_q5_k),
    14: Kind("Q6_K", 256, 210, numbers_of=_q6_k),
    30: Kind("BF16", 1, 2, np.dtype(ml_dtypes.bfloat16)),
}
UNKNOWN = {
    10: "Q2_K",
    11: "Q3_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
}


def numbers(kind: Kind, content: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the array of a tensor's bytes.

    Args:
        kind: Type of its elements.
        content: Its bytes (uint8).
        shape: Its shape.
    """
    if kind.numbers_of is None:
        return content.view(kind.dtype).reshape(shape)
    with np.errstate(over="ignore", invalid="ignore"):  # steps that are infinite are found later
        return kind.numbers_of(content.reshape(-1, kind.nbytes)).reshape(shape)

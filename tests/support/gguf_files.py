"""GGUF files, written from the format's description: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

TYPES = {int: (4, "I"), float: (6, "f"), bool: (7, "?")}
F32, F16, Q8_0 = 0, 1, 8


def text(value: str) -> bytes:
    """Returns a text with its length."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(found: Any) -> bytes:
    """Returns a value with its type."""
    if isinstance(found, str):
        return struct.pack("<I", 8) + text(found)
    if isinstance(found, list):  # of texts
        return struct.pack("<IIQ", 9, 8, len(found)) + b"".join(map(text, found))
    number, letter = TYPES[type(found)]
    return struct.pack(f"<I{letter}", number, found)


def gguf_bytes(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, tuple[int, tuple[int, ...], bytes]],
    *,
    version: int = 3,
) -> bytes:
    """Returns a file of these keys, and tensors of a type's number, a shape, and bytes."""
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    header += b"".join(text(key) + value(found) for key, found in metadata.items())
    content = b""
    for name, (kind, shape, data) in tensors.items():
        content += bytes(-len(content) % 32)
        header += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, len(content))
        content += data
    return header + bytes(-len(header) % 32) + content


def q8_0(array: np.ndarray) -> bytes:
    """Returns the blocks of an array: of 32 numbers, a float16 step and whole numbers."""
    rows = array.astype("f4").reshape(-1, 32)
    steps = (np.abs(rows).max(1, keepdims=True) / 127).astype("f2")
    values = np.rint(rows / steps.astype("f4")).astype("i1")
    return np.concatenate([steps.view("u1"), values.view("u1")], axis=1).tobytes()

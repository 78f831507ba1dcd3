"""A tensor in a file, whatever the file's format."""

from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np

from converters.io.files import InputFile
from converters.io.slices import Extent


class Stored(NamedTuple):
    """A tensor in a file."""

    file: InputFile
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    identity: Hashable  # equal for tensors that are one and the same in the file
    read: Callable[[], np.ndarray]
    extent: Extent | None  # None where its numbers have another order of bytes
    verify: Callable[[], None] = lambda: None  # compares the file's checksum of it, if there is one


Opened = tuple[dict[str, Stored], tuple[str, ...]]  # a file's tensors by name, and notes as sentences

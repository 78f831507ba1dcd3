"""NumPy's globals in pickles, as descriptions: arrays whose numbers stand in the pickle itself."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.formats.torch_pickle import Opaque
from converters.io.dtypes import BY_NUMPY, check_bools, check_shape
from converters.io.writing import contiguous

CODE = re.compile(r"[biufc](1|2|4|8|16)")


class PickledType:
    """An element type; `numpy` is None for one that no array of numbers has, such as objects."""

    def __init__(self, name: Any) -> None:
        self.numpy: np.dtype[np.generic] | None = None
        if isinstance(name, Opaque):  # a scalar type such as ml_dtypes.bfloat16
            module, _, scalar = name.name.rpartition(".")
            found = (dtype for dtype in BY_NUMPY if dtype.name == scalar)
            self.numpy = next(found, None) if module == "ml_dtypes" else None
        elif isinstance(name, str) and CODE.fullmatch(name):
            self.numpy = np.dtype(name)

    def set_state(self, state: Any) -> None:
        """Takes the order of bytes from what `numpy.dtype.__reduce__` gives."""
        if self.numpy is not None and state[1] in ("<", ">"):
            self.numpy = self.numpy.newbyteorder(state[1])


class PickledArray:
    """An array whose numbers stand in the pickle; `view` is None where there are none, or none yet."""

    def __init__(self) -> None:
        self.view: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return () if self.view is None else self.view.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(object) if self.view is None else self.view.dtype.newbyteorder("=")

    @property
    def nbytes(self) -> int:
        return 0 if self.view is None else self.view.nbytes

    def set_state(self, state: Any) -> None:
        """Takes shape, type, order and bytes from what `numpy.ndarray.__reduce__` gives."""
        _, shape, kind, is_fortran, data = state
        self._see(data, kind, shape, "F" if is_fortran else "C")

    @classmethod
    def from_buffer(cls, data: Any, kind: Any, shape: Any, order: Any = "C") -> "PickledArray":
        """Makes one as NumPy pickles contiguous arrays since protocol 5."""
        made = cls()
        made._see(data, kind, shape, order)
        return made

    def _see(self, data: Any, kind: Any, shape: Any, order: str) -> None:
        if not isinstance(kind, PickledType) or kind.numpy is None or not isinstance(data, bytes):
            return
        check_shape("an array in the pickle", shape)
        if math.prod(shape) * kind.numpy.itemsize != len(data):
            raise CheckpointError(f"the pickle is damaged: an array of shape {shape} has {len(data):,} bytes")
        self.view = np.frombuffer(data, kind.numpy).reshape(shape, order="F" if order == "F" else "C")

    def read(self, name: str) -> np.ndarray:
        """Returns the array, C-contiguous in this machine's byte order, in memory of its own."""
        assert self.view is not None  # else it is not among the weights
        native = self.view.astype(self.view.dtype.newbyteorder("="), copy=True)
        return check_bools(name, contiguous(native))


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    """Bytes, as protocols before 3 write them."""
    if encoding not in ("latin1", "utf-8"):
        raise CheckpointError(f"the pickle is damaged: bytes in the encoding {encoding!r:.40}")
    return bytes(text.encode(encoding))


CALLS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encode,
    # No bytes at all, as protocols before 3 write them.
    **{
        f"{module}.bytes": lambda *data: Opaque("bytes") if data else b""
        for module in ("builtins", "__builtin__")
    },
    "numpy.dtype": lambda name, *_: PickledType(name),
    **{
        f"numpy.{core}.{function}": make
        for core in ("core", "_core")
        for function, make in (
            ("multiarray._reconstruct", lambda *_: PickledArray()),
            ("numeric._frombuffer", PickledArray.from_buffer),
            ("multiarray.scalar", lambda *_: "no weight"),
        )
    },
}

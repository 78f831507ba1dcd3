"""A state dict and a module that fit: which arrays it makes, and these one by one."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from converters.errors import ConversionError
from converters.inspection import Path, Variable
from converters.io.slices import FileArray, computed, in_files
from converters.matching.arrays import cast_floats, contiguous, dtype_kind, nonfinite
from converters.matching.fit import Fit
from converters.matching.links import Link
from converters.tensors import Tensors

READERS = 2  # threads that read ahead
_Checked: TypeAlias = tuple[tuple[np.ndarray, ...], dict[str, int]]  # tensors; bad values by name


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A state dict and a module that fit each other.

    Attributes:
        links: which tensors make which arrays; names as in the state dict.
        source: the tensors.
        notes: what was stripped, left out or cannot be given back, in sentences.
        dtype: of the floating-point arrays; None keeps the tensors' own.
        allow_nonfinite: whether NaN and infinity pass.
        initial: arrays that the state dict may lack, and lacks.
        initialize: makes these arrays' values.
        swappable: tensors whose axes may be in another order, for all that shapes and layers say.
    """

    links: tuple[Link, ...]
    source: Tensors
    notes: tuple[str, ...]
    dtype: np.dtype[Any] | None
    allow_nonfinite: bool
    initial: tuple[Variable, ...] = ()
    initialize: Callable[[Sequence[Path]], Sequence[np.ndarray]] | None = None
    swappable: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        fit: Fit,
        *,
        notes: tuple[str, ...] | None = None,
        dtype: np.dtype[Any] | None = None,
        allow_nonfinite: bool = False,
        initialize: Callable[[Sequence[Path]], Sequence[np.ndarray]] | None = None,
    ) -> "Conversion":
        """Returns the conversion of a state dict and a module that fit; notes are the fit's by default."""
        return cls(
            links=fit.links,
            source=fit.tensors,
            notes=fit.notes if notes is None else notes,
            dtype=dtype,
            allow_nonfinite=allow_nonfinite,
            initial=fit.initial if initialize else (),
            initialize=initialize,
            swappable=fit.swappable,
        )

    @property
    def dtypes(self) -> dict[Path, np.dtype[Any]]:
        """Dtypes of the arrays; known before any tensor is read."""
        found: dict[Path, np.dtype[Any]] = {}
        for link in self.links:
            dtypes = [self.source.dtypes[name] for name in link.tensors]
            if len(set(dtypes)) == 1:
                made = dtypes[:1] * len(link.arrays)
            else:  # arrays without strides cost nothing
                shapes = [self.source.shapes[name] for name in link.tensors]
                blank = (np.broadcast_to(np.zeros((), d), s) for d, s in zip(dtypes, shapes, strict=True))
                made = [array.dtype for array in link.to_flax(tuple(blank))]
            found |= {array.path: self._final(dtype) for array, dtype in zip(link.arrays, made, strict=True)}
        return found | {array.path: self._final(array.dtype) for array in self.initial}

    def _final(self, dtype: Any) -> np.dtype[Any]:
        return self.dtype if self.dtype and dtype_kind(dtype) == "float" else np.dtype(dtype)

    def arrays(self, *, ahead: bool = False) -> Iterator[tuple[Path, np.ndarray]]:
        """Paths and arrays, one link at a time: only one link's tensors are in memory.

        The arrays may be views with the axes of a tensor in another order.

        Args:
            ahead: If true, threads read the tensors of the links that come next, which are in memory, too.

        Raises:
            ConversionError: at the end, naming every tensor that holds NaN or infinity.
        """
        bad: dict[str, int] = {}
        for link, (tensors, found) in self._tensors(ahead=ahead):
            bad |= found
            values = [*zip(link.arrays, _made(link, self._widened(link, tensors)), strict=True)]
            del tensors
            while values:
                array, value = values.pop(0)
                value = cast_floats(value, self.dtype, str(array))
                yield array.path, value
                # Else they would be in memory together with the tensors that are read next.
                del value
        if self.initialize and self.initial:
            made = self.initialize([array.path for array in self.initial])
            for array, value in zip(self.initial, made, strict=True):
                yield array.path, cast_floats(value, self.dtype, str(array))
        lines = [f"  {name}: {count} values" for name, count in bad.items() if count]
        if lines:
            text = "the state dict holds NaN or infinity; allow_nonfinite=True lets them pass:"
            raise ConversionError("\n".join([text, *lines]))

    def _tensors(self, *, ahead: bool) -> Iterator[tuple[Link, _Checked]]:
        """Yields the links and their tensors."""
        if not ahead:
            yield from ((link, self._checked(link)) for link in self.links)
            return
        pending: deque[tuple[Link, Future[_Checked]]] = deque()
        with ThreadPoolExecutor(READERS) as threads:
            try:
                for link in self.links:
                    pending.append((link, threads.submit(self._checked, link)))
                    if len(pending) > READERS:
                        yield _read(*pending.popleft())
                while pending:
                    yield _read(*pending.popleft())
            finally:
                threads.shutdown(cancel_futures=True)

    def _checked(self, link: Link) -> _Checked:
        """Reads a link's tensors, and counts the values that are NaN or infinite."""
        tensors = tuple(self.source[name] for name in link.tensors)
        if self.allow_nonfinite:
            return tensors, {}
        return tensors, {name: nonfinite(each) for name, each in zip(link.tensors, tensors, strict=True)}

    def _widened(self, link: Link, tensors: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Returns the tensors in the wider dtype of the arrays, if these are computed: sums of biases are."""
        if self.dtype is None or not link.lossy:
            return tensors
        wide = self.dtype
        return tuple(
            tensor.astype(wide)
            if dtype_kind(tensor.dtype) == "float" and jnp.promote_types(tensor.dtype, wide) == wide
            else tensor
            for tensor in tensors
        )

    def in_files(self) -> dict[Path, FileArray]:
        """The arrays as they are in the files, of which any slice can be read; neither cast nor looked into.

        Slices of arrays that a rule does not move but computes, such as sums of biases, are cut from them.
        """
        found: dict[Path, FileArray] = {}
        extent = getattr(self.source, "extent", lambda name: None)
        for link in self.links:
            extents, read = [extent(name) for name in link.tensors], partial(self._read, link)
            known = [each for each in extents if each is not None]
            whole = len(known) < len(extents)
            made = computed(link.tensors, read) if whole else in_files(known, link.to_flax, read)
            found |= {array.path: value for array, value in zip(link.arrays, made, strict=True)}
        return found

    def _read(self, link: Link) -> tuple[np.ndarray, ...]:
        return _made(link, tuple(self.source[name] for name in link.tensors))

    def variables(self) -> dict[str, Any]:
        """The nested dict of NumPy arrays that `module.apply` takes."""
        return cast(
            dict[str, Any], unflatten_dict({path: contiguous(array) for path, array in self.arrays()})
        )


def _read(link: Link, checked: Future[_Checked]) -> tuple[Link, _Checked]:
    """Returns what a thread has read, to which nothing else refers then."""
    return link, checked.result()


def _made(link: Link, tensors: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Returns a link's arrays; an error names them and their tensors."""
    try:
        return link.to_flax(tensors)
    except ConversionError as error:
        names, arrays = " and ".join(link.tensors), " and ".join(map(str, link.arrays))
        raise ConversionError(f"{names}, for {arrays}: {error}") from error

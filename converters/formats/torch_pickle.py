"""Globals in the pickle of a PyTorch checkpoint, as plain descriptions; nothing is imported."""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from converters.errors import CheckpointError
from converters.io.dtypes import BY_STORAGE, BY_TORCH, MAX_DIMS, Kind


class Storage(NamedTuple):
    """A block of elements elsewhere in the file."""

    key: str
    kind: Kind | None  # None: untyped, counted in bytes
    elements: int
    start: int | None = None  # in elements, for a storage that is a part of another, in very old files
    data: bytes | None = None  # where they stand in the pickle itself

    @property
    def nbytes(self) -> int:
        return self.elements * (self.kind.numpy.itemsize if self.kind else 1)


class Tensor(NamedTuple):
    """A view of a storage; offset and stride in elements."""

    storage: Storage
    kind: Kind
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    pending: str = ""  # "conj" or "neg": what torch has put off computing

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.kind.numpy.itemsize


class Opaque:
    """An object that stands in a pickle, and is never made: a class, a function, or what they would return.

    Attributes:
        name: Full name of the class or function.
        items: Items of a mapping of its own class, such as a configuration's.
        is_module: True if it has the attributes of a `torch.nn.Module`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: dict[Any, Any] = {}
        self.is_module = False

    def __str__(self) -> str:
        name = self.name[:100]
        return f"a pickled module ({name})" if self.is_module else f"{name!r}{reason(self.name)}"


RESAVE = "save only the weights where this file was made: torch.save(model.state_dict(), 'weights.pth')"
MAX_EXPANDED = 2**28  # bytes of a tensor that repeats its storage's elements (stride 0)

# Globals that are values of their own, as far as weights are concerned.
INERT = frozenset(
    ["torch.Tensor", "numpy.ndarray", "torch.nn.parameter.Parameter", "torch.nn.Parameter", "torch.strided"]
    + ["torch.storage.UntypedStorage", "torch.UntypedStorage", "builtins.dict", "__builtin__.dict"]
    + [f"torch.{name}" for name in BY_TORCH]
    + [f"torch.{cuda}{name}" for name in BY_STORAGE for cuda in ("", "cuda.")]
)

# Plain values that stand beside the weights; nobody needs to know which.
BESIDE_WEIGHTS = (
    *("builtins.set", "__builtin__.set", "builtins.complex", "__builtin__.complex"),
    *("torch.device", "torch.serialization._get_layout"),
)

# Modules that no checkpoint has a use for, and attacks do. Nothing of them would be executed either; a file
# that names one is refused all the same, since somebody should look at where it is from.
HOSTILE = re.compile(
    r"(os|posix|nt|subprocess|sys|shutil|socket|runpy|importlib\b.*|ctypes\b.*|pty|code|codeop|pickle|marshal"
    r"|multiprocessing\b.*|threading|asyncio\b.*|urllib\b.*|http\b.*|requests\b.*|webbrowser|platform|tempfile"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|open|input|__import__|breakpoint))(\..*)?"
)

# Weights of kinds that NumPy does not have: refused where they are among the weights.
REASONS = (
    (r"torch\.(Q\w+|q(u?int)\w+)|.*_rebuild_qtensor|.*\.quantized\..*|torch\.per_\w+", "quantised weights"),
    (r".*_rebuild_sparse\w*|torch\.sparse\w*", "a sparse tensor"),
    (r".*_rebuild_meta_tensor_no_storage", "a meta tensor, which has no data in the file"),
    (r".*_rebuild_nested_tensor", "a nested tensor"),
    (r".*_rebuild_wrapper_subclass|.*DTensor|torchao\..*", "a tensor of a class of its own"),
    (r"torch\.(complex32|float4\w+|u?int[1-7]|bits\w+)", "an element type that NumPy does not have"),
    (r"__torch__\..*", "a TorchScript module"),
    (r"torch\.nn\.modules\..*|torch\.nn\.parallel\..*", "a pickled module"),
)


def is_hostile(name: str) -> bool:
    """Returns whether a global is one of those that attacks use."""
    return HOSTILE.fullmatch(name) is not None


def reason(name: str) -> str:
    """Returns the kind of unreadable weights that a global makes, in brackets; empty for others."""
    return next((f" ({why})" for pattern, why in REASONS if re.fullmatch(pattern, name)), "")


def storage(identity: Any) -> Storage | Opaque:
    """The storage of a persistent id: ("storage", class, key, device, count) and, long ago, a part of it."""
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
        raise CheckpointError("the pickle is damaged: it refers to something that is no storage")
    _, name, key, _, count, *part = identity
    if isinstance(name, Opaque):
        return name
    kind = BY_STORAGE.get(name.rpartition(".")[2])
    if (
        name not in INERT
        or not isinstance(key, str)
        or len(key) > 100
        or (kind is None and "Untyped" not in name)
    ):
        raise CheckpointError("the pickle is damaged: a storage has no class or no key")
    if not part or part[0] is None:
        return Storage(key, kind, _size(count))
    _, start, count = part[0]
    return Storage(key, kind, _size(count), _size(start))


def check_key(key: Any) -> Any:
    """A mapping's key again, if it is plain: to hash tuples of tuples of tuples can take for ever."""
    if type(key) is str:
        return key
    parts = key if type(key) is tuple and len(key) <= 8 else (key,)
    if not all(isinstance(part, str | bytes | int | float | Opaque | None) for part in parts):
        raise CheckpointError(f"a mapping has a {type(key).__name__} as a key; names are strings")
    return key


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise CheckpointError("the pickle is damaged: a size is no whole number")
    return value


def _sizes(values: Any) -> tuple[int, ...]:
    if len(values) > MAX_DIMS:
        raise CheckpointError(f"a tensor has {len(values):,} dimensions; the limit is {MAX_DIMS}")
    return tuple(_size(value) for value in values)


def _tensor(
    source: Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: Any = None,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    return _view(source, source.kind, offset, shape, stride, metadata)


def _tensor_of_dtype(
    source: Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: Any,
    hooks: Any,
    dtype: str,
    metadata: Any = None,
) -> Tensor:
    return _view(source, BY_TORCH.get(dtype.removeprefix("torch.")), offset, shape, stride, metadata)


def _view(source: Storage, kind: Kind | None, offset: int, shape: Any, stride: Any, metadata: Any) -> Tensor:
    if not isinstance(source, Storage) or kind is None or len(shape) != len(stride):
        raise CheckpointError("the pickle is damaged: a tensor has no storage, dtype, shape or stride")
    pending = next((name for name in ("conj", "neg") if (metadata or {}).get(name)), "")
    return Tensor(source, kind, _size(offset), _sizes(shape), _sizes(stride), pending)


def _same(tensor: Any, *_: Any) -> Any:
    return tensor


CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _same,
    "torch._utils._rebuild_parameter_with_state": _same,
    "torch.Size": lambda sizes=(): _sizes(sizes),
    "collections.OrderedDict": lambda pairs=(): {check_key(key): value for key, value in pairs},
    "collections.defaultdict": lambda *_: {},
    **dict.fromkeys(BESIDE_WEIGHTS, lambda *_: "no weight"),
}

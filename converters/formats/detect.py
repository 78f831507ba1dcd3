"""The table of file formats; a file's first bytes say which it is, and its suffix may only confirm it.

To add a format: a module here that opens it (and writes it, if it can be), a row of FORMATS, and a test.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from numpy.typing import ArrayLike

from converters.errors import CheckpointError
from converters.formats import flax_msgpack, gguf, numpy_archive, safetensors, torch_tensors, torch_writer
from converters.formats.pickle_machine import OPCODES
from converters.formats.stored import Opened
from converters.io.files import InputFile


class Writer(Protocol):
    """Writes a state dict to a file; refuses to replace one unless `overwrite` is set."""

    def __call__(self, path: Path, arrays: Mapping[str, ArrayLike], *, overwrite: bool) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of checkpoint file.

    Attributes:
        name: A noun for messages.
        suffixes: Suffixes of its files.
        vague: Suffixes that files of other kinds often have: not looked for in a directory.
        starts: Returns whether the first bytes of a file, up to 512, are this format's.
        open: Opens a file; its second argument chooses one of several state dicts in it.
        write: Writes a file, if this package can.
        trusts_suffix: If true, a file of its suffix is opened whatever its first bytes are, unless they are
            known as something else's; the error then says what is wrong with them.
    """

    name: str
    suffixes: tuple[str, ...]
    vague: tuple[str, ...] = ()
    starts: Callable[[bytes], bool]
    open: Callable[[InputFile, str | None], Opened]
    write: Writer | None = None
    trusts_suffix: bool = False


TORCH = (".pth", ".pt", ".bin", ".ckpt", ".th")
TORCH_VAGUE = (".tar", ".pkl")

FORMATS = (
    Format(
        name="safetensors file",
        suffixes=(".safetensors",),
        starts=safetensors.starts,
        open=safetensors.open_tensors,
        write=safetensors.write_state_dict,
        trusts_suffix=True,
    ),
    Format(
        name="PyTorch zip archive",
        suffixes=TORCH,
        vague=TORCH_VAGUE,
        starts=lambda head: head.startswith(b"PK\3\4") and not numpy_archive.starts(head),
        open=torch_tensors.open_zip,
        write=torch_writer.write,
    ),
    Format(
        name="pickle",
        suffixes=TORCH,
        vague=TORCH_VAGUE,
        starts=lambda head: head[0] == 0x80 and 2 <= head[1] <= 5 and head[2:3] in OPCODES,
        open=torch_tensors.open_legacy,
    ),
    Format(
        name="Flax msgpack file",
        suffixes=(".msgpack",),
        starts=flax_msgpack.starts,
        open=flax_msgpack.open_msgpack,
        write=flax_msgpack.write,
    ),
    Format(
        name="NumPy archive",
        suffixes=(".npz",),
        starts=numpy_archive.starts,
        open=numpy_archive.open_archive,
        write=numpy_archive.write,
    ),
    Format(name="GGUF file", suffixes=(".gguf",), starts=gguf.starts, open=gguf.open_gguf),
)

SUFFIXES = tuple(dict.fromkeys(suffix for each in FORMATS for suffix in each.suffixes))
ALL_SUFFIXES = tuple(dict.fromkeys(suffix for each in FORMATS for suffix in (*each.suffixes, *each.vague)))

# What people take for a checkpoint, as patterns of the first 512 bytes, and what to do.
OTHERS = (
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself; run git lfs pull"),
    (rb"(?i)\s*<(!doctype|html|\?xml)", "a web page; download the file itself"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf", "compressed; unpack it first"),
    (
        rb"(?s).{257}ustar",
        "a tar archive, as torch.save wrote until 2017; load and save it with PyTorch again",
    ),
    (rb"PK\x05\x06", "an empty zip archive; download it again"),
    (rb"\x89HDF", "an HDF5 file (Keras), not a PyTorch checkpoint"),
    (rb"\x93NUMPY", "a NumPy array, not a PyTorch checkpoint"),
    (rb"\s*\{\s*\"", "a JSON text, not a checkpoint"),
    (rb"[\t\n\r -~]+\Z", "a text, not a checkpoint"),
)


def format_of(file: InputFile, name: str | None = None) -> Format:
    """Recognizes a file's format; `name` is the file's own, where its path says another.

    Raises:
        CheckpointError: it is something else, or something else than its suffix says.
    """
    head = file.read(0, min(512, file.size))
    if len(head) < 8:
        raise CheckpointError(f"is {'cut off' if head else 'empty'} ({len(head)} bytes); download it again")
    suffix = Path(name or file.path).suffix.lower()
    found = next((each for each in FORMATS if each.starts(head)), None)
    if found is None and not _other(head):
        found = next((each for each in FORMATS if each.trusts_suffix and suffix in each.suffixes), None)
    if found is None:
        raise CheckpointError(f"is {_other(head) or _unknown(file, head)}")
    if suffix in ALL_SUFFIXES and suffix not in (*found.suffixes, *found.vague):
        raise CheckpointError(f"is a {found.name}, which its suffix {suffix!r} does not say; rename it")
    return found


def writer_of(path: Path) -> Writer:
    """Returns what writes files of a path's suffix.

    Raises:
        CheckpointError: no format has this suffix.
    """
    suffix = path.suffix.lower()
    for each in FORMATS:
        if each.write and suffix in (*each.suffixes, *each.vague):
            return each.write
    raise CheckpointError(f"{str(path)!r}: expected a name that ends in {', '.join(ALL_SUFFIXES)}")


def _other(head: bytes) -> str | None:
    return next((what for pattern, what in OTHERS if re.match(pattern, head)), None)


def _unknown(file: InputFile, head: bytes) -> str:
    if file.read(max(file.size - 22, 0), 4) == b"PK\5\6":
        return f"a zip archive with something before it ({head[:16]!r}); download it again"
    return f"no checkpoint of a known format; it starts with {head[:16]!r}"

"""What kind of file it is, by its first bytes; the suffix may only confirm it."""

import re

from converters.errors import CheckpointError
from converters.formats.pickle_machine import OPCODES
from converters.formats.safetensors import MAX_HEADER
from converters.io.files import InputFile

SAFETENSORS, ZIP, PICKLE = "safetensors file", "PyTorch zip archive", "pickle"
SUFFIXES = {
    ".safetensors": (SAFETENSORS,),
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt", ".th", ".tar", ".pkl"), (ZIP, PICKLE)),
}

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
    (rb"GGUF", "a GGUF file, not a PyTorch checkpoint; take the original weights"),
    (rb"\x93NUMPY", "a NumPy array, not a PyTorch checkpoint"),
    (rb"[\x81-\x8f][\xa0-\xbf\xd9]|\xde..[\xa0-\xbf\xd9]", "a Flax msgpack file: it is Flax already"),
    (rb"\s*\{\s*\"", "a JSON text, not a checkpoint"),
    (rb"[\t\n\r -~]+\Z", "a text, not a checkpoint"),
)


def kind_of(file: InputFile) -> str:
    """SAFETENSORS, ZIP or PICKLE.

    Raises:
        CheckpointError: it is something else, or something else than its suffix says.
    """
    head = file.read(0, min(512, file.size))
    if len(head) < 8:
        raise CheckpointError(f"is {'cut off' if head else 'empty'} ({len(head)} bytes); download it again")
    suffix = file.path.suffix.lower()
    kind = _by_content(head) or (SAFETENSORS if suffix == ".safetensors" and not _other(head) else None)
    if kind is None:
        raise CheckpointError(f"is {_other(head) or _unknown(file, head)}")
    if kind not in SUFFIXES.get(suffix, (kind,)):
        raise CheckpointError(f"is a {kind}, which its suffix {suffix!r} does not say; rename it")
    return kind


def _by_content(head: bytes) -> str | None:
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER:
        return SAFETENSORS
    if head.startswith(b"PK\3\4"):
        return ZIP
    if head[0] == 0x80 and 2 <= head[1] <= 5 and head[2:3] in OPCODES:
        return PICKLE
    return None


def _other(head: bytes) -> str | None:
    return next((what for pattern, what in OTHERS if re.match(pattern, head)), None)


def _unknown(file: InputFile, head: bytes) -> str:
    if file.read(max(file.size - 22, 0), 4) == b"PK\5\6":
        return f"a zip archive with something before it ({head[:16]!r}); download it again"
    return f"no checkpoint of a known format; it starts with {head[:16]!r}"

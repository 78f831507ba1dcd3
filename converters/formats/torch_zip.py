"""The zip archives that torch.save writes since PyTorch 1.6; torch.load does not check their checksums."""

import io
import re
import struct
import zlib
from typing import Any

from converters.errors import CheckpointError
from converters.formats.pickle_reader import read_pickle
from converters.formats.torch_storages import Place, Storages
from converters.io.files import InputFile

# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7 to 4.3.16
LOCAL = struct.Struct("<4s5H3L2H")
ENTRY = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
MAX_MEMBERS = 500_000
MAX_BYTES = 2**32  # of a pickle; NumPy's arrays stand in it
MAX_DIRECTORY = 2**28  # bytes
ENCRYPTED = 1
# Archives of others, by a member that each has, and what to do.
OTHERS = (
    (
        r".*/constants\.pkl",
        "a TorchScript archive, no state dict; torch.save torch.jit.load(path).state_dict() instead",
    ),
    (
        r".*/archive_format|serialized_exported_program\.json",
        "an exported program (torch.export), no state dict; "
        "torch.save torch.export.load(path).state_dict instead",
    ),
    (r"policy\.pth", "an archive of Stable-Baselines3; unzip it, and take its policy.pth"),
    (r"(.*\.)?(pth|pt|ckpt|safetensors|bin)", "an archive of files; unzip it, and take its {name!r}"),
)


def open_archive(file: InputFile) -> tuple[Any, Storages]:
    """Reads the archive's pickle: its value, and the storages that its tensors refer to."""
    members = _members(file)
    for pattern, what in OTHERS:
        name = next(filter(re.compile(pattern).fullmatch, members), None)
        if name:
            raise CheckpointError(f"is {what.format(name=name[:100])}")
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(
            f"is a zip archive, but no PyTorch checkpoint: {len(pickles)} members data.pkl, expected 1"
        )
    prefix = pickles[0].removesuffix("data.pkl")
    packed = [name for name, place in members.items() if place.packed and name.startswith(prefix)]
    if packed:
        raise CheckpointError(
            f"zip member {packed[0][:100]!r} is compressed or encrypted; torch.save writes none such"
        )
    data = _read_member(file, pickles[0], members[pickles[0]])
    order = b"little"
    if f"{prefix}byteorder" in members:
        order = _read_member(file, f"{prefix}byteorder", members[f"{prefix}byteorder"])
    if order not in (b"little", b"big"):
        raise CheckpointError(f"has byte order {order[:20]!r}, expected 'little' or 'big'")
    root, _ = read_pickle(io.BytesIO(data), len(data))
    places = {
        name.removeprefix(f"{prefix}data/"): place
        for name, place in members.items()
        if name.startswith(f"{prefix}data/")
    }
    return root, Storages(file, places, big_endian=order == b"big")


def _read_member(file: InputFile, name: str, place: Place) -> bytes:
    if place.nbytes > MAX_BYTES:
        raise CheckpointError(f"{name[:100]!r} has {place.nbytes:,} bytes, the limit is {MAX_BYTES:,}")
    data = file.read(place.offset, place.nbytes)
    if zlib.crc32(data) != place.crc:
        raise CheckpointError(f"{name[:100]!r} is damaged (its CRC-32 does not fit); download the file again")
    return data


def _members(file: InputFile) -> dict[str, Place]:
    """Every member's place, from the directory at the end, checked against the headers before the data."""
    start, size, count = _directory(file)
    if count > MAX_MEMBERS or size > MAX_DIRECTORY:
        raise CheckpointError(f"the zip archive has {count:,} members, the limit is {MAX_MEMBERS:,}")
    directory = file.read(start, size)
    members: dict[str, Place] = {}
    ranges, position = [], 0
    for _ in range(count):
        name, header, place, position = _entry(directory, position)
        if name in members:
            raise CheckpointError(f"the zip archive has two members {name[:100]!r}")
        offset = _data_offset(file, name, header, start)
        members[name] = place._replace(offset=offset)
        ranges.append((header, offset + place.nbytes))
    if position != size:
        raise CheckpointError("the zip directory is damaged: its size does not fit; download the file again")
    ranges.sort()
    ends = [0, *(end for _, end in ranges)]
    starts = [*(header for header, _ in ranges), start]
    if starts[0] != 0 or any(begin < end for begin, end in zip(starts, ends, strict=True)):
        raise CheckpointError("the zip archive is damaged: members overlap or do not start at its beginning")
    return members


def _directory(file: InputFile) -> tuple[int, int, int]:
    """The directory's position, size and number of entries."""
    at = file.size - END.size
    signature, *numbers, comment = END.unpack(file.read(at, END.size)) if at >= 0 else (b"", 0)
    if signature != b"PK\5\6" or comment:
        raise CheckpointError("the zip archive is cut off, or something follows it; download it again")
    *_, count, size, start = numbers
    end = at
    # torch.save writes the records for large archives always, others where the plain fields are too small.
    at -= LOCATOR_64.size
    signature, _, end_64, _ = LOCATOR_64.unpack(file.read(at, LOCATOR_64.size)) if at >= 0 else (b"", 0, 0, 0)
    if signature == b"PK\6\7":
        end = at - END_64.size
        record = file.read(end, END_64.size) if end >= 0 else bytes(END_64.size)
        signature, *_, count, size, start = END_64.unpack(record)
        if signature != b"PK\6\6" or end != end_64:
            raise CheckpointError(
                "the zip archive is damaged: its 64-bit records do not fit; download it again"
            )
    if start + size != end:
        raise CheckpointError(
            f"the zip directory ends at {start + size:,}, expected {end:,}; download it again"
        )
    return start, size, count


def _entry(directory: bytes, position: int) -> tuple[str, int, Place, int]:
    """Reads an entry: its name, its header's position, size and sum of its data, the next one's position."""
    if position + ENTRY.size > len(directory):
        raise CheckpointError("the zip directory is cut off; download the file again")
    entry = ENTRY.unpack_from(directory, position)
    signature, _, _, flags, method, _, _, crc, packed, nbytes, name_size, extra_size, comment_size = entry[
        :13
    ]
    header: int = entry[-1]
    position += ENTRY.size
    raw = directory[position : position + name_size]
    extra = directory[position + name_size : position + name_size + extra_size]
    if signature != b"PK\1\2" or len(extra) != extra_size:
        raise CheckpointError("the zip directory is damaged; download the file again")
    nbytes, packed, header = _wide(extra, [nbytes, packed, header])
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"a zip member's name is damaged: {raw[:80]!r}") from error
    is_packed = bool(method or flags & ENCRYPTED or packed != nbytes)
    place = Place(0, packed, crc, packed=is_packed)
    return name, header, place, position + name_size + extra_size + comment_size


def _wide(extra: bytes, fields: list[int]) -> list[int]:
    """The fields, with those that do not fit into 32 bits taken from the extra field made for them."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == 1:
            values = [value for (value,) in struct.iter_unpack("<Q", extra[4 : 4 + size // 8 * 8])]
            return [values.pop(0) if field == 0xFFFFFFFF and values else field for field in fields]
        extra = extra[4 + size :]
    return fields


def _data_offset(file: InputFile, name: str, header: int, end: int) -> int:
    """Where a member's data starts, behind its own header, which must agree with the directory's."""
    raw = name.encode()
    if header + LOCAL.size + len(raw) > end:
        raise CheckpointError(f"zip member {name[:100]!r} is beyond the file's end; download the file again")
    local = file.read(header, LOCAL.size + len(raw))
    signature, *_, name_size, extra_size = LOCAL.unpack_from(local)
    if signature != b"PK\3\4" or name_size != len(raw) or local[LOCAL.size :] != raw:
        raise CheckpointError(f"the header of zip member {name[:100]!r} is damaged; download the file again")
    return header + LOCAL.size + len(raw) + int(extra_size)

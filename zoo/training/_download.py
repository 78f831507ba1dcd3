"""Downloads a file from the first of several addresses that serves the right bytes."""

import http.client
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from converters.io import atomic_write
from zoo._errors import DataError

STALL = 30.0  # seconds without a byte
DEADLINE = 600.0  # seconds for one file
CHUNK = 1 << 16


def download(
    addresses: Sequence[str], target: Path, *, limit: int, check: Callable[[bytes, str], object]
) -> None:
    """Tries the addresses in turn; the file gets its name only when it is whole and passed the check.

    Args:
        addresses: URLs of the same file.
        target: Path of the file; its directory is created if missing.
        limit: Largest size of the file, in bytes.
        check: Called with the content and its address; raises a DataError to refuse it.

    Raises:
        DataError: no address gave the file; each one's reason is listed.
    """
    problems = []
    for address in addresses:
        try:
            content = _get(address, limit)
            check(content, address)
        except (DataError, OSError, http.client.HTTPException) as error:
            problems.append(f"\n  {address}: {error}")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target, overwrite=True) as file:
            file.write(content)
        return
    advice = "check the network, or pass a directory that has it"
    raise DataError(f"no mirror gave {target.name!r}; {advice}:{''.join(problems)}")


def _get(address: str, limit: int) -> bytes:
    end = time.monotonic() + DEADLINE
    content = bytearray()
    with urllib.request.urlopen(address, timeout=STALL) as response:
        while chunk := response.read1(CHUNK):
            content += chunk
            if len(content) > limit:
                raise DataError(f"more than {limit:,} bytes")
            if time.monotonic() > end:
                raise DataError(f"not complete after {DEADLINE:.0f} s")
        expected = response.headers.get("Content-Length")
    if expected and expected.isdigit() and len(content) != int(expected):
        raise DataError(f"{len(content):,} of {expected} bytes")
    return bytes(content)

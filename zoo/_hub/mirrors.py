"""Files that several addresses serve, such as those of data sets, kept under their own names."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from converters.errors import CheckpointError
from zoo import _progress
from zoo._errors import DataError, WeightsError
from zoo._hub import cache, errors
from zoo._hub.checksum import Checksum
from zoo._hub.download import Request, download, quoted
from zoo._hub.errors import NetworkError


def fetch(
    addresses: Sequence[str],
    target: Path,
    *,
    checksum: Checksum,
    limit: int,
    check: Callable[[Path, str], object] = lambda path, address: None,
) -> None:
    """Downloads a file from the first address that serves the right bytes, unless another process just did.

    Args:
        addresses: URLs of the same file.
        target: Path of the file; its directory is created if missing.
        checksum: Expected size and hash, as far as they are known.
        limit: Largest size, in bytes.
        check: Called with the path of the bytes and their address; raises a DataError to refuse them.

    Raises:
        DataError: no address gave the file, and each one's reason is listed; or there is no place for it.
    """
    try:
        with cache.lock(cache.ensure_directory(target.parent), target.name) as locked:
            if not target.exists():
                _fetch(addresses, target, checksum, limit, check, version=checksum.digest if locked else "")
    except WeightsError as error:
        raise DataError(str(error)) from error
    except (CheckpointError, OSError) as error:
        raise DataError(
            f"{target.name!r} cannot be kept in {str(target.parent)!r}: {cache.reason(error)}; "
            "ZOO_CACHE chooses another place."
        ) from error


def _fetch(
    addresses: Sequence[str],
    target: Path,
    checksum: Checksum,
    limit: int,
    check: Callable[[Path, str], object],
    *,
    version: str,
) -> None:
    problems = []
    for address in addresses:
        with (
            cache.partial_file(target.parent, target.name, version) as file,
            _progress.bytes_bar(target.name) as report,
        ):
            try:
                errors.check_online("pass a directory that has it")
                download(lambda: Request(quoted(address)), file, checksum, report, limit=limit)  # noqa: B023
                _check(file, lambda path: check(path, address))  # noqa: B023
            except (DataError, NetworkError) as error:
                problems.append(f"\n  {address}: {error}")
            else:
                cache.keep(file, target)
                return
    advice = "check the network, or pass a directory that has it"
    raise DataError(f"no mirror gave {target.name!r}; {advice}:{''.join(problems)}")


def _check(file: BinaryIO, check: Callable[[Path], object]) -> None:
    """Calls the check of the bytes; nothing goes on from bytes that it refuses."""
    file.flush()
    try:
        check(Path(file.name))
    except DataError:
        file.truncate(0)
        raise

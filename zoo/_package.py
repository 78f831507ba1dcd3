"""The package itself: its version, and the package `converters` that it comes with."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

NOT_INSTALLED = "0+unknown"  # as versions are written; the folder alone has none


def _version() -> str:
    try:
        return version("flax-zoo")
    except PackageNotFoundError:
        return NOT_INSTALLED


def _check_converters() -> None:
    """Checks that `converters` is the one that this package comes with.

    Another distribution has the same name for a package of its own: installed later it replaces files of this
    one, and in a folder that Python searches first it hides them all.

    Raises:
        ImportError: it is another one.
    """
    found = find_spec("converters")
    where = found and (found.origin or next(iter(found.submodule_search_locations or ()), ""))
    # Read, not imported: another one may take its time.
    if not (where and Path(where).is_file() and "attach_stub" in Path(where).read_text(encoding="utf-8")):
        raise ImportError(
            f"{where!r} is another package named 'converters', which hides or has replaced the one of "
            "flax-zoo: remove it (pip uninstall converters, or its folder), and install flax-zoo again."
        )


_check_converters()  # zoo imports this module first: all others import from converters
VERSION = _version()

"""The package itself: its version, its public modules, and the package `converters` that it comes with."""

import pkgutil
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import converters

COMMAND_LINE = "cli"  # found like the others, and public only as the command `zoo`
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
    if not hasattr(converters, "to_torch"):
        where = converters.__file__ or next(iter(converters.__path__), "")
        raise ImportError(
            f"{where!r} is another package named 'converters', which hides or has replaced the one of "
            "flax-zoo: remove it (pip uninstall converters, or its folder), and install flax-zoo again."
        )


def modules() -> list[str]:
    """Returns the names of the public modules: the families and `training`."""
    found = (each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if not name.startswith("_") and name != COMMAND_LINE)


def module(name: str) -> ModuleType:
    """Imports a public module such as `zoo.gpt2`, which happens when it is first used.

    Raises:
        AttributeError: there is none of that name.
    """
    if name not in (*modules(), COMMAND_LINE):
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return import_module(f"zoo.{name}")


_check_converters()  # zoo imports this module first: all others import from converters
VERSION = _version()

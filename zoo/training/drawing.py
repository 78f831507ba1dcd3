"""Shared parts of a run's pictures: matplotlib, which is not needed for anything else."""

import io
import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from converters.io import atomic_write
from zoo._errors import TrainingError, needs

MISSING = needs("pictures", "matplotlib")
_log = logging.getLogger("zoo")


def can_draw(*pictures: str) -> bool:
    """Returns whether matplotlib is installed; logs how to get the named pictures where it is not.

    A run asks before it begins: its result is complete without them.
    """
    found = find_spec("matplotlib") is not None
    if not found:
        _log.warning("%s will be left out: %s", " and ".join(pictures), MISSING)
    return found


def attempt(*pictures: Callable[[], object]) -> None:
    """Draws pictures of a complete run; logs what fails, which takes nothing from its result."""
    for draw in pictures:
        try:
            draw()
        except (TrainingError, OSError) as error:
            _log.warning("a picture is left out: %s", error)


def figure(width: float, height: float) -> Any:
    """Returns an empty figure of a size in inches.

    Raises:
        TrainingError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise TrainingError(MISSING)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def write(figure: Any, path: Path) -> Path:
    """Writes a figure as a PNG, in place of what is there."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    with atomic_write(path, overwrite=True) as file:
        file.write(picture.getvalue())
    return path

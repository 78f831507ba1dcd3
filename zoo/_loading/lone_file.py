"""A file where a model's directory is expected: what it is, and what to name instead."""

import os
from pathlib import Path

from converters import read_checkpoint
from converters.errors import CheckpointError
from converters.formats import are_flax
from zoo._registry.manifest import CONFIG


def advice(path: Path) -> str:
    """Returns what a file is, to go on after its name, and what to name instead."""
    if not holds_variables(path):
        return (
            f"is a file, and a model is a directory of weights and {CONFIG}; `zoo convert` makes one of a "
            "checkpoint."
        )
    parent = path.parent
    if os.path.isfile(parent / CONFIG):
        return f"holds the variables of the model in {str(parent)!r}; name that directory."
    return (
        f"holds Flax variables without the {CONFIG} that says of which model: what wrote the file in a "
        "directory left it there; put both into one directory, and name that."
    )


def holds_variables(path: Path) -> bool:
    """Returns whether a file is of Flax variables; false for one that cannot be read."""
    if path.suffix != ".safetensors":
        return False
    try:
        return are_flax(read_checkpoint(path))
    except CheckpointError:
        return False

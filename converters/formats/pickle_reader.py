"""Pickles read without unpickling, by our own interpreter: plain values and descriptions of tensors."""

import struct
from typing import Any, BinaryIO

from converters.errors import CheckpointError
from converters.formats.pickle_machine import PickleMachine, ReadStorage
from converters.formats.torch_pickle import Storage

# What opcodes in a senseless order lead to.
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, OverflowError, struct.error)


def read_pickle(
    file: BinaryIO, size: int = 0, read_storage: ReadStorage | None = None
) -> tuple[Any, dict[str, Storage]]:
    """Reads the pickle at the file's position, which is moved behind it; arguments as for `PickleMachine`.

    Returns:
        Its value, and the storages that it refers to, by key.

    Raises:
        CheckpointError: it is damaged, or names a global that attacks use.
    """
    machine = PickleMachine(file, size, read_storage)
    try:
        value = machine.run()
    except DAMAGE as error:
        _refuse_hostile(machine)
        raise CheckpointError(f"the pickle is damaged: {type(error).__name__}: {str(error)[:100]}") from error
    except CheckpointError:
        _refuse_hostile(machine)
        raise
    _refuse_hostile(machine)
    return value, machine.storages


def _refuse_hostile(machine: PickleMachine) -> None:
    """Names every hostile global, whatever else is wrong."""
    if machine.hostile:
        names = ", ".join(f"{name[:100]!r}" for name in list(machine.hostile)[:10])
        raise CheckpointError(
            f"names {names}, which no checkpoint needs and attacks use; refused, nothing was executed"
        )

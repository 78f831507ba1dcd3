"""Pickles read without unpickling, by our own interpreter: plain values and descriptions of tensors."""

import struct
from typing import Any, BinaryIO

from converters.errors import CheckpointError
from converters.formats.pickle_machine import PickleMachine
from converters.formats.torch_pickle import Storage, reason

RESAVE = "save only the weights where this file was made: torch.save(model.state_dict(), 'weights.pth')"
# What opcodes in a senseless order lead to.
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, OverflowError, struct.error)


def read_pickle(file: BinaryIO) -> tuple[Any, dict[str, Storage]]:
    """The value of the pickle at the file's position, which is moved behind it, and the storages it names.

    Raises:
        CheckpointError: it is damaged, or names a global that no state dict needs.
    """
    machine = PickleMachine(file)
    try:
        value = machine.run()
    except DAMAGE as error:
        _refuse(machine)
        raise CheckpointError(f"the pickle is damaged: {type(error).__name__}: {str(error)[:100]}") from error
    except CheckpointError:
        _refuse(machine)
        raise
    _refuse(machine)
    return value, machine.storages


def _refuse(machine: PickleMachine) -> None:
    """Names every global that was refused, whatever else is wrong."""
    if machine.is_module:
        name = next(iter(machine.refused), "its class")
        raise CheckpointError(f"holds a pickled module ({name}), no state dict; {RESAVE}")
    if machine.refused:
        names = ", ".join(f"{name[:100]!r}{reason(name)}" for name in list(machine.refused)[:10])
        raise CheckpointError(
            f"needs {names}, which no state dict does; refused, nothing was executed; {RESAVE}"
        )

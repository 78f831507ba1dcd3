"""Several processes of `jax.distributed`: the primary one, barriers between them, and how one ends."""

import atexit
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jax
import numpy as np

from zoo._errors import TrainingError


def is_primary() -> bool:
    """Returns whether this process is the one that writes and prints."""
    return jax.process_index() == 0


@contextmanager
def all_or_none() -> Iterator[None]:
    """Runs the block on every process; if it raises on one, all raise.

    Raises:
        TrainingError: another process refused.
    """
    if jax.process_count() == 1:
        yield
        return
    from jax.experimental import multihost_utils

    refused = True
    try:
        yield
        refused = False
    finally:
        all_refused = multihost_utils.process_allgather(np.array(refused))
    if all_refused.any():
        first = int(np.argmax(all_refused))
        raise TrainingError(f"process {first} of {jax.process_count()} refused; it says why.")


def from_primary(number: int) -> int:
    """Returns the primary process's number, on every process."""
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def leave_at_exit(code: int) -> None:
    """Ends this process with the code where Python ends, before JAX would wait for what still computes."""
    atexit.register(_leave, code)


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that write one directory.

    Attributes:
        distributed: If true, all of `jax.distributed`, which must make the same calls in order.
    """

    distributed: bool = False

    @property
    def is_primary(self) -> bool:
        """Returns whether this process does the work that only one may do."""
        return not self._several or is_primary()

    def token(self) -> str:
        """Returns a random name, the same in every process."""
        if not self._several:
            return secrets.token_hex(8)
        from jax.experimental import multihost_utils

        own = np.frombuffer(secrets.token_bytes(8), np.uint8)
        return bytes(np.asarray(multihost_utils.broadcast_one_to_all(own))).hex()

    def barrier(self, name: str) -> None:
        """Waits until every process has reached this point."""
        if self._several:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(name)

    @property
    def _several(self) -> bool:
        return self.distributed and jax.process_count() > 1

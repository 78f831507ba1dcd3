"""The processes that write one directory together: this one alone, or all that jax has."""

import secrets
from dataclasses import dataclass

import jax
import numpy as np


@dataclass(frozen=True)
class Crew:
    """Who writes; `together` are all processes, each of which makes the same calls in the same order."""

    together: bool = False

    @property
    def leads(self) -> bool:
        """Whether this process does what only one may do."""
        return not self._several or jax.process_index() == 0

    def token(self) -> str:
        """A name that nobody else has, the same in every process."""
        if not self._several:
            return secrets.token_hex(8)
        from jax.experimental import multihost_utils

        own = np.frombuffer(secrets.token_bytes(8), np.uint8)
        return bytes(np.asarray(multihost_utils.broadcast_one_to_all(own))).hex()

    def wait(self, what: str) -> None:
        """Until every process has come here."""
        if self._several:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(what)

    @property
    def _several(self) -> bool:
        return self.together and jax.process_count() > 1

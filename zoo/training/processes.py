"""Several processes of one run, on one host or many: how they join, and that none goes on alone."""

import atexit
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from zoo._errors import TrainingError

# Seconds until a process that says nothing is lost, for those that wait for it.
PATIENCE = 30


def join(place: str) -> None:
    """Makes this process one of several: "0/2@host:port", the first of two, the first being at that address.

    "auto" is for what JAX finds out by itself: Slurm, Open MPI, Kubernetes and TPUs.

    Raises:
        TrainingError: no such place, or JAX finds none.
    """
    found = re.fullmatch(r"(\d+)/(\d+)@(.+:\d+)", place, re.ASCII)
    if place != "auto" and not (found and int(found[1]) < int(found[2])):
        raise TrainingError(f"{place!r} is no place among processes; spell it 0/2@host:port, or auto.")
    known: dict[str, Any] = {}
    if found:
        index, count, address = found.groups()
        known = {"process_id": int(index), "num_processes": int(count), "coordinator_address": address}
    known |= {"heartbeat_timeout_seconds": PATIENCE, "shutdown_timeout_seconds": PATIENCE}
    try:
        jax.distributed.initialize(**known)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"{place!r} is no place among processes: {error}") from error


@contextmanager
def noticing() -> Iterator[None]:
    """Says so when another process is gone, which JAX finds out when it next waits for it.

    Raises:
        TrainingError: one is.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        # First of what is done in the end: JAX would wait for the other process, and then abort.
        atexit.register(_leave)
        raise TrainingError(
            f"another process of the run has ended or is out of reach ({str(error).splitlines()[0]}); "
            "start all of them again with --resume."
        ) from error


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


@contextmanager
def together() -> Iterator[None]:
    """What is done in the block, each process does, or all of them refuse.

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

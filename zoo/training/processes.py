"""Joins several processes of one run, on one host or many, and reports lost ones."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from zoo._errors import TrainingError
from zoo._processes import leave_at_exit

# Seconds until a process that says nothing is lost, for those that wait for it.
PATIENCE = 30


def join(place: str) -> None:
    """Makes this process one of the several processes of a run.

    Args:
        place: Index, count, and address of the first process: "0/2@host:port" is the first of two; or "auto"
            to let JAX detect them, under Slurm, Open MPI, Kubernetes and on TPUs.

    Raises:
        TrainingError: the place is malformed, or JAX detects none.
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
def report_lost_process() -> Iterator[None]:
    """Reports the loss of another process, which JAX notices when it next waits for it.

    Raises:
        TrainingError: a process was lost.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        # First of what is done in the end: JAX would wait for the other process, and then abort.
        leave_at_exit(1)
        raise TrainingError(
            f"another process of the run has ended or is out of reach ({str(error).splitlines()[0]}); "
            "start all of them again with --resume."
        ) from error

"""JAX's own failures, in one sentence: a platform that does not start, a device without enough memory."""

import os
import re
import sys
import traceback

UNSTARTED = re.compile(r"Unable to initialize backend '(\w+)': (.*?)(?: \(set JAX_PLATFORMS=.*)?$", re.DOTALL)
ON_CPU = "JAX_PLATFORMS=cpu computes on the processor"
FEWER = "give fewer or smaller inputs at a time, or choose a smaller model"


def trouble(error: BaseException) -> str | None:
    """Returns what failed and what to do, for an error that JAX's backend raised; None for all others."""
    if isinstance(error, MemoryError):
        return f"this machine's memory is not enough ({_line(error) or 'no more of it is free'}); {FEWER}."
    jax = sys.modules.get("jax")  # not imported, it has not failed
    if jax and isinstance(error, jax.errors.JaxRuntimeError):
        # Other codes are of programs, not of devices.
        code, _, said = _line(error).partition(": ")
        elsewhere = "" if jax.default_backend() == "cpu" else f", or {ON_CPU}"
        full = f"the memory of the device is not enough ({said.rstrip('.')}); {FEWER}{elsewhere}."
        return full if code == "RESOURCE_EXHAUSTED" else None
    if isinstance(error, RuntimeError) and (found := UNSTARTED.match(str(error))):
        platform, reason = found.groups()
        return f"JAX cannot start on {platform!r} ({' '.join(reason.split()).rstrip('.')}); {ON_CPU}."
    if isinstance(error, AssertionError) and _is_of_backends(error):
        asked = os.environ.get("JAX_PLATFORMS", "")
        return f"JAX finds no device of JAX_PLATFORMS={asked}; install its plugin for it, or {ON_CPU}."
    return None


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _is_of_backends(error: BaseException) -> bool:
    """Returns whether JAX raised it while it looked for devices: it has no text and no type of its own."""
    return any("xla_bridge" in frame.filename for frame in traceback.extract_tb(error.__traceback__))

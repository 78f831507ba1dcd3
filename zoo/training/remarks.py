"""Remarks of a run for the person who waits for it."""

import sys

from zoo._processes import is_primary


def say(text: str) -> None:
    """Prints a remark, from one process: to standard error, or in a notebook below the cell."""
    if is_primary():
        # A notebook shows standard error in red, as if something were wrong.
        stream = sys.stdout if "ipykernel" in sys.modules else sys.stderr
        print(f"zoo: {text}", file=stream, flush=True)

"""The `zoo` command."""

import signal


def main() -> None:
    """Runs the command line; the console script."""
    # Python's own handler raises, and JAX drops that while it is imported, and in a callback of the garbage
    # collection ever after. Until a verb runs, with a handler that knows this, a signal ends the process.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as in a shell's jobs in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from zoo.cli import app

    app.main()

"""The `zoo` command."""

import signal


def main() -> None:
    """Runs the command line; the console script."""
    # JAX loses a signal that comes while it is imported, which takes a second; one ends the process instead.
    known = signal.getsignal(signal.SIGINT)
    if known != signal.SIG_IGN:  # as in a shell's jobs in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from zoo.cli import app

    signal.signal(signal.SIGINT, known)
    app.main()

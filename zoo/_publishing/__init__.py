"""Publishing models to repositories on the Hub."""

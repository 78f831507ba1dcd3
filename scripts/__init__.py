"""For maintainers; no part of the wheel."""

"""A module's variables: shapes, casts, placement."""

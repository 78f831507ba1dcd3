"""Uses of a loaded model."""

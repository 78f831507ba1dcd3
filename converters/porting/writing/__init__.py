"""Classes of Flax, written as text."""

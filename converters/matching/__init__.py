"""Which tensors make which arrays."""

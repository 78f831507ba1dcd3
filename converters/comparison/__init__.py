"""Two models, layer by layer."""

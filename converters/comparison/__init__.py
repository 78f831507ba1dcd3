"""Compares two models, layer by layer."""

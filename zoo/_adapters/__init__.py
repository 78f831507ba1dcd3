"""Adapters of PEFT: low-rank changes to a model's weights, merged into them, or trained."""

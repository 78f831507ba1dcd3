"""Decoder-only language model."""

from zoo.gpt2.model import *  # noqa: F403

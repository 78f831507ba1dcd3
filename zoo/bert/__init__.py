"""Encoders of text."""

from zoo.bert.model import *  # noqa: F403

"""Vision transformers."""

from zoo.vit.model import *  # noqa: F403

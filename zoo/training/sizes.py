"""Former name of `zoo.training.estimate`, kept for one version."""

from zoo.training.estimate import Sizes, sizes

__all__ = ["Sizes", "sizes"]

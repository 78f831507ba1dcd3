"""Pretrained Flax (linen) models by name: `zoo.load("vae_mnist", pretrained=True)`."""

import lazy_loader

from zoo import _package

# Each name is imported when it is first used: JAX and Flax take a second.
__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = _package.VERSION


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

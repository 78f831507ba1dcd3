"""PyTorch checkpoints into Flax variables, exactly, and back. Needs no PyTorch."""

import lazy_loader

# Each name is imported when it is first used: JAX and Flax take a second.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

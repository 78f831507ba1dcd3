"""Linen modules as NNX ones: real submodules that run the linen classes' own code."""

"""Copies of a module that have not run yet."""

import copy
from typing import Any

import torch


def fresh(module: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy whose caches are empty.

    LeViT and its kin keep their attention biases from the first call in eval mode; a trace that meets them
    would take them for constants, whatever the weights are.
    """
    emptied: dict[int, Any] = {
        id(each): type(each)()
        for part in module.modules()
        for name, each in vars(part).items()
        if "cache" in name and isinstance(each, dict)
        if all(isinstance(value, torch.Tensor) for value in each.values())
    }
    return copy.deepcopy(module, emptied)

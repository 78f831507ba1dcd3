"""What PyTorch has between the layers of a list: functions, which have no arrays."""

import ast
from typing import Any

from torch import nn

PLAIN: dict[type, str] = {
    nn.ReLU: "nn.relu",
    nn.ReLU6: "nn.relu6",
    nn.SiLU: "nn.silu",
    nn.Sigmoid: "nn.sigmoid",
    nn.Tanh: "nn.tanh",
    nn.Hardswish: "nn.hard_swish",
    nn.Hardsigmoid: "nn.hard_sigmoid",
    nn.Identity: "nn.identity",
}


def between(modules: list[Any], path: str) -> ast.expr | None:
    """Returns what stands at a place in all of the torch modules of a class; None if it is no function.

    Args:
        modules: The torch modules.
        path: Name of the place in each of them.
    """
    found = {_function(each, path) for each in modules}
    only = found.pop()
    return ast.parse(only, mode="eval").body if only and not found else None


def _function(module: Any, path: str) -> str:
    try:
        part = module.get_submodule(path)
    except AttributeError:
        return ""
    if isinstance(part, nn.GELU):
        return f"partial(nn.gelu, approximate={part.approximate == 'tanh'})"
    if isinstance(part, nn.Dropout):
        return "" if part.p else "nn.identity"
    return PLAIN.get(type(part), "")

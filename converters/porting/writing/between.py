"""Functions that PyTorch has between the layers of a list, without arrays of their own."""

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
    if isinstance(part, nn.MaxPool2d | nn.AvgPool2d):
        return _pool(part)
    return PLAIN.get(type(part), "")


def _pool(part: Any) -> str:
    """Returns a pool without padding."""
    window, strides = (each if isinstance(each, tuple) else (each,) * 2 for each in _sizes(part))
    if part.padding not in (0, (0, 0)) or part.ceil_mode or getattr(part, "dilation", 1) not in (1, (1, 1)):
        return ""
    name = "max_pool" if isinstance(part, nn.MaxPool2d) else "avg_pool"
    return f"partial(nn.{name}, window_shape={window}, strides={strides})"


def _sizes(part: Any) -> tuple[Any, Any]:
    return part.kernel_size, part.stride

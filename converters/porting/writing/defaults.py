"""Keywords of layers that have a default: said while classes are compared, left out of what is written."""

import ast
import re
from collections.abc import Mapping
from typing import Any

from converters.porting.expressions import marked
from converters.porting.writing.trees import dotted, text

DEFAULTS: dict[str, dict[str, Any]] = {
    "nn.Conv": {"strides": 1, "kernel_dilation": 1, "feature_group_count": 1, "use_bias": True},
    "nn.ConvTranspose": {"use_bias": True},
    "nn.Dense": {"use_bias": True},
    "nn.LayerNorm": {"use_bias": True, "use_scale": True},
    "BatchNorm": {"momentum": 0.9, "epsilon": 1e-05, "use_bias": True, "use_scale": True},
}
FIRST = ("features", "out_features", "out_channels", "channels")  # of the fields of a class
# The order in which a person gives keywords.
ORDER = (
    "strides",
    "padding",
    "kernel_dilation",
    "feature_group_count",
    "momentum",
    "epsilon",
    "use_bias",
    "use_scale",
)


def completed(node: ast.AST) -> None:
    """Adds the keywords that calls in a tree leave at their default."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and (known := DEFAULTS.get(dotted(each.func))) is not None:
            given = {keyword.arg for keyword in each.keywords}
            for name, value in known.items():
                if name not in given:
                    each.keywords.append(ast.keyword(arg=name, value=ast.Constant(value=value)))
            for keyword in each.keywords:
                marked(keyword.value, role=keyword.arg)
                if keyword.arg in known and isinstance(keyword.value, ast.Constant):
                    marked(keyword.value, default=known[keyword.arg])
            each.keywords.sort(key=lambda keyword: (_place(keyword.arg), given and keyword.arg == "name"))


def _place(name: str | None) -> int:
    return ORDER.index(name) if name in ORDER else (len(ORDER) + (name == "name"))


def trimmed(node: ast.AST, more: Mapping[str, Mapping[str, Any]]) -> None:
    """Leaves out the keywords that are at their default, and that of what a class is given first.

    Args:
        node: The tree.
        more: Defaults of classes of the file.
    """
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            name = dotted(each.func)
            known = DEFAULTS.get(name) or more.get(name) or {}
            each.keywords = [keyword for keyword in each.keywords if not _default(keyword, known)]
            if name in more and not each.args and each.keywords and _is_first(each.keywords[0], known):
                each.args = [each.keywords.pop(0).value]
            if name == "nn.Conv" and _is_pointwise(each):  # which Flax's "SAME" does not pad
                each.keywords = [keyword for keyword in each.keywords if not _unpadded(keyword)]


def _is_first(keyword: ast.keyword, known: Mapping[str, Any]) -> bool:
    """Returns whether a keyword is the features that a class gives, which Flax's layers are given first."""
    return keyword.arg in FIRST and keyword.arg not in known


def _is_pointwise(call: ast.Call) -> bool:
    """Returns whether the kernel of a convolution is of ones."""
    kernel = text(call.args[1]) if len(call.args) > 1 else ""
    return re.fullmatch(r"\((1, ?)*1?\)", kernel) is not None


def _unpadded(keyword: ast.keyword) -> bool:
    return keyword.arg == "padding" and text(keyword.value) == "0"


def _default(keyword: ast.keyword, known: Mapping[str, Any]) -> bool:
    if keyword.arg is None or keyword.arg not in known:
        return False
    default = known[keyword.arg]
    value = keyword.value.value if isinstance(keyword.value, ast.Constant) else text(keyword.value)
    return type(value) is type(default) and bool(value == default)

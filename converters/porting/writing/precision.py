"""The field `dtype`: the type of numbers that a module computes in, whatever its parameters have."""

import ast
from collections.abc import Sequence, Set

from converters.porting.expressions import expression
from converters.porting.writing.trees import dotted

NAME = "dtype"
FIELD = f"{NAME}: DTypeLike | None = None"
LAYERS = {  # that have such a field
    *("nn.Conv", "nn.ConvTranspose", "nn.Dense", "nn.Embed", "nn.MultiHeadDotProductAttention"),
    *("BatchNorm", "nn.LayerNorm", "nn.GroupNorm", "nn.InstanceNorm", "nn.RMSNorm"),
    *("nn.OptimizedLSTMCell", "nn.GRUCell", "nn.SimpleCell", "Recurrent"),
}
# Functions whose first two arrays have one type.
STRICT = ("jax.lax.conv_general_dilated", "conv_transpose")


def typed(statements: Sequence[ast.stmt], classes: Set[str]) -> bool:
    """Hands the field on to the layers in statements; returns whether there are any.

    Args:
        statements: Of a class.
        classes: Names of the file's own classes that have the field.
    """
    change = _Typing({*LAYERS, *classes})
    for each in statements:
        change.visit(each)
    return change.found


class _Typing(ast.NodeTransformer):
    def __init__(self, layers: Set[str]) -> None:
        self._layers = layers
        self.found = False

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name = ast.unparse(node.func) if isinstance(node.func, ast.Attribute) else dotted(node.func)
        if name in self._layers:
            self.found = True
            keyword = ast.keyword(arg="dtype", value=expression("self.dtype"))
            named = next((at for at, each in enumerate(node.keywords) if each.arg == "name"), None)
            node.keywords.insert(len(node.keywords) if named is None else named, keyword)
        elif name == "self.param":
            self.found = True
            return expression("jnp.asarray(x, self.dtype)", x=node)
        elif name in STRICT:
            self.found = True
            node.args[:2] = [expression("jnp.asarray(x, self.dtype)", x=each) for each in node.args[:2]]
        return node

"""Attention, and products of matrices with a sum."""

import ast
import math
from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, plain
from converters.porting.expressions import expression, unless
from converters.porting.functions.elementwise import binary
from converters.porting.graph import Operation, Value, bound

HEADS = (0, 2, 1, 3)  # (batch, length, heads, features), as Flax's attention


def scaled_dot_product_attention(e: Emitter, op: Operation) -> Result:
    """Writes torch's attention as Flax's, with the axis of the heads after that of the length."""
    g = _arguments(op)
    q, k, v, mask = g["query"], g["key"], g["value"], g["attn_mask"]
    order = HEADS if q.ndim == 4 else plain(q.ndim)
    query, key, value = (_heads(e, each) for each in (q, k, v))
    scale = g["scale"]
    usual = scale is None or math.isclose(scale, q.shape[-1] ** -0.5, rel_tol=1e-6)
    if not usual:
        query = expression("q * s", q=query, s=scale * math.sqrt(q.shape[-1]))
    if q.ndim == 4 and k.shape[-3] != q.shape[-3]:  # with enable_gqa, or one head for all
        times = q.shape[-3] // k.shape[-3]
        key, value = (expression("jnp.repeat(x, n, axis=2)", x=x, n=times) for x in (key, value))
    rate = _arguments(op.trained or op)["dropout_p"]
    before = 0.0 if op.trained is op else g["dropout_p"]  # of eval mode
    if before and before != rate:
        raise ConversionError(f"{e.where}attention drops {before:g} in eval mode, and {rate:g} in training.")
    e.code.uses_train |= rate != before
    made = expression(
        "nn.dot_product_attention(q, k, v, bias=b, mask=m, broadcast_dropout=p, dropout_rng=r, "
        "dropout_rate=d, deterministic=t)",
        q=query,
        k=key,
        v=value,
        b=unless(mask is None or mask.dtype == "bool", _over_heads(e, q, mask)),
        m=unless(not g["is_causal"] and (mask is None or mask.dtype != "bool"), _mask(e, g)),
        p=unless(not rate, False),  # noqa: FBT003 - the value of a keyword
        r=unless(not rate, expression('self.make_rng("dropout")' + " if train else None" * (not before))),
        d=unless(not rate, rate),
        t=unless(not rate, expression("False" if before else "not train")),
    )
    return made if q.ndim == 4 else expression("x[..., 0, :]", x=made), order


def _arguments(op: Operation) -> dict[str, Any]:
    return bound(
        op, "query key value attn_mask=None dropout_p=0.0 is_causal=False scale=None enable_gqa=False"
    )


def _heads(e: Emitter, x: Value) -> ast.expr:
    """Returns (batch, length, heads, features); without heads, they are one."""
    if x.ndim == 4:
        return e.get(x, HEADS)
    return expression("x[..., None, :]", x=e.plain(x))


def _mask(e: Emitter, g: dict[str, Any]) -> ast.expr | None:
    q, mask = g["query"], g["attn_mask"]
    if g["is_causal"]:
        rows, columns = (expression("x.shape[i]", x=_heads(e, g[name]), i=-3) for name in ("query", "key"))
        return expression("jnp.tri(rows, columns, dtype=bool)", rows=rows, columns=columns)
    return _over_heads(e, q, mask) if mask is not None and mask.dtype == "bool" else None


def _over_heads(e: Emitter, q: Value, mask: Value | None) -> ast.expr | None:
    """Returns a mask that broadcasts to (batch, heads, queries, keys)."""
    if mask is None:
        return None
    return expression("x[:, None]", x=e.plain(mask)) if q.ndim == mask.ndim == 3 else e.plain(mask)


PRODUCT = {  # torch's names of the two factors
    **dict.fromkeys(("batch1", "mat1", "mat", "tensor1"), "a"),
    **dict.fromkeys(("batch2", "mat2", "vec", "tensor2"), "b"),
    "value": "alpha",
    "input": "x",
}


def _renamed(op: Operation) -> Operation:
    keywords = {PRODUCT.get(name, name): each for name, each in op.keywords.items()}
    return Operation(function=op.function, arguments=op.arguments, keywords=keywords)


def with_product(template: str, product: str) -> Handler:
    """Returns the handler of beta * x + alpha * (a @ b)."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(_renamed(op), "x a b beta=1 alpha=1")
        made = expression(product, a=e.plain(g["a"]), b=e.plain(g["b"]))
        if g["alpha"] != 1:
            made = expression("s * y", s=g["alpha"], y=made)
        if g["beta"] == 0:
            return made, plain(op.output.ndim)
        x = e.plain(g["x"])
        if g["beta"] != 1:
            x = expression("s * x", s=g["beta"], x=x)
        return expression(template, x=x, y=made), plain(op.output.ndim)

    return handler


def einsum(e: Emitter, op: Operation) -> Result:
    """Writes einsum; its operands stay in the order in which they lie, with their letters moved."""
    equation, *operands = op.arguments
    if operands and isinstance(operands[0], tuple | list):
        operands = list(operands[0])
    equation = equation.replace(" ", "")
    if "..." not in equation and all(
        len(p) == x.ndim for p, x in zip(_inputs(equation), operands, strict=True)
    ):
        parts = [
            "".join(p[axis] for axis in e.order(x)) for p, x in zip(_inputs(equation), operands, strict=True)
        ]
        out = equation.split("->")[1] if "->" in equation else _implied(parts)
        equation = f"{','.join(parts)}->{out}"
        arrays = [e.get(x) for x in operands]
    else:
        arrays = [e.plain(x) for x in operands]
    made = expression("jnp.einsum(e)", e=equation)
    assert isinstance(made, ast.Call)
    made.args += arrays
    return made, plain(op.output.ndim)


def _inputs(equation: str) -> list[str]:
    return equation.split("->")[0].split(",")


def _implied(parts: list[str]) -> str:
    """Returns the axes of a result that is not given: letters that are there once, in alphabetical order."""
    letters = "".join(parts)
    return "".join(sorted(each for each in letters if letters.count(each) == 1))


def outer(e: Emitter, op: Operation) -> Result:
    """Writes the products of all pairs of two vectors' numbers."""
    return expression("jnp.outer(a, b)", a=e.plain(op.arguments[0]), b=e.plain(op.arguments[1])), plain(2)


FUNCTIONS: dict[str, Handler] = {
    "scaled_dot_product_attention": scaled_dot_product_attention,
    **dict.fromkeys(("baddbmm", "addmm"), with_product("x + y", "a @ b")),
    "addmv": with_product("x + y", "a @ b"),
    "einsum": einsum,
    **dict.fromkeys(("outer", "ger"), outer),
    **dict.fromkeys(("mm", "mv", "dot"), binary("a @ b")),
}

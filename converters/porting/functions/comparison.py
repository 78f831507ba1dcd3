"""Comparisons, logic, and choices between numbers."""

from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import DROP, expression
from converters.porting.functions.elementwise import binary, together, unary
from converters.porting.graph import Operation, Value, bound


def choice(names: str, template: str) -> Handler:
    """Returns the handler of a function of three operands that are broadcast."""

    def handler(e: Emitter, op: Operation) -> Result:
        given = bound(op, names)
        parts, order = together(e, list(given.values()))
        return expression(template, **dict(zip(given, parts, strict=True))), order

    return handler


def clamp(e: Emitter, op: Operation) -> Result:
    """Writes bounds below and above, of which one may be missing."""
    g = bound(op, "x min=None max=None")
    limits = {name: g[name] for name in ("min", "max") if g[name] is not None}
    parts, order = together(e, [g["x"], *limits.values()])
    made = dict(zip(limits, parts[1:], strict=True))
    return expression(
        "jnp.clip(x, min=low, max=high)", x=parts[0], low=made.get("min", DROP), high=made.get("max", DROP)
    ), order


def invert(e: Emitter, op: Operation) -> Result:
    """Writes the negation of a boolean, or of the bits of an integer."""
    x = op.arguments[0]
    return expression("~x", x=e.get(x)), e.order(x)


def logical_not(e: Emitter, op: Operation) -> Result:
    """Writes the negation of a truth value."""
    x: Value = op.arguments[0]
    return expression("~x" if x.dtype == "bool" else "x == 0", x=e.get(x)), e.order(x)


def extreme(name: str) -> Handler:
    """Returns the handler of the larger or smaller of two arrays; of one, it is a reduction."""
    pair = binary(f"jnp.{name}imum(a, b)")

    def handler(e: Emitter, op: Operation) -> Result:
        made: Result = pair(e, op)
        return made

    return handler


COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
ALSO = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "not_equal": "!="}
LOGIC = {"and": "&", "or": "|", "xor": "^"}

FUNCTIONS: dict[str, Handler] = {
    **{name: binary(f"a {symbol} b") for name, symbol in {**COMPARISONS, **ALSO}.items()},
    **{f"__{name}__": binary(f"a {symbol} b") for name, symbol in COMPARISONS.items()},
    **{
        form.format(name): binary(f"a {symbol} b")
        for name, symbol in LOGIC.items()
        for form in ("__{}__", "__r{}__", "__i{}__", "bitwise_{}")
    },
    **{f"logical_{name}": binary(f"jnp.logical_{name}(a, b)") for name in LOGIC},
    "logical_not": logical_not,
    **dict.fromkeys(("__invert__", "bitwise_not"), invert),
    "maximum": extreme("max"),
    "minimum": extreme("min"),
    "where": choice("condition input other", "jnp.where(condition, input, other)"),
    **dict.fromkeys(("masked_fill", "masked_fill_"), choice("x mask value", "jnp.where(mask, value, x)")),
    **dict.fromkeys(("clamp", "clamp_", "clip"), clamp),
    "clamp_min": choice("x min", "jnp.maximum(x, min)"),
    "clamp_max": choice("x max", "jnp.minimum(x, max)"),
    "isnan": unary("jnp.isnan(x)"),
    "isinf": unary("jnp.isinf(x)"),
    "isfinite": unary("jnp.isfinite(x)"),
    "nan_to_num": unary("jnp.nan_to_num(x)"),
}

"""Random numbers, from the streams that Flax gives to a module."""

import ast
from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, plain
from converters.porting.expressions import DROP, expression
from converters.porting.graph import Operation, Value, bound

NOISE, DROPOUT = "noise", "dropout"  # names of the streams


def _drawn(e: Emitter, template: str, stream: str, **parts: Any) -> ast.expr:
    e.code.uses_random = True
    return expression(template.replace("KEY", f'self.make_rng("{stream}")'), **parts)


def created(name: str) -> Handler:
    """Writes numbers of a shape that is given."""

    def handler(e: Emitter, op: Operation) -> Result:
        shape = op.keywords.get("size", [each for each in op.arguments if not isinstance(each, Value)])
        shape = shape[0] if shape and isinstance(shape[0], tuple | list) else shape
        sizes = tuple(e.size(each) for each in shape)
        return _drawn(e, f"jax.random.{name}(KEY, s)", NOISE, s=sizes), plain(len(sizes))

    return handler


def like(name: str) -> Handler:
    """Writes numbers in the shape of another array."""

    def handler(e: Emitter, op: Operation) -> Result:
        x = op.arguments[0] if op.arguments else op.keywords["input"]
        return _drawn(e, f"jax.random.{name}(KEY, x.shape, x.dtype)", NOISE, x=e.get(x)), e.order(x)

    return handler


def normal(e: Emitter, op: Operation) -> Result:
    """Writes `x.normal_(mean, std)`."""
    g = bound(op, "x mean=0.0 std=1.0 generator=None")
    made = _drawn(e, "jax.random.normal(KEY, x.shape, x.dtype)", NOISE, x=e.get(g["x"]))
    if g["std"] != 1:
        made = expression("x * s", x=made, s=e.tree(g["std"]))
    if g["mean"] != 0:
        made = expression("x + m", x=made, m=e.tree(g["mean"]))
    return made, e.order(g["x"])


def normal_of(e: Emitter, op: Operation) -> Result:
    """Writes `torch.normal(mean, std)` of arrays."""
    g = bound(op, "mean std=1.0 generator=None size=None")
    whole = next((each for each in (g["mean"], g["std"]) if isinstance(each, Value)), None)
    if whole is None or g["size"] is not None:
        raise ConversionError(f"{e.where}torch.normal of numbers; use torch.randn")
    made = _drawn(e, "jax.random.normal(KEY, x.shape, x.dtype)", NOISE, x=e.get(whole))
    order = e.order(whole)
    parts = [
        e.get(each, order) if isinstance(each, Value) else e.tree(each) for each in (g["mean"], g["std"])
    ]
    return expression("m + s * x", m=parts[0], s=parts[1], x=made), order


def uniform(e: Emitter, op: Operation) -> Result:
    """Writes `x.uniform_(low, high)`."""
    g = bound(op, "x low=0.0 high=1.0 generator=None")
    x = e.get(g["x"])
    return _drawn(
        e,
        "jax.random.uniform(KEY, x.shape, x.dtype, minval=a, maxval=b)",
        NOISE,
        x=x,
        a=g["low"] if g["low"] else DROP,
        b=g["high"] if g["high"] != 1 else DROP,
    ), e.order(g["x"])


def bernoulli(e: Emitter, op: Operation) -> Result:
    """Writes what is kept with a probability: `x.bernoulli_(p)`, or of the probabilities in `x`."""
    g = bound(op, "x p=None generator=None")
    x, p = g["x"], g["p"]
    chance = e.get(x) if p is None else e.tree(p)
    shape = expression("x.shape", x=e.get(x))
    made = _drawn(e, "jax.random.bernoulli(KEY, p, s)", DROPOUT, p=chance, s=shape)
    return expression("b.astype(x.dtype)", b=made, x=e.get(x)), e.order(x)


FUNCTIONS: dict[str, Handler] = {
    "rand": created("uniform"),
    "randn": created("normal"),
    "rand_like": like("uniform"),
    "randn_like": like("normal"),
    "normal_": normal,
    "normal": normal_of,
    "uniform_": uniform,
    **dict.fromkeys(("bernoulli", "bernoulli_"), bernoulli),
}

"""Losses that modules compute in their own forward, as autoencoders do, and what has no gradients in them."""

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, input_of
from converters.porting.expressions import expression
from converters.porting.functions.elementwise import together
from converters.porting.graph import Operation, bound

NAMES = "input target size_average=None reduce=None reduction='mean' weight=None"
REDUCED = {"none": "loss", "mean": "jnp.mean(loss)", "sum": "jnp.sum(loss)"}


def loss(template: str) -> Handler:
    """Returns the handler of a loss of two arrays, `a` and `b` in the template."""

    def handler(e: Emitter, op: Operation) -> Result:
        given = bound(op, NAMES)
        if any(given[name] is not None for name in ("size_average", "reduce", "weight")):
            raise ConversionError(f"{e.where}{op.function} with size_average, reduce or weight")
        (a, b), order = together(e, [given["input"], given["target"]])
        made = expression(REDUCED[given["reduction"]], loss=expression(template, a=a, b=b))
        return made, order if given["reduction"] == "none" else ()

    return handler


def detach(e: Emitter, op: Operation) -> Result:
    """Stops gradients, which only floating-point numbers have."""
    x = input_of(op)
    return (expression("jax.lax.stop_gradient(x)", x=e.get(x)) if x.floating else e.get(x)), e.order(x)


FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(("detach", "data"), detach),
    "mse_loss": loss("(a - b) ** 2"),
    "l1_loss": loss("jnp.abs(a - b)"),
}

"""Arrays made of nothing but their shape."""

from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    plain,
)
from converters.porting.expressions import expression
from converters.porting.graph import Operation, Value


def new_zeros(value: float) -> Handler:
    def handler(e: Emitter, op: Operation) -> Result:
        shape = [each for each in op.arguments if not isinstance(each, Value)]
        shape = shape[0] if shape and isinstance(shape[0], tuple | list) else shape
        return expression("jnp.full(s, v)", s=tuple(e.size(n) for n in shape), v=value), plain(op.output.ndim)

    return handler


FUNCTIONS: dict[str, Handler] = {
    **{name: new_zeros(0.0) for name in ("new_zeros", "zeros")},
}

"""Fourier transforms."""

from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import expression, unless
from converters.porting.graph import Operation, Value, bound


def transform(name: str) -> Handler:
    """Returns the handler of a function of numpy.fft, which torch's has the name of."""
    several = name.endswith(("2", "n"))
    default = (-2, -1) if name.endswith("2") else None if several else -1

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, "x n=None dim=() norm=None")
        g["dim"] = default if g["dim"] == () else g["dim"]
        x: Value = g["x"]
        dims = g["dim"]
        if dims is None:
            dims = tuple(range(x.ndim)) if g["n"] is None else tuple(range(-len(g["n"]), 0))
        order = e.order(x)
        places = [order.index(dim % x.ndim) for dim in (dims if several else (dims,))]
        keyword, axes = ("axes", tuple(places)) if several else ("axis", places[0])
        size = e.tree(tuple(g["n"]) if several and g["n"] is not None else g["n"])
        return expression(
            f"jnp.fft.{name}(x, {'s' if several else 'n'}=k, {keyword}=a, norm=m)",
            x=e.get(x),
            k=unless(g["n"] is None, size),
            a=axes,
            m=unless(g["norm"] is None, g["norm"]),
        ), order

    return handler


def shift(name: str) -> Handler:
    """Returns the handler of a move of the zero frequency to the middle, or back."""

    def handler(e: Emitter, op: Operation) -> Result:
        g = bound(op, "x dim=None")
        x = g["x"]
        dims = g["dim"] if isinstance(g["dim"], tuple | list) else [g["dim"]]
        axes = tuple(e.order(x).index(dim % x.ndim) for dim in dims if dim is not None)
        return expression(f"jnp.fft.{name}(x, axes=a)", x=e.get(x), a=unless(not axes, axes)), e.order(x)

    return handler


FUNCTIONS: dict[str, Handler] = {
    **{
        f"fft_{name}": transform(name)
        for kind in ("fft", "ifft", "rfft", "irfft")
        for name in (kind, f"{kind}2", f"{kind}n")
    },
    **{f"fft_{name}": shift(name) for name in ("fftshift", "ifftshift")},
}

"""Layers of other packages than torch, where their arithmetic on sizes would be taken for constants."""

import sys
from collections.abc import Callable

from converters.porting.emit import Emitter, Handler, Result, channels_last, input_of
from converters.porting.expressions import expression, unless
from converters.porting.functions.convolution import biased, of_kernel
from converters.porting.functions.pooling import each
from converters.porting.graph import Operation, Value
from converters.porting.layers.convolution import conv


def same_conv(e: Emitter, op: Operation) -> Result:
    """Writes a convolution whose padding depends on the image's size, as TensorFlow's does."""
    return conv(e, op, padding="SAME")


def same_pool(name: str) -> Handler:
    """Returns the handler of a pool that pads likewise."""

    def handler(e: Emitter, op: Operation) -> Result:
        m, x = op.module, input_of(op)
        order = channels_last(4)
        strides = each(m.stride, 2)
        return expression(
            f"nn.{name}(x, window_shape, strides=s, padding='SAME')",
            x=e.get(x, order),
            window_shape=each(m.kernel_size, 2),
            s=unless({*strides} == {1}, strides),
        ), order

    return handler


def standardized_conv(e: Emitter, op: Operation) -> Result:
    """Writes a convolution with kernels of mean 0 and variance 1, or of a gain, that pads likewise."""
    m, x = op.module, input_of(op)
    padding = "SAME" if m.same_pad else tuple((pad, pad) for pad in each(m.padding, 2))
    kernel = expression(
        "nn.standardize(w, axis=a, variance=w.var(a, keepdims=True), epsilon=e)",
        w=e.plain(_own(op, "weight")),
        a=(1, 2, 3),
        e=m.eps,
    )
    if hasattr(m, "gain"):
        kernel = expression("k * (g * s)", k=kernel, g=e.plain(_own(op, "gain")), s=m.scale)
    made = of_kernel(e, x, kernel, {**vars(m), "padding": padding})
    return biased(e, made, None if m.bias is None else _own(op, "bias")), channels_last(4)


def _own(op: Operation, name: str) -> Value:
    """Returns an array of a layer as one of the module that calls it."""
    shape = tuple(getattr(op.module, name).shape)
    return Value(shape=shape, dtype="float32", other_shape=shape, parameter=f"{op.path}.{name}")


LAYERS: dict[str, dict[str, Callable[..., Result]]] = {  # module of the package -> class -> handler
    "timm.layers.conv2d_same": {"Conv2dSame": same_conv},
    "timm.layers.std_conv": {
        "StdConv2dSame": standardized_conv,
        "ScaledStdConv2dSame": standardized_conv,
    },
    "timm.layers.pool2d_same": {
        "MaxPool2dSame": same_pool("max_pool"),
        "AvgPool2dSame": same_pool("avg_pool"),
    },
}


def imported() -> dict[type, Handler]:
    """Returns the handlers of the classes whose packages are imported."""
    found: dict[type, Handler] = {}
    for package, handlers in LAYERS.items():
        module = sys.modules.get(package)
        for name, handler in handlers.items():
            kind = getattr(module, name, None)
            if kind is not None:
                found[kind] = handler
    return found

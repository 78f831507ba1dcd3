"""Layers of other packages than torch, where their arithmetic on sizes would be taken for constants."""

import sys
from collections.abc import Callable

from converters.porting.emit import Emitter, Handler, Result, channels_last, input_of
from converters.porting.expressions import expression, unless
from converters.porting.functions.pooling import each
from converters.porting.graph import Operation
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


LAYERS: dict[str, dict[str, Callable[..., Result]]] = {  # module of the package -> class -> handler
    "timm.layers.conv2d_same": {"Conv2dSame": same_conv},
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

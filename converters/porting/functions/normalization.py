"""Normalization with arrays of the module that calls it, or without arrays."""

import ast
from collections.abc import Mapping
from typing import Any

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, channels_last, last, plain
from converters.porting.expressions import expression, unless
from converters.porting.functions.modes import OPPOSITE, mode
from converters.porting.functions.owners import owner
from converters.porting.graph import Operation, Value, bound

NAMES = "x running_mean running_var weight=None bias=None training=False momentum=0.1 eps=1e-5"


def averaged(e: Emitter, op: Operation, trains: str) -> ast.expr:
    """Returns the expression that is true where a batch norm uses its running statistics.

    Args:
        e: The emitter.
        op: The call of it.
        trains: As from `mode`.
    """
    if trains == "True":
        raise ConversionError(
            f"{e.where}{op.function} uses the statistics of the batch in eval mode, too, and changes its own."
        )
    e.code.uses_train |= trains == "train"
    return expression(OPPOSITE[trains])


def batch_norm(e: Emitter, op: Operation) -> Result:
    """Writes torch.nn.functional.batch_norm: a layer, or the formula where the arrays are no layer's."""
    g = bound(op, NAMES)
    x = g["x"]
    name = owner(
        e,
        nn.modules.batchnorm._BatchNorm,
        running_mean=g["running_mean"],
        running_var=g["running_var"],
        weight=g["weight"],
        bias=g["bias"],
    )
    if name is not None:
        order = channels_last(x.ndim) if x.ndim > 2 else plain(2)
        return expression(
            "BatchNorm(momentum=m, epsilon=e, use_bias=b, use_scale=a, name=n)(x, use_running_average=r)",
            r=averaged(e, op, mode(e, op, lambda op: bool(bound(op, NAMES)["training"]))),
            m=unless(g["momentum"] == 0.1, round(1 - g["momentum"], 12)),
            e=unless(g["eps"] == 1e-5, g["eps"]),
            b=unless(g["bias"] is not None, value=False),
            a=unless(g["weight"] is not None, value=False),
            n=name,
            x=e.get(x, order),
        ), order
    return scaled(e, _standardized(e, g), g["weight"], g["bias"], x), e.order(x)


def _standardized(e: Emitter, g: Mapping[str, Any]) -> ast.expr:
    """Returns the formula of a batch norm without weight and bias, of its arguments."""
    x = g["x"]
    axis = e.axis(x, 1)
    axes = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    if g["training"] and g["running_mean"] is None:
        return expression(
            "nn.standardize(x, axis=a, variance=x.var(a, keepdims=True), epsilon=e)",
            x=e.get(x),
            a=axes[0] if len(axes) == 1 else axes,
            e=g["eps"],
        )
    if g["training"]:
        raise ConversionError(f"{e.where}batch_norm changes statistics that are no layer's.")
    return expression(
        "(x - m) * jax.lax.rsqrt(v + e)",
        x=e.get(x),
        m=along(e, g["running_mean"], x),
        v=along(e, g["running_var"], x),
        e=g["eps"],
    )


def scaled(e: Emitter, made: ast.expr, weight: Value | None, bias: Value | None, x: Value) -> ast.expr:
    """Returns the expression times a weight plus a bias, which have one number for each channel of `x`."""
    if weight is not None:
        made = expression("y * w", y=made, w=along(e, weight, x))
    return made if bias is None else expression("y + b", y=made, b=along(e, bias, x))


def along(e: Emitter, vector: Value, x: Value) -> ast.expr:
    """Returns an array of one axis so that it lies along the channels of another."""
    behind = x.ndim - 1 - e.order(x).index(1)
    index = ", ".join([":", *["None"] * behind])
    return expression(f"v[{index}]", v=e.plain(vector)) if behind else e.plain(vector)


def layer_norm(e: Emitter, op: Operation) -> Result:
    """Writes torch.nn.functional.layer_norm."""
    g = bound(op, "x normalized_shape weight=None bias=None eps=1e-5")
    x, weight, bias = g["x"], g["weight"], g["bias"]
    count = len(g["normalized_shape"])
    order = (*(axis for axis in e.order(x) if axis < x.ndim - count), *range(x.ndim - count, x.ndim))
    axes = tuple(range(-count, 0)) if count > 1 else -1
    name = owner(e, nn.LayerNorm, weight=weight, bias=bias)
    if name is not None:
        return expression(
            "nn.LayerNorm(epsilon=e, use_bias=b, use_scale=a, reduction_axes=r, feature_axes=r, "
            "use_fast_variance=False, name=n)(x)",
            e=g["eps"],
            b=unless(bias is not None, value=False),
            a=unless(weight is not None, value=False),
            r=unless(count == 1, axes),
            n=name,
            x=e.get(x, order),
        ), order
    made = expression(
        "nn.standardize(x, axis=a, variance=x.var(r, keepdims=True), epsilon=e)",
        x=e.get(x, order),
        a=unless(count == 1, axes),
        r=axes,
        e=g["eps"],
    )
    if weight is not None:
        made = expression("y * w", y=made, w=e.plain(weight))
    return (expression("y + b", y=made, b=e.plain(bias)) if bias is not None else made), order


def group_norm(e: Emitter, op: Operation) -> Result:
    """Writes torch.nn.functional.group_norm."""
    g = bound(op, "x num_groups weight=None bias=None eps=1e-5")
    x, weight, bias = g["x"], g["weight"], g["bias"]
    order, name = channels_last(x.ndim), owner(e, nn.GroupNorm, weight=weight, bias=bias)
    made = expression(
        "nn.GroupNorm(num_groups, epsilon=e, use_bias=b, use_scale=a, use_fast_variance=False, name=n)(x)",
        num_groups=g["num_groups"],
        e=g["eps"],
        b=unless(bias is not None and name is not None, value=False),
        a=unless(weight is not None and name is not None, value=False),
        n=unless(name is None, name),
        x=e.get(x, order),
    )
    if name is not None:
        return made, order
    if weight is not None:
        made = expression("y * w", y=made, w=e.plain(weight))
    return (expression("y + b", y=made, b=e.plain(bias)) if bias is not None else made), order


def instance_norm(e: Emitter, op: Operation) -> Result:
    """Writes torch.nn.functional.instance_norm with the statistics of each image."""
    names = "x running_mean=None running_var=None weight=None bias=None use_input_stats=True"
    g = bound(op, f"{names} momentum=0.1 eps=1e-5")
    x = g["x"]
    if g["running_mean"] is not None:
        raise ConversionError(f"{e.where}instance_norm with running statistics is not known.")
    order = channels_last(x.ndim)
    made = expression(
        "nn.InstanceNorm(epsilon=e, use_bias=False, use_scale=False, use_fast_variance=False)(x)",
        e=g["eps"],
        x=e.get(x, order),
    )
    if g["weight"] is not None:
        made = expression("y * w", y=made, w=e.plain(g["weight"]))
    return (expression("y + b", y=made, b=e.plain(g["bias"])) if g["bias"] is not None else made), order


def local_response_norm(e: Emitter, op: Operation) -> Result:
    """Writes the division by a mean of squares over neighboring channels."""
    names = "x size alpha=1e-4 beta=0.75 k=1.0"
    if op.module is not None:
        m = op.module
        g = {"x": op.arguments[0], "size": m.size, "alpha": m.alpha, "beta": m.beta, "k": m.k}
    else:
        g = bound(op, names)
    x = g["x"]
    order = last(e.order(x), 1)
    return expression(
        "local_response_norm(x, size, alpha=a, beta=b, k=c)",
        x=e.get(x, order),
        size=g["size"],
        a=g["alpha"],
        b=g["beta"],
        c=g["k"],
    ), order


def normalize(e: Emitter, op: Operation) -> Result:
    """Writes torch.nn.functional.normalize: vectors of length one."""
    g = bound(op, "x p=2.0 dim=1 eps=1e-12 out=None")
    x = g["x"]
    if g["p"] != 2 or isinstance(g["dim"], tuple | list):
        raise ConversionError(f"{e.where}normalize with p={g['p']}, dim={g['dim']} is not known.")
    made = expression(
        "x / jnp.maximum(jnp.linalg.norm(x, axis=a, keepdims=True), eps)",
        x=e.get(x),
        a=e.axis(x, g["dim"]),
        eps=g["eps"],
    )
    return made, e.order(x)


FUNCTIONS: dict[str, Handler] = {
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "local_response_norm": local_response_norm,
    "normalize": normalize,
}

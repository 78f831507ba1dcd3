"""Images at other sizes, and at places between their pixels."""

from typing import Any

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result, channels_last, plain
from converters.porting.expressions import expression, unless
from converters.porting.functions.pooling import each
from converters.porting.graph import Operation, bound
from converters.porting.unify import Varying

METHODS = {  # torch's names of a mode and the helper's
    "nearest": "nearest",
    "nearest-exact": "nearest-exact",
    "linear": "linear",
    "bilinear": "linear",
    "trilinear": "linear",
    "bicubic": "cubic",
}
INTERPOLATE = (
    "x size=None scale_factor=None mode='nearest' align_corners=None recompute_scale_factor=None "
    "antialias=False"
)


def interpolate(e: Emitter, op: Operation) -> Result:
    """Writes an image at another size, which is given or is the image's times a factor."""
    g = bound(op, INTERPOLATE)
    x, n, mode = g["x"], g["x"].ndim - 2, g["mode"]
    order = channels_last(x.ndim)
    image = e.get(x, order)
    factors = None if g["scale_factor"] is None else each(g["scale_factor"], n)
    whole = factors is not None and all(factor == int(factor) >= 1 for factor in factors)
    if mode == "nearest" and factors is not None and whole:
        for axis, factor in enumerate(factors, 1):
            image = expression("x.repeat(n, axis=a)", x=image, n=int(factor), a=axis)
        return image, order
    if factors is None:
        sizes: Any = each(g["size"], n)
        if not any(isinstance(size, Varying) for size in sizes) and sizes == x.shape[2:] == x.other_shape[2:]:
            return image, order  # PyTorch's own sum of one pixel is the pixel
        sizes = e.tree(sizes)
    else:
        template = "x.shape[i] * f" if whole else "int(x.shape[i] * f)"
        sizes = tuple(
            expression(template, x=image, i=axis, f=int(factor) if whole else factor)
            for axis, factor in enumerate(factors, 1)
        )
    if mode == "area":
        return expression("adaptive_pool(x, s)", x=image, s=sizes), order
    if g["antialias"]:
        template = "resize_antialias(x, s, m, align_corners=a)"
        return expression(
            template, x=image, s=sizes, m=METHODS[mode], a=unless(not g["align_corners"], value=True)
        ), order
    return expression(
        "resize(x, s, m, align_corners=a, scales=f)",
        x=image,
        s=sizes,
        m=METHODS[mode],
        a=unless(not g["align_corners"], value=True),
        f=unless(factors is None or whole or bool(g["recompute_scale_factor"]), factors),
    ), order


def grid_sample(e: Emitter, op: Operation) -> Result:
    """Writes the pixels of an image at places that are given from -1 to 1."""
    g = bound(op, "x grid mode='bilinear' padding_mode='zeros' align_corners=None")
    x, grid = g["x"], g["grid"]
    if x.ndim != 4 or g["mode"] == "bicubic":
        raise ConversionError(f"{e.where}grid_sample of volumes, or bicubic, is not known.")
    order = channels_last(4)
    return expression(
        "grid_sample(x, grid, mode=m, padding_mode=p, align_corners=a)",
        x=e.get(x, order),
        grid=e.plain(grid),
        m=unless(g["mode"] == "bilinear", g["mode"]),
        p=unless(g["padding_mode"] == "zeros", g["padding_mode"]),
        a=unless(not g["align_corners"], value=True),
    ), order


def affine_grid(e: Emitter, op: Operation) -> Result:
    """Writes the places of an image's pixels after an affine map."""
    g = bound(op, "theta size align_corners=None")
    if len(g["size"]) != 4:
        raise ConversionError(f"{e.where}affine_grid of volumes is not known.")
    return expression(
        "affine_grid(theta, size, align_corners=a)",
        theta=e.plain(g["theta"]),
        size=e.tree(tuple(g["size"][2:])),
        a=unless(not g["align_corners"], value=True),
    ), plain(4)


FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(("interpolate", "upsample", "upsample_nearest", "upsample_bilinear"), interpolate),
    "grid_sample": grid_sample,
    **dict.fromkeys(("affine_grid", "affine_grid_generator"), affine_grid),
}

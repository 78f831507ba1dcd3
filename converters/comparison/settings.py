"""Settings of two layers that are one: what shapes cannot show."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jax import lax

from converters.comparison.report import Finding

Shape = tuple[int, ...]
Value = Callable[[Any, Any, Shape], Any]  # of the Flax layer, the torch module and the input's shape


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting under both names. It is compared where the Flax layer and the torch module both have it.

    Attributes:
        name: For the report.
        flax: The Flax layer's attribute.
        torch: The torch module's.
        value: The setting of the Flax layer.
        as_flax: The torch module's value, as Flax writes it.
    """

    name: str
    flax: str
    torch: str
    value: Value
    as_flax: Value


def _same(name: str, flax: str, torch: str) -> Setting:
    return Setting(
        name=name,
        flax=flax,
        torch=torch,
        value=lambda layer, *_: getattr(layer, flax),
        as_flax=lambda _, twin, __: getattr(twin, torch),
    )


def _each(value: Any, count: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, Sequence) else (1 if value is None else int(value),) * count


def _axes(twin: Any, shape: Shape) -> int:
    return len(twin.kernel_size) if isinstance(twin.kernel_size, tuple) else len(shape) - 2


def _spatial(name: str, flax: str, torch: str) -> Setting:
    return Setting(
        name=name,
        flax=flax,
        torch=torch,
        value=lambda layer, twin, shape: _each(getattr(layer, flax), _axes(twin, shape)),
        as_flax=lambda _, twin, shape: _each(getattr(twin, torch), _axes(twin, shape)),
    )


def _padding(layer: Any, twin: Any, shape: Shape) -> Any:
    """Returns Flax's padding in numbers, which "SAME" needs the input's shape for."""
    count, padding = _axes(twin, shape), layer.padding
    if isinstance(padding, int):
        return ((padding, padding),) * count
    if not isinstance(padding, str):
        return tuple((p, p) if isinstance(p, int) else tuple(p) for p in padding)
    strides = _each(layer.strides, count)
    kernel, dilation = _each(layer.kernel_size, count), _each(layer.kernel_dilation, count)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    if _is_transposed(twin):
        return tuple(_transposed(padding, r + 1, s) for r, s in zip(reach, strides, strict=True))
    if padding in ("CIRCULAR", "REFLECT"):
        return tuple((r // 2, (r + 1) // 2) for r in reach)
    if padding == "CAUSAL":
        return tuple((r, 0) for r in reach)
    sizes = shape[-count - 1 : -1]
    return tuple(map(tuple, lax.padtype_to_pads(sizes, [r + 1 for r in reach], strides, padding)))


def _is_transposed(twin: Any) -> bool:
    return hasattr(twin, "output_padding") and bool(getattr(twin, "transposed", False))


def _transposed(padding: str, kernel: int, stride: int) -> tuple[int, int] | str:
    """Returns the padding that `jax.lax.conv_transpose` uses for "SAME" and "VALID"."""
    if padding not in ("SAME", "VALID"):
        return padding
    total = kernel + stride - 2 + (max(kernel - stride, 0) if padding == "VALID" else 0)
    before = kernel - 1 if padding == "VALID" or stride > kernel - 1 else math.ceil(total / 2)
    return before, total - before


def _torch_padding(layer: Any, twin: Any, shape: Shape) -> Any:
    count = _axes(twin, shape)
    reach = [(k - 1) * d for k, d in zip(twin.kernel_size, _each(twin.dilation, count), strict=True)]
    if twin.padding == "same":
        return tuple((r // 2, (r + 1) // 2) for r in reach)
    padding = (0,) * count if twin.padding == "valid" else _each(twin.padding, count)
    if _is_transposed(twin):
        extra = _each(twin.output_padding, count)
        return tuple((r - p, r - p + e) for r, p, e in zip(reach, padding, extra, strict=True))
    return tuple((p, p) for p in padding)


PLAIN = (bool, int, float, str, tuple, type(None))
MODES = {"CIRCULAR": "circular", "REFLECT": "reflect"}

# Those that outputs in eval mode show.
SHOWN = (
    _same("epsilon", "epsilon", "eps"),
    _spatial("kernel_size", "kernel_size", "kernel_size"),
    _spatial("strides", "strides", "stride"),
    _spatial("kernel_dilation", "kernel_dilation", "dilation"),
    _same("feature_group_count", "feature_group_count", "groups"),
    Setting(name="padding", flax="padding", torch="padding", value=_padding, as_flax=_torch_padding),
    Setting(
        name="padding's content",
        flax="padding",
        torch="padding_mode",
        value=lambda layer, *_: MODES.get(str(layer.padding), "zeros"),
        as_flax=lambda _, twin, __: twin.padding_mode,
    ),
    Setting(
        name="num_groups",
        flax="num_groups",
        torch="num_groups",
        value=lambda layer, twin, _: layer.num_groups or twin.num_channels // layer.group_size,
        as_flax=lambda _, twin, __: twin.num_groups,
    ),
    _same("num_heads", "num_heads", "num_heads"),
)
# Those that only training shows.
HIDDEN = (
    Setting(
        name="momentum",
        flax="momentum",
        torch="momentum",
        value=lambda layer, *_: layer.momentum,
        as_flax=lambda _, twin, __: None if twin.momentum is None else 1 - twin.momentum,
    ),
    _same("rate", "rate", "p"),
    _same("dropout_rate", "dropout_rate", "dropout"),
)


def differing(
    table: Sequence[Setting], name: str, layer: Any, twin: Any, shape: Shape = ()
) -> Iterator[Finding]:
    """Yields the settings of a table that differ between a Flax layer and its torch module.

    Args:
        table: `SHOWN` or `HIDDEN`.
        name: Name of the layer, for the report.
        layer: The Flax layer.
        twin: The torch module.
        shape: Shape of the Flax layer's first input.
    """
    for setting in table:
        # A block's `dropout` may be a layer of its own, which is compared by itself.
        if hasattr(layer, setting.flax) and isinstance(getattr(twin, setting.torch, twin), PLAIN):
            try:
                flax, torch = setting.value(layer, twin, shape), setting.as_flax(layer, twin, shape)
            except (AttributeError, TypeError, ValueError):
                continue  # a layer of one's own, in which the name means something else
            if not _equal(flax, torch):
                yield Finding(layer=name, setting=setting.name, flax=_written(flax), torch=_written(torch))


def _equal(flax: Any, torch: Any) -> bool:
    if isinstance(flax, float) and isinstance(torch, float):
        return math.isclose(flax, torch, rel_tol=1e-6)  # some settings went through float32
    return bool(flax == torch)


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Dropout in all its kinds."""

from collections.abc import Sequence

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import DROP, expression
from converters.porting.functions.modes import OPPOSITE
from converters.porting.functions.random import DROPOUT
from converters.porting.graph import Operation, Value, bound

NAMES = "x p=0.5 training=True inplace=False"


def dropped(
    e: Emitter, x: Value, rate: float | None, together: Sequence[int], trains: str = "train"
) -> Result:
    """Writes dropout in which all numbers along some of PyTorch's axes share their fate.

    Args:
        e: The emitter.
        x: The array.
        rate: Chance of being dropped.
        together: The axes.
        trains: Expression that is true where numbers are dropped, as from `mode`.
    """
    if not rate or trains == "False":
        return e.get(x), e.order(x)
    e.code.uses_train |= trains == "train"
    axes = tuple(sorted(e.order(x).index(axis) for axis in together))
    return expression(
        "nn.Dropout(rate, broadcast_dims=b)(x, deterministic=d)",
        rate=rate,
        b=axes or DROP,
        d=expression(OPPOSITE[trains]),
        x=e.get(x),
    ), e.order(x)


def alpha_dropped(
    e: Emitter, x: Value, rate: float | None, together: Sequence[int], trains: str = "train"
) -> Result:
    """Writes dropout to the value that SELU saturates at; arguments as for `dropped`."""
    if not rate or trains == "False":
        return e.get(x), e.order(x)
    axes = tuple(sorted(e.order(x).index(axis) for axis in together))
    made = expression(
        "alpha_dropout(x, rate, k, broadcast_dims=b)",
        x=e.get(x),
        rate=rate,
        k=expression(f'self.make_rng("{DROPOUT}")'),
        b=axes or DROP,
    )
    if trains == "True":
        return made, e.order(x)
    e.code.uses_train = True
    return expression("d if train else x", d=made, x=e.get(x)), e.order(x)


def channels(name: str, ndim: int) -> range:
    """Returns the axes that a channel has, as the dropout of a name takes an array of a number of axes."""
    single = (name.startswith("dropout1d") and ndim == 2) or (name.startswith("dropout3d") and ndim == 4)
    return range(1 if single else 2, ndim)


def dropout(e: Emitter, op: Operation) -> Result:
    """Writes a function of torch that drops; at a rate of 0 it does nothing.

    Raises:
        ConversionError: it drops in eval mode, and not as in training.
    """
    names = NAMES.replace("True", "False") if "alpha" in op.function else NAMES
    g = bound(op, names)
    trained = bound(op.trained, names) if op.trained else None
    before, rate = (each["p"] if each["training"] else 0 for each in (g, trained or g))
    if op.trained is op:
        before = 0
    if before and before != rate:
        raise ConversionError(
            f"{e.where}{op.function} drops {before:g} in eval mode, and {rate:g} in training."
        )
    x, name = g["x"], op.function.removesuffix("_")
    together = () if name in ("dropout", "alpha_dropout") else channels(name, x.ndim)
    write = alpha_dropped if "alpha" in name else dropped
    return write(e, x, rate, together, "True" if before else "train")


FUNCTIONS: dict[str, Handler] = dict.fromkeys(
    (
        *("dropout", "dropout1d", "dropout2d", "dropout3d"),
        *("alpha_dropout", "feature_alpha_dropout", "feature_dropout"),
    ),
    dropout,
)

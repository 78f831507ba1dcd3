"""The modes that operations run in, and arrays that are one thing in training and another in eval mode."""

from collections.abc import Callable
from operator import attrgetter

from converters.errors import ConversionError
from converters.porting.dispatch import UPDATED
from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import expression, marked
from converters.porting.graph import Operation
from converters.porting.weaving import CHOSEN

OPPOSITE = {"train": "not train", "True": "False", "False": "True"}  # of what `mode` returns


def mode(e: Emitter, op: Operation, trains: Callable[[Operation], bool] = attrgetter("training")) -> str:
    """Returns the expression that is true where a layer trains: "train", "True" or "False".

    Its own mode says it: a layer may stay in eval mode while those around it train, as a frozen batch norm.

    Args:
        e: The emitter.
        op: A call of the layer.
        trains: Tells of the call in either mode whether the layer trains.
    """
    trained = op.trained is None or trains(op.trained)
    evaluated = op.trained is not op and trains(op)
    if evaluated and not trained:
        raise ConversionError(f"{e.where}{op.function} trains in eval mode alone.")
    return str(trained) if trained == evaluated else "train"


def chosen(e: Emitter, op: Operation) -> Result:
    """Writes the choice of two arrays, in the order of axes that the one of eval mode has."""
    trained, evaluated = op.arguments
    e.code.uses_train = True
    with e.mode(when=False):
        order, other = e.order(evaluated), e.get(evaluated)
    with e.mode(when=True):
        made = e.get(trained, order)
    return marked(expression("a if train else b", a=made, b=other), chosen=True), order


def updated(e: Emitter, op: Operation) -> Result | list[Result]:
    """Writes what training makes of a buffer."""
    e.update(*op.arguments)
    return []


FUNCTIONS: dict[str, Handler] = {CHOSEN: chosen, UPDATED: updated}

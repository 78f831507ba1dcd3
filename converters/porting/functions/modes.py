"""Arrays that are one thing in training and another in eval mode."""

from converters.porting.dispatch import UPDATED
from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import expression, marked
from converters.porting.graph import Operation
from converters.porting.weaving import CHOSEN


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

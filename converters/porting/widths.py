"""Which values of a run are float32 because the torch code says so, whatever its module computes in."""

from typing import Any

from converters.porting.graph import Operation, Scope, Value, values


class Widths:
    """Values that are float32 at least, with what they were made of, whose type they had before."""

    def __init__(self) -> None:
        self._before: dict[Value, Value] = {}

    def before(self, value: Value) -> Value | None:
        """Returns the array whose type a value had before torch code made it float32; None if it did not."""
        return self._before.get(value)

    def set(self, operation: Operation, before: Value | None) -> None:
        """Notes that what an operation gives is float32, though `before` may not be; None: it need not be."""
        for each in values(operation.output):
            self._before.pop(each, None)
            if before is not None and each.floating:
                self._before[each] = before

    def hand_on(self, operation: Operation) -> None:
        """Notes that what comes of float32 is float32; layers compute in a type of their own."""
        taken: Any = [[*operation.arguments], dict(operation.keywords)]
        wide = [self._before[each] for each in values(taken) if each in self._before]
        if wide and not (operation.module is not None and operation.module.state_dict()):
            self.set(operation, wide[0])

    def give_back(self, operation: Operation, scope: Scope) -> None:
        """Notes what of a module's results is float32."""
        for outer, inner in zip(values(operation.output), values(scope.output), strict=True):
            if inner in self._before:
                self._before[outer] = self._before[inner]

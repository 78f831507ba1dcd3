"""Calls of layers that are one in both frameworks, put side by side as they happen."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from converters.comparison.align import Axes
from converters.comparison.calls import Call, double, leaves
from converters.comparison.report import Difference, Finding, Row
from converters.comparison.runner import Runner
from converters.comparison.settings import HIDDEN, SHOWN, differing
from converters.inspection import Path

Key = frozenset[int]  # the torch modules, by identity, whose calls are those of one Flax layer
DIFFERS = Difference(np.inf, np.inf)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One comparison: the row, what it is made of, and the settings that differ."""

    key: Key
    row: Row
    flax: Call
    torch: Call
    twin: Any
    settings: tuple[Finding, ...] = ()


class CallMatcher:
    """Collects the calls of torch modules first, then compares each call of a Flax layer with its own.

    Calls are matched in the order in which they happen: of one layer called several times, of a layer
    that `nn.scan` lifted and the torch modules that it is, of layers that share one torch module. Of one
    torch module's calls, one with the same input comes first.
    """

    def __init__(
        self,
        runner: Runner,
        layers: Mapping[Path, Any],
        names: Mapping[Path, tuple[str, ...]],
        twins: Mapping[str, Any],
        axes: Axes,
    ) -> None:
        self.runner, self.layers, self.names, self.twins, self.axes = runner, layers, names, twins, axes
        self._compared: list[Compared] = []
        self._keys: dict[Path, Key] = {
            path: frozenset(id(twins[name]) for name in found) for path, found in names.items()
        }
        self._key_of = {number: key for key in self._keys.values() for number in key}
        self._waiting: dict[Key, deque[tuple[Any, Call]]] = defaultdict(deque)
        self._calls: tuple[Counter[Key], Counter[Key]] = Counter(), Counter()
        self._order: list[Key] = []
        stacks: dict[Key, list[Path]] = defaultdict(list)
        for path, key in self._keys.items():
            if runner.is_recurrent(layers[path]):
                stacks[key].append(path)
        # Of a stack of recurrent layers, PyTorch shows what the first one takes and the last one gives.
        self._stacks = {key: paths for key, paths in stacks.items() if len(paths) > 1}
        self._taken: dict[Key, Sequence[np.ndarray]] = {}

    @property
    def compared(self) -> list[Compared]:
        """Returns one for each call of a Flax layer that PyTorch calls equally often."""
        mine, theirs = self._calls
        return [each for each in self._compared if mine[each.key] == theirs[each.key]]

    @property
    def watched(self) -> list[Any]:
        """Returns the torch modules whose calls count."""
        return list(
            {id(self.twins[n]): self.twins[n] for names in self.names.values() for n in names}.values()
        )

    def torch_call(self, twin: Any, call: Call) -> None:
        """Notes that a torch module was called."""
        key = self._key_of[id(twin)]
        self._waiting[key].append((twin, call))
        self._calls[1][key] += 1
        self._order.append(key)

    def flax_call(self, path: Path, call: Call) -> None:
        """Compares the call of a Flax layer, after all torch modules were called."""
        key = self._keys[path]
        if key in self._stacks:
            first, *_, last = self._stacks[key]
            if path == first:
                self._taken[key] = call.inputs
            if path != last:
                return
            call = Call(inputs=self._taken[key], outputs=call.outputs[:1])
        self._calls[0][key] += 1
        if not self._waiting[key]:
            return
        twin, theirs = self._next(key, call)
        name = next(name for name in self.names[path] if self.twins[name] is twin)
        where, layer = "/".join(path), self.layers[path]
        outer = any(len(other) > len(path) and other[: len(path)] == path for other in self.names)
        shape = call.inputs[0].shape if call.inputs else ()
        self._compared.append(
            Compared(
                key=key,
                row=self._row(where, name, call, theirs, twin, outer=outer),
                flax=call,
                torch=theirs,
                twin=twin,
                settings=tuple(differing(SHOWN, where, layer, twin, shape)),
            )
        )

    def _next(self, key: Key, call: Call) -> tuple[Any, Call]:
        """Takes PyTorch's next call, or a later one of the same module if its input alone is the same."""
        waiting = self._waiting[key]
        if len(key) == 1 and len(waiting) > 1:
            for index, (twin, other) in enumerate(waiting):
                same = self._worst(call.inputs, other.inputs, twin)
                if same and same[1].relative <= self.axes.tolerance:
                    del waiting[index]
                    return twin, other
        return waiting.popleft()

    def _row(self, layer: str, name: str, flax: Call, torch: Call, twin: Any, *, outer: bool = False) -> Row:
        """Makes a row; an outer layer whose outputs have other shapes is judged by its inner ones."""
        inputs = self._worst(flax.inputs, torch.inputs, twin)
        output = self._worst(flax.outputs, torch.outputs, twin)
        shapes = ""
        if output is None:
            mine, theirs = (" ".join(str(a.shape) for a in c.outputs) or "no arrays" for c in (flax, torch))
            shapes = f"{mine} here, {theirs} there"
        return Row(
            layer=layer,
            torch_name=name,
            output=output[1] if output else (None if outer else DIFFERS),
            inputs=inputs and inputs[1],
            arrangement=output[0] if output else "",
            shapes=shapes,
        )

    def _worst(
        self, flax: Sequence[np.ndarray], torch: Sequence[np.ndarray], twin: Any
    ) -> tuple[str, Difference] | None:
        pairs = [self.axes.compare(a, b, twin) for a, b in zip(flax, torch, strict=False)]
        fitting = [(pair[0].words, pair[1]) for pair in pairs if pair is not None]
        if len(fitting) < len(pairs):
            return None
        return max(fitting, key=lambda pair: pair[1].relative, default=None)

    def output(self, flax: Any, torch: Any) -> Compared:
        """Compares the whole models' outputs: those of the same keys, or in order."""
        flax, torch = _in_one_order(flax, torch)
        tensors = list(leaves(torch))
        mine = Call(inputs=(), outputs=list(map(double, leaves(jax.tree.leaves(flax)))))
        theirs = Call(inputs=(), outputs=list(map(double, tensors)), given=tensors)
        row = self._row("", "", mine, theirs, None)
        return Compared(key=frozenset(), row=row, flax=mine, torch=theirs, twin=None)

    def hidden(self) -> Iterator[Finding]:
        """Yields the settings that differ and do not show in eval mode, however often a layer is called."""
        for path, names in self.names.items():
            for name in names:
                yield from differing(HIDDEN, "/".join(path), self.layers[path], self.twins[name])

    def notes(self, rows: Sequence[Row], tolerance: float) -> Iterator[str]:
        """Yields sentences about the layers that were not compared."""
        mine, theirs = self._calls
        for key in mine | theirs:
            if mine[key] and mine[key] != theirs[key]:
                names = " and ".join("/".join(path) for path, other in self._keys.items() if other == key)
                yield f"{names}: called {mine[key]} times, by PyTorch {theirs[key]} times"
        alone = {path for path in self.layers if self._alone(path)}
        outermost = ["/".join(path) for path in self.layers if path in alone and path[:-1] not in alone]
        if outermost:
            yield f"layers that no torch module is named after: {', '.join(outermost)}"
        if any(row.output and not row.output.relative <= tolerance for row in rows):
            yield from self._other_order()

    def _alone(self, path: Path) -> bool:
        """Returns whether a layer of Flax's own has no torch module, nor is part of one of Flax's that has.

        Dropout does nothing here, and in PyTorch is often a function; its rates are compared apart.
        """
        if self.runner.is_dropout(self.layers[path]):
            return False
        around = [path[:depth] for depth in range(1, len(path) + 1) if path[:depth] in self.names]
        builtin = self.runner.is_builtin
        return builtin(self.layers[path]) and not any(builtin(self.layers[outer]) for outer in around)

    def _other_order(self) -> Iterator[str]:
        pairs = zip(self._compared, self._order, strict=False)
        for index, (each, theirs) in enumerate(pairs, start=1):
            if each.key != theirs:
                name = next("/".join(path) for path, key in self._keys.items() if key == theirs)
                yield f"call {index} is of {each.row.layer} here, of {name} in PyTorch"
                return


def _in_one_order(one: Any, two: Any) -> tuple[list[Any], list[Any]]:
    """Returns the parts of two nestings side by side, those of dictionaries by key: jax sorts them."""
    if isinstance(one, Mapping) and isinstance(two, Mapping) and one.keys() & two.keys():
        pairs = [(one[key], two[key]) for key in two if key in one]
    elif isinstance(one, tuple | list) and isinstance(two, tuple | list) and len(one) == len(two):
        pairs = [*zip(one, two, strict=True)]
    else:
        return [one], [two]
    found = [_in_one_order(*pair) for pair in pairs]
    return [a for row, _ in found for a in row], [b for _, row in found for b in row]

"""Calls of layers that are one in both frameworks, put side by side as they happen."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from converters.comparison.align import Axes
from converters.comparison.calls import Call, arrays
from converters.comparison.report import Difference, Finding, Row
from converters.comparison.settings import settings
from converters.inspection import Path

Key = frozenset[int]  # the torch modules, by identity, whose calls are those of one Flax layer
DIFFERS = Difference(np.inf, np.inf)


class CallMatcher:
    """Collects the calls of torch modules first, then compares each call of a Flax layer with its own.

    Calls are matched in the order in which they happen: of one layer called several times, of a layer
    that `nn.scan` lifted and the torch modules that it is, of layers that share one torch module.

    Attributes:
        findings: settings that differ.
    """

    def __init__(
        self,
        layers: Mapping[Path, nn.Module],
        names: Mapping[Path, tuple[str, ...]],
        twins: Mapping[str, Any],
        axes: Axes,
    ) -> None:
        self.layers, self.names, self.twins, self.axes = layers, names, twins, axes
        self._rows: list[tuple[Key, Row]] = []
        self._counts = ""
        self.findings: list[Finding] = []
        self._keys: dict[Path, Key] = {
            path: frozenset(id(twins[name]) for name in found) for path, found in names.items()
        }
        self._key_of = {number: key for key in self._keys.values() for number in key}
        self._waiting: dict[Key, deque[tuple[Any, Call]]] = defaultdict(deque)
        self._calls: tuple[Counter[Key], Counter[Key]] = Counter(), Counter()
        self._order: list[Key] = []

    @property
    def rows(self) -> tuple[Row, ...]:
        """One for each call of a Flax layer that PyTorch calls equally often."""
        mine, theirs = self._calls
        return tuple(row for key, row in self._rows if mine[key] == theirs[key])

    @property
    def watched(self) -> list[Any]:
        """The torch modules whose calls count."""
        return list(
            {id(self.twins[n]): self.twins[n] for names in self.names.values() for n in names}.values()
        )

    def torch_call(self, twin: Any, call: Call) -> None:
        """A torch module was called."""
        key = self._key_of[id(twin)]
        self._waiting[key].append((twin, call))
        self._calls[1][key] += 1
        self._order.append(key)

    def flax_call(self, path: Path, call: Call) -> None:
        """A Flax layer was called, after all torch modules were."""
        key = self._keys[path]
        self._calls[0][key] += 1
        if not self._waiting[key]:
            return
        twin, theirs = self._waiting[key].popleft()
        name = next(name for name in self.names[path] if self.twins[name] is twin)
        layer = self.layers[path]
        outer = any(len(other) > len(path) and other[: len(path)] == path for other in self.names)
        row = self._row("/".join(path), name, call, theirs, layer, twin, outer)
        self._rows.append((key, row))
        shape = call.inputs[0].shape if call.inputs else ()
        for finding in settings("/".join(path), layer, twin, shape):
            if finding not in self.findings:
                self.findings.append(finding)

    def _row(
        self, layer: str, name: str, flax: Call, torch: Call, instance: Any, twin: Any, outer: bool = False
    ) -> Row:
        """One comparison; an outer layer whose outputs have other shapes is judged by its inner ones."""
        inputs = self._worst(flax.inputs, torch.inputs, instance, twin)
        output = self._worst(flax.outputs, torch.outputs, instance, twin)
        shapes = ""
        if output is None:
            mine, theirs = (" ".join(str(a.shape) for a in c.outputs) or "no arrays" for c in (flax, torch))
            shapes = f"{mine} here, {theirs} there"
        found = output[1] if output else (None if outer else DIFFERS)
        return Row(layer, name, found, inputs and inputs[1], output[0] if output else "", shapes)

    def _worst(
        self, flax: Sequence[np.ndarray], torch: Sequence[np.ndarray], layer: Any, twin: Any
    ) -> tuple[str, Difference] | None:
        pairs = [self.axes.compare(a, b, layer, twin) for a, b in zip(flax, torch, strict=False)]
        fitting = [pair for pair in pairs if pair is not None]
        if len(fitting) < len(pairs):
            return None
        return max(fitting, key=lambda pair: pair[1].relative, default=None)

    def output(self, flax: Any, torch: Any) -> Row:
        """Compares the whole models' outputs: those of the same keys, or in order."""
        if isinstance(flax, Mapping) and isinstance(torch, Mapping) and flax.keys() & torch.keys():
            keys = [key for key in torch if key in flax]
            flax, torch = [flax[key] for key in keys], [torch[key] for key in keys]
        mine, theirs = list(arrays(jax.tree.leaves(flax))), list(arrays(torch))
        if len(mine) != len(theirs):
            self._counts = (
                f"outputs: {len(mine)} here, {len(theirs)} in PyTorch; only the first ones were compared"
            )
        return self._row("", "", Call((), mine), Call((), theirs), None, None)

    def notes(self, tolerance: float) -> Iterator[str]:
        """Sentences about what was not compared."""
        if self._counts:
            yield self._counts
        mine, theirs = self._calls
        for key in mine | theirs:
            if mine[key] and mine[key] != theirs[key]:
                names = " and ".join("/".join(path) for path, other in self._keys.items() if other == key)
                yield f"{names}: called {mine[key]} times, by PyTorch {theirs[key]} times"
        alone = ["/".join(path) for path in self.layers if self._alone(path)]
        if alone:
            yield f"layers that no torch module is named after: {', '.join(alone)}"
        if any(row.output and not row.output.relative <= tolerance for row in self.rows):
            yield from self._other_order()

    def _alone(self, path: Path) -> bool:
        """Returns whether a layer of Flax's own has no torch module, nor is part of one of Flax's that has.

        Dropout does nothing here, and in PyTorch is often a function; its rates are compared apart.
        """
        if isinstance(self.layers[path], nn.Dropout):
            return False
        around = [path[:depth] for depth in range(1, len(path) + 1) if path[:depth] in self.names]
        return _builtin(self.layers[path]) and not any(_builtin(self.layers[outer]) for outer in around)

    def _other_order(self) -> Iterator[str]:
        for index, ((mine, row), theirs) in enumerate(zip(self._rows, self._order, strict=False), start=1):
            if mine != theirs:
                name = next("/".join(path) for path, key in self._keys.items() if key == theirs)
                yield f"call {index} is of {row.layer} here, of {name} in PyTorch"
                return


def _builtin(layer: nn.Module) -> bool:
    """Returns whether a layer is one of Flax's, or a child of one."""
    own = (c for c in type(layer).__mro__ if c not in nn.Module.__mro__)
    return any(c.__module__.startswith("flax.linen.") for c in own)

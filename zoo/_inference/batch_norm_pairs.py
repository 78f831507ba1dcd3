"""Which layer each batch norm of a module can be folded into: found by tracing a call, never by names."""

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax.core import Scope
from flax.traverse_util import flatten_dict
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

from converters.inspection import Path
from converters.linen import LayerCalls
from zoo._errors import ZooError
from zoo._nn.depthwise import convolution
from zoo._nn.layers import BatchNorm

# Exact types: what a subclass computes, nobody knows.
LAYERS = (nn.Conv, nn.ConvTranspose, nn.Dense)
NORMS = (nn.BatchNorm, BatchNorm)
# Fields by which something else takes the place of the convolution or product. `convolution` is the same.
REPLACING = ("conv_general_dilated", "conv_general_dilated_cls", "dot_general", "dot_general_cls")
SIGNATURE = inspect.signature(nn.BatchNorm.__call__)


class Pair(NamedTuple):
    """Paths of a layer and of the batch norm that alone takes its output."""

    layer: Path
    norm: Path
    axis: int  # of the kernel, for the layer's outputs
    epsilon: float


def find(
    module: nn.Module, variables: Mapping[str, Any], inputs: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Pair, ...], dict[Path, str]]:
    """The pairs, and why each other batch norm that is called cannot be folded."""
    static = {name: value for name, value in kwargs.items() if not hasattr(value, "shape")}
    arrays = {name: value for name, value in kwargs.items() if name not in static}
    trace = _Trace()

    def run(variables: Any, inputs: Any, arrays: Any) -> Any:
        trace.arrays = flatten_dict(variables)
        trace.leaves = jax.tree.leaves(variables)
        with nn.intercept_methods(LayerCalls(trace.around)):
            return module.apply(variables, *inputs, rngs=jax.random.key(0), **arrays, **static)

    trace.program(jax.make_jaxpr(run)(variables, tuple(inputs), arrays).jaxpr)
    obstacles = {path: trace.obstacle(path) for path in trace.sources}
    pairs = [trace.pair(path) for path, obstacle in obstacles.items() if not obstacle]
    return tuple(pairs), {path: obstacle for path, obstacle in obstacles.items() if obstacle}


def names(scope: Scope | None) -> Path:
    """The path of a scope; its own `path` is wrong below `nn.share_scope`."""
    return () if scope is None or scope.name is None else (*names(scope.parent), str(scope.name))


def arguments(norm: nn.BatchNorm, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a batch norm's call, by name.

    Raises:
        ZooError: it is called in training mode.
    """
    given = SIGNATURE.bind(norm, *args, **kwargs).arguments
    average = nn.merge_param(
        "use_running_average", norm.use_running_average, given.get("use_running_average")
    )
    if not average:
        raise ZooError(
            f"{'/'.join(names(norm.scope))} is called in training mode, and batch norms are folded for "
            "inference: leave train=True out, or train the model that zoo.unfold_batch_norm gives."
        )
    return {name: value for name, value in given.items() if name != "self"}


class _Trace:
    """Record of a traced call: its layers, batch norms and their arrays."""

    def __init__(self) -> None:
        self.arrays: dict[Path, Any] = {}
        self.leaves: list[Any] = []  # the same, in the order of the program's inputs
        self.layers: dict[Path, nn.Module] = {}
        self.calls: Counter[Path] = Counter()
        self.outputs: dict[int, tuple[Path, Any]] = {}  # of layers, by identity
        self.sources: dict[Path, Path | None] = {}  # of batch norms: the layer whose output they take
        self.obstacles: defaultdict[Path, list[str]] = defaultdict(list)
        self.alone: set[str] = set()

    def around(self, layer: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Watches the calls of layers and batch norms, and marks what goes into a batch norm."""
        if type(layer) not in (*LAYERS, *NORMS):
            return call(*args, **kwargs)
        path = names(layer.scope)
        self.layers[path] = layer
        self.calls[path] += 1
        for name, array in flatten_dict(dict(layer.variables)).items():
            if self.arrays.get((name[0], *path, *name[1:])) is not array:
                self.obstacles[path].append("is inside a lifted transform")
                break
        if isinstance(layer, nn.BatchNorm):
            return self._norm(call, path, layer, arguments(layer, args, kwargs))
        if any(getattr(layer, name, None) not in (None, convolution) for name in REPLACING):
            self.obstacles[path].append("computes by a function of its own")
        out = call(*args, **kwargs)
        self.outputs[id(out)] = path, out
        return out

    def _norm(self, call: Callable[..., Any], path: Path, norm: nn.BatchNorm, given: dict[str, Any]) -> Any:
        x = given["x"]
        self.sources[path] = self.outputs.get(id(x), (None,))[0]
        if norm.axis not in (-1, x.ndim - 1):
            self.obstacles[path].append(f"has axis={norm.axis}, not the last")
        out = call(**given | {"x": checkpoint_name(x, mark(path))})
        if out.dtype != x.dtype:
            self.obstacles[path].append(f"turns {x.dtype} into {out.dtype}")
        return out

    def program(self, jaxpr: core.Jaxpr) -> None:
        """Finds which marked outputs, and which arrays, have more than one use."""
        atoms = [atom for equation in jaxpr.eqns for atom in equation.invars]
        uses = Counter[Any](atom for atom in [*atoms, *jaxpr.outvars] if isinstance(atom, core.Var))
        for equation in jaxpr.eqns:
            if equation.primitive.name == "name" and uses[equation.invars[0]] == 1:
                self.alone.add(equation.params["name"])
        # The inputs of the call come after the variables.
        read = {id(leaf): uses[var] for leaf, var in zip(self.leaves, jaxpr.invars, strict=False)}
        for path, array in self.arrays.items():
            if self.calls[path[1:-1]] == 1 and read.get(id(array), 0) > 1:
                self.obstacles[path[1:-1]].append("has arrays that are read elsewhere, too")

    def obstacle(self, norm: Path) -> str:
        """Why a batch norm cannot be folded; empty where it can."""
        layer = self.sources[norm]
        follows = f"follows {'/'.join(layer or ())}, "
        for path, subject in ((norm, ""), (layer, f"{follows}which ")):
            if path is None:
                return f"takes no output of {', '.join(kind.__name__ for kind in LAYERS)}"
            if self.obstacles[path]:
                return subject + self.obstacles[path][0]
            if self.calls[path] > 1:
                return f"{subject}is called {self.calls[path]} times"
        return "" if mark(norm) in self.alone else f"{follows}whose output goes elsewhere, too"

    def pair(self, norm: Path) -> Pair:
        """A batch norm without obstacles, and its layer."""
        layer = self.sources[norm]
        assert layer is not None
        axis = -2 if getattr(self.layers[layer], "transpose_kernel", False) else -1
        return Pair(layer, norm, axis, self.layers[norm].epsilon)


def mark(norm: Path) -> str:
    """The name of a batch norm's input in the traced program."""
    return f"into {'/'.join(norm)}"

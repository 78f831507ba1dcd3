"""Makes, fills and runs the modules of linen and of NNX."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from converters.nnx import exact_attention, layers_of
from converters.porting.dialects import LINEN, NNX, Dialect
from converters.porting.loading import loaded
from converters.state_dict import convert, to_torch

Forward = Callable[[Any, Any, Sequence[Any]], tuple[Any, Any]]


class Runtime(Protocol):
    """Operations on the modules of a dialect; variables are those that `convert` makes for them."""

    def made(self, source: str, root: str, file: str) -> Any:
        """Returns an instance of a source's root class, for `convert`; arguments as for `loaded`."""

    def wide(self, module: Any) -> Any:
        """Returns a module that computes in float64 what it is given in float64."""

    def variables(self, tensors: Mapping[str, Any], module: Any, inputs: Sequence[Any], ignore: Any) -> Any:
        """Returns a module's variables from PyTorch's tensors."""

    def tensors(self, variables: Any, module: Any, inputs: Sequence[Any], ignore: Any) -> Mapping[str, Any]:
        """Returns PyTorch's tensors of a module's variables."""

    def filled(self, module: Any, variables: Any) -> Any:
        """Returns a module with variables in it, where it holds them."""

    def run(self, module: Any, variables: Any, inputs: Sequence[Any]) -> Any:
        """Returns the output of a module in eval mode."""

    def parts(self, variables: Any) -> tuple[Any, Any]:
        """Returns parameters, and all other variables."""

    def forward(self, module: Any, *, train: bool) -> Forward:
        """Returns a function of parameters, other variables and inputs that gives output and changes.

        Args:
            module: The module.
            train: If true, it is in training.
        """

    def changed(self, variables: Any, params: Any, changes: Any) -> Any:
        """Returns variables with other parameters, and with changes."""

    def certain(self) -> Any:
        """Returns a context in which layers drop nothing."""


@contextmanager
def _trusted() -> Iterator[None]:
    """Lets a module's own arrays lie as PyTorch's without a warning; the proof finds where they do not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the axes of")
        yield


class Linen:
    """`Runtime` of linen."""

    def made(self, source: str, root: str, file: str) -> nn.Module:
        made = loaded(source, root, file)()
        assert isinstance(made, nn.Module)
        return made

    def wide(self, module: Any) -> Any:
        return module

    def variables(self, tensors: Mapping[str, Any], module: Any, inputs: Sequence[Any], ignore: Any) -> Any:
        with _trusted():
            return convert(tensors, module, *inputs, ignore=ignore)

    def tensors(self, variables: Any, module: Any, inputs: Sequence[Any], ignore: Any) -> Mapping[str, Any]:
        return to_torch(variables, module, *inputs, ignore=ignore) if variables else {}

    def filled(self, module: Any, variables: Any) -> Any:
        return module

    def run(self, module: Any, variables: Any, inputs: Sequence[Any]) -> Any:
        return module.apply(variables, *inputs)

    def parts(self, variables: Any) -> tuple[Any, Any]:
        rest = {name: jax.tree.map(jnp.asarray, e) for name, e in variables.items() if name != "params"}
        return variables.get("params", {}), rest

    def forward(self, module: Any, *, train: bool) -> Forward:
        options = {"train": True} if train else {}

        def forward(params: Any, rest: Any, inputs: Sequence[Any]) -> tuple[Any, Any]:
            changing = [name for name in rest if name == "batch_stats"]
            given = {"params": params, **rest}
            made = module.apply(given, *inputs, mutable=changing, rngs=jax.random.key(0), **options)
            return made[0], made[1]

        return forward

    def changed(self, variables: Any, params: Any, changes: Any) -> Any:
        return {**variables, **changes, "params": params}

    @contextmanager
    def certain(self) -> Iterator[None]:
        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if isinstance(context.module, nn.Dropout) and context.method_name == "__call__":
                return args[0]
            return call(*args, **kwargs)

        def key(module: nn.Module, name: str = "params") -> jax.Array:
            return jax.random.key(0)

        with mock.patch.object(nn.Module, "make_rng", key), nn.intercept_methods(intercept):
            yield


class Nnx:
    """`Runtime` of NNX: modules are abstract, variables are their `nnx.State`."""

    def made(self, source: str, root: str, file: str) -> nnx.Module:
        kind = loaded(source, root, file)
        streams = "rngs" in inspect.signature(kind.__init__).parameters
        made = nnx.eval_shape(lambda: kind(rngs=nnx.Rngs(0)) if streams else kind())
        assert isinstance(made, nnx.Module)
        made.eval()
        return made

    def wide(self, module: Any) -> Any:
        for layer in layers_of(module):
            # Layers remember the dtype of the params that they were made with, and cells make carries in it.
            for name in ("dtype", "param_dtype"):
                if getattr(layer, name, None) == jnp.float32:
                    setattr(layer, name, jnp.float64)
        return module

    def variables(self, tensors: Mapping[str, Any], module: Any, inputs: Sequence[Any], ignore: Any) -> Any:
        with _trusted():
            return convert(tensors, module, ignore=ignore)

    def tensors(self, variables: Any, module: Any, inputs: Sequence[Any], ignore: Any) -> Mapping[str, Any]:
        return to_torch(variables, module, ignore=ignore)

    def filled(self, module: Any, variables: Any) -> Any:
        return nnx.merge(nnx.graphdef(module), _new(variables))

    def run(self, module: Any, variables: Any, inputs: Sequence[Any]) -> Any:
        with exact_attention():
            return nnx.merge(nnx.graphdef(module), variables)(*inputs)

    def parts(self, variables: Any) -> tuple[Any, Any]:
        params, rest = nnx.split_state(variables, nnx.Param, ...)
        return params, rest

    def forward(self, module: Any, *, train: bool) -> Forward:
        module.train() if train else module.eval()
        graph = nnx.graphdef(module)
        module.eval()

        def forward(params: Any, rest: Any, inputs: Sequence[Any]) -> tuple[Any, Any]:
            made = nnx.merge(graph, params, _new(rest))
            with exact_attention():
                found = made(*inputs)
            return found, nnx.state(made, nnx.BatchStat)

        return forward

    def changed(self, variables: Any, params: Any, changes: Any) -> Any:
        return nnx.merge_state(variables, params, changes)

    @contextmanager
    def certain(self) -> Iterator[None]:
        with mock.patch.object(nnx.Dropout, "__call__", lambda layer, x, **options: x):
            yield


def _new(state: Any) -> Any:
    """Returns a state whose variables are new ones, of the trace that runs, where they may change."""
    return jax.tree.map(lambda leaf: leaf, state)


RUNTIMES: Mapping[str, Runtime] = {LINEN.name: Linen(), NNX.name: Nnx()}


def runtime(dialect: Dialect) -> Runtime:
    """Returns what is to be done with the modules of a dialect."""
    return RUNTIMES[dialect.name]

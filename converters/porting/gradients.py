"""One step backward of both models in float64, with what PyTorch differs from itself by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from converters.porting.doubling import QUICK, STATISTICS, certain, certain_torch, mapped, wide
from converters.porting.port import Written, call
from converters.porting.running import Forward, runtime


@dataclass(frozen=True, kw_only=True)
class Step:
    """Numbers of one step forward and backward.

    Attributes:
        outputs: In the Flax module's order of axes.
        gradients: By the names of PyTorch's parameters, and of the inputs by their numbers.
        statistics: Running statistics after it, by PyTorch's names.
        cotangents: Gradients that the floating-point outputs were given.
    """

    outputs: Sequence[np.ndarray]
    gradients: Mapping[str, np.ndarray]
    statistics: Mapping[str, np.ndarray]
    cotangents: Sequence[np.ndarray] = ()


def torch_step(
    twin: torch.nn.Module,
    written: Written,
    arguments: Mapping[str, Any],
    cotangents: Sequence[np.ndarray] | None = None,
) -> Step:
    """Runs PyTorch's side, in training if the written module knows it.

    Args:
        twin: In float64; its running statistics stay as they are.
        written: The source.
        arguments: Tensors by name.
        cotangents: For the floating-point outputs; random ones by default.
    """
    before = {name: buffer.clone() for name, buffer in twin.named_buffers()}
    leaves: list[torch.Tensor] = []

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point():
            leaves.append(tensor.requires_grad_())
        return tensor

    twin.zero_grad()
    found = _torch_outputs(twin, written, mapped(leaf, wide(dict(arguments))))
    cotangents = _pulled(found, cotangents)
    after = dict(twin.named_buffers())
    statistics = {n: after[n].numpy().copy() for n in before if _is_statistic(n, written)}
    with torch.no_grad():
        for name, buffer in before.items():
            after[name].copy_(buffer)
    gradients = {n: p.grad.numpy().copy() for n, p in twin.named_parameters() if p.grad is not None}
    of_inputs = {f"input {i}": each.grad.numpy() for i, each in enumerate(leaves) if each.grad is not None}
    return Step(
        outputs=[each.detach().numpy() for each in found],
        gradients=gradients | of_inputs,
        statistics=statistics,
        cotangents=cotangents,
    )


def _torch_outputs(twin: torch.nn.Module, written: Written, given: Mapping[str, Any]) -> list[torch.Tensor]:
    """Runs PyTorch's side forward, and returns what it gives with the Flax module's order of axes."""
    twin.train(written.uses_train)
    with certain_torch(), torch.enable_grad():
        # Modules may change their inputs in place, which leaves of the graph do not allow.
        args, kwargs = call(twin, mapped(lambda each: each.clone(), given))
        found = written.results(twin(*args, **kwargs), train=written.uses_train)
    twin.eval()
    return found


def _pulled(outputs: Sequence[torch.Tensor], cotangents: Sequence[np.ndarray] | None) -> Sequence[np.ndarray]:
    """Runs PyTorch's side backward from cotangents, which are random by default, and returns these."""
    floats = [each for each in outputs if each.is_floating_point()]
    if cotangents is None:
        rng = np.random.default_rng(1)
        cotangents = [rng.normal(size=each.shape) for each in floats]
    pairs = [(a, torch.from_numpy(b)) for a, b in zip(floats, cotangents, strict=True) if a.requires_grad]
    if pairs:
        torch.autograd.backward([a for a, _ in pairs], [b for _, b in pairs])
    return cotangents


def flax_step(
    ours: Any,
    written: Written,
    variables: Any,
    arguments: Mapping[str, Any],
    cotangents: Sequence[np.ndarray],
    ignore: Sequence[str],
) -> Step:
    """Runs the written module's side; arguments as for `torch_step`."""
    inputs = written.arrays(mapped(lambda each: each.numpy(), wide(dict(arguments))))
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, inputs))
    chosen = [index for index, each in enumerate(leaves) if _floating(each)]
    run = runtime(written.dialect)
    params, rest = run.parts(variables)
    forward = _forward(run.forward(ours, train=written.uses_train), written, rest, leaves, structure)

    @partial(jax.jit, compiler_options=QUICK)
    def step(params: Any, floats: Sequence[Any]) -> Any:
        _, pull, (outputs, changed) = jax.vjp(forward, params, floats, has_aux=True)
        return outputs, *pull([*cotangents]), changed

    with certain(run):
        found = step(params, [leaves[index] for index in chosen])
    outputs, of_params, of_inputs, changed = jax.tree.map(np.asarray, found)
    tensors = run.tensors(run.changed(variables, of_params, changed), ours, inputs, ignore)
    statistics = {n: each for n, each in tensors.items() if _is_statistic(n, written)}
    gradients = {n: each for n, each in tensors.items() if n not in statistics}
    slots: list[Any] = [None] * len(leaves)
    for index, each in zip(chosen, of_inputs, strict=True):
        slots[index] = each
    back = written.inputs_back(jax.tree.unflatten(structure, slots))
    return Step(
        outputs=outputs,
        gradients=gradients | {f"input {index}": each for index, each in enumerate(back)},
        statistics=statistics,
    )


def _forward(
    whole: Forward, written: Written, rest: Any, leaves: Sequence[Any], structure: Any
) -> Callable[[Any, Sequence[Any]], Any]:
    """Returns the written module as a function of its parameters and of its floating-point inputs.

    It gives the outputs that have gradients, and all outputs with the variables that changed.
    """
    rest = jax.tree.map(lambda each: jnp.asarray(each) if isinstance(each, np.ndarray) else each, rest)

    def forward(params: Any, floats: Sequence[Any]) -> Any:
        given = iter(floats)
        full = [next(given) if _floating(each) else each for each in leaves]
        found, changed = whole(params, rest, jax.tree.unflatten(structure, full))
        outputs = written.returned(found, train=written.uses_train)
        return [each for each in outputs if _floating(each)], (outputs, changed)

    return forward


def _is_statistic(name: str, written: Written) -> bool:
    return name.rpartition(".")[2] in STATISTICS or name in written.changed


def _floating(array: Any) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))

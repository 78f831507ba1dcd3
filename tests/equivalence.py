"""Runs a Flax module and a PyTorch module on the same numbers, and bounds how far they may differ."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import torch

import converters

FORWARD = 1e-12  # of the largest output; DESIGN, "Proof"
GRADIENT = 1e-8  # the most that a gradient's bound may ever be


@dataclass(frozen=True)
class Result:
    """Outputs, gradients by PyTorch's names, gradients of the inputs, and running statistics."""

    outputs: Sequence[np.ndarray]
    params: Mapping[str, np.ndarray]
    inputs: Sequence[np.ndarray]
    buffers: Mapping[str, np.ndarray] = field(default_factory=dict)


def randomise(module: torch.nn.Module, seed: int = 0, *, norms: float = 0.0) -> torch.nn.Module:
    """Float64 with every parameter and buffer random, so that no two of them can stand for each other.

    Scales of norms are about `norms`: around 0 they shrink what a layer says of its input, and dozens of them
    without residual connections leave nothing; around 1, hundreds with residual connections overflow.
    """
    rng = np.random.default_rng(seed)
    module.double()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                # Of the size that trained weights have, so that float32 keeps its digits through the layers.
                fan_in = math.prod(tensor.shape[1:]) if tensor.ndim > 1 else 10
                values = np.asarray(rng.normal(size=tensor.shape) / math.sqrt(fan_in or 1))
                values += norms * (tensor.ndim == 1 and name.endswith("weight"))
                tensor.copy_(
                    torch.from_numpy(np.abs(values) + 0.5 if name.endswith("running_var") else values)
                )
    return module


def run_torch(
    module: torch.nn.Module,
    inputs: Sequence[np.ndarray],
    cotangents: Sequence[np.ndarray] | None = None,
    call: Callable[..., Any] | None = None,
) -> Result:
    """One forward and backward pass; the mode is the module's. Cotangents of ones where none are given."""
    tensors = [torch.from_numpy(np.array(x, order="C")) for x in inputs]
    for tensor in tensors:
        tensor.requires_grad_(tensor.is_floating_point())
    module.zero_grad()
    outputs = (call or (lambda module, *inputs: module(*inputs)))(module, *tensors)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    if cotangents is not None:
        torch.autograd.backward(outputs, [torch.from_numpy(np.ascontiguousarray(c)) for c in cotangents])
    return Result(
        [output.detach().numpy() for output in outputs],
        {name: p.grad.numpy().copy() for name, p in module.named_parameters() if p.grad is not None},
        [tensor.grad.numpy() for tensor in tensors if tensor.grad is not None],
        {name: buffer.numpy().copy() for name, buffer in module.named_buffers()},
    )


def run_flax(
    module: nn.Module,
    variables: Mapping[str, Any],
    inputs: Sequence[np.ndarray],
    cotangents: Sequence[np.ndarray] | None = None,
    *,
    mutable: Sequence[str] = (),
    **kwargs: Any,
) -> tuple[tuple[np.ndarray, ...], Any, list[np.ndarray], Any]:
    """Outputs, gradients of the params and of the float inputs, and the changed collections; all NumPy."""
    return flax_step(module, inputs, mutable=mutable, **kwargs)(variables, inputs, cotangents)


def flax_step(
    module: nn.Module, inputs: Sequence[np.ndarray], *, mutable: Sequence[str] = (), **kwargs: Any
) -> Callable[..., tuple[tuple[np.ndarray, ...], Any, list[np.ndarray], Any]]:
    """Returns `run_flax` for inputs like these, as a function of variables, inputs and cotangents."""
    floats = [index for index, x in enumerate(inputs) if np.issubdtype(x.dtype, np.floating)]

    # One program compiles sooner than its operations do one by one.
    @jax.jit
    def step(variables: Any, inputs: Sequence[Any], cotangents: Sequence[Any] | None) -> Any:
        rest = {name: tree for name, tree in variables.items() if name != "params"}

        def forward(params: Any, chosen: Sequence[Any]) -> Any:
            full = list(inputs)
            for index, x in zip(floats, chosen, strict=True):
                full[index] = x
            out, changed = module.apply({"params": params, **rest}, *full, mutable=list(mutable), **kwargs)
            return tuple(jax.tree.leaves(out)), changed

        chosen = [inputs[index] for index in floats]
        outputs, pull, changed = jax.vjp(forward, variables.get("params", {}), chosen, has_aux=True)
        grads, input_grads = (None, []) if cotangents is None else pull(tuple(cotangents))
        return outputs, grads, input_grads, changed

    def run(variables: Any, inputs: Sequence[Any], cotangents: Sequence[Any] | None = None) -> Any:
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, step(dict(variables), list(inputs), cotangents))

    return run


def difference(a: np.ndarray, b: np.ndarray, scale: float | None = None) -> float:
    """The largest absolute difference, as a part of the scale: b's largest magnitude by default."""
    assert a.shape == b.shape, (a.shape, b.shape)
    assert a.dtype == b.dtype == np.float64, (a.dtype, b.dtype)
    scale = float(np.max(np.abs(b), initial=0)) if scale is None else scale
    return float(np.max(np.abs(a - b), initial=0)) / (scale or 1.0)


def check_gradients(
    ours: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], reordered: Mapping[str, np.ndarray]
) -> str:
    """Within ten times what torch differs from itself with the batch reversed; never more than GRADIENT.

    Measured against the largest gradient of the model, and for each tensor whose own largest is more than
    1e-8 of that, against its own. Returns the figures in words.
    """
    largest = max((float(np.abs(gradient).max(initial=0)) for gradient in reference.values()), default=0.0)
    visible = [n for n, gradient in reference.items() if np.abs(gradient).max(initial=0) > 1e-8 * largest]
    words = []
    for title, names, scale in (("of the largest", list(reference), largest), ("of its own", visible, None)):
        itself = max((difference(reordered[n], reference[n], scale) for n in names), default=0.0)
        found = max((difference(ours[n], reference[n], scale) for n in names), default=0.0)
        limit = min(max(10 * itself, FORWARD), GRADIENT)
        words.append(f"gradients differ by {found:.1e} {title}, torch from itself by {itself:.1e}")
        assert found <= limit, f"{words[-1]}, bound {limit:.1e}"
    return "; ".join(words)


def state_dict(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def flax_gradients(
    module: nn.Module, grads: Any, variables: Mapping[str, Any], *inputs: Any, **options: Any
) -> Any:
    """Gradients of the params by PyTorch's names: they move like the params themselves."""
    return converters.to_torch({**variables, "params": grads}, module, *inputs, **options)

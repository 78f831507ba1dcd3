"""Torch's functions: what they are called, which ones compute nothing, and which ones call others."""

import inspect
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

# What asks a tensor for its sizes.
ASKING = {"size", "numel", "nelement", "__len__", "shape", "dim", "ndim"}
HARMLESS = {"dim", "ndim"}  # of them, those whose answer is no size
# What neither computes with numbers nor tells any of them.
NOTHING = {"_assert", "__repr__", "__format__", "__hash__", "is_contiguous", "stride", "storage_offset"}
NOTHING |= {"requires_grad_", "requires_grad", "is_floating_point", "is_complex", "element_size", "is_tensor"}
NOTHING |= {"dtype", "device", "layout", "is_cuda", "is_cpu", "is_mps", "is_meta", "is_nested", "is_sparse"}
NOTHING |= {"is_quantized", "is_leaf", "grad_fn", "grad", "register_hook", "retain_grad", "names", "itemsize"}
NOTHING |= {"data_ptr", "get_device", "is_same_size", "is_inference", "is_signed", "is_mkldnn", "_version"}
NOTHING |= {"requires_grad=", "grad=", "names="}
# What draws random numbers.
RANDOM = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli"}
RANDOM |= {"bernoulli_", "normal", "normal_", "uniform_", "random_", "exponential_", "multinomial", "poisson"}
RANDOM |= {"cauchy_", "geometric_", "log_normal_", "rrelu"}
DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d"}
DROPOUTS |= {"alpha_dropout", "feature_alpha_dropout", "feature_dropout"}
DROPOUTS |= {f"{name}_" for name in DROPOUTS}
RANDOM |= DROPOUTS
# What keeps statistics of the arrays that it is given.
STATEFUL = {"batch_norm", "instance_norm"}
# What is a layer, if it is called with the arrays of one.
OWNED = {"linear", "conv1d", "conv2d", "conv3d", "batch_norm", "layer_norm", "group_norm"}

UPDATED = "updated"  # an operation that keeps what training makes of a buffer

_DECOMPOSED = ("torch.nn.functional", "torch.functional", "torch._tensor")


def name_of(func: Any) -> str:
    """Returns the name of a function, method or attribute of tensors."""
    name = str(getattr(func, "__name__", ""))
    if name in ("__get__", "__set__"):
        return str(getattr(func.__self__, "__name__", name)) + ("=" if name == "__set__" else "")
    return name


def decomposes(func: Any) -> bool:
    """Returns whether a function of torch is Python that calls others; not one that only chooses."""
    return func.__module__ in _DECOMPOSED and "_jit_internal" not in func.__code__.co_filename


@cache
def undispatched(func: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a copy of one of torch's Python functions that does not hand itself over to the recorder."""
    func = inspect.unwrap(func)
    assert isinstance(func, FunctionType)
    plain = {
        name: (lambda *tensors: False) for name in func.__globals__ if name.startswith("has_torch_function")
    }
    made = FunctionType(
        func.__code__, {**func.__globals__, **plain}, func.__name__, func.__defaults__, func.__closure__
    )
    made.__kwdefaults__ = func.__kwdefaults__
    return made

"""A torch module as Flax source, with its weights and the proof that it is the same."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import flax.linen as nn

from converters.comparison.compare import Comparison
from converters.errors import ConversionError
from converters.matching.search import NamesAndRules
from converters.porting.dialects import DIALECTS

if TYPE_CHECKING:
    from flax import nnx

    from converters.porting.proof import Proof

_ALONE = threading.RLock()


@dataclass(frozen=True, kw_only=True)
class Ported:
    """Result of `port`.

    Attributes:
        source: Text of a file of Python with one class for each class of the torch module that ran.
        module: The module, an instance made from that source. One of NNX has its weights and is in eval mode:
            call it, or train it after `module.train()`.
        variables: Its weights, in the torch module's own dtypes: NumPy arrays for `module.apply`; of a module
            of NNX its `nnx.State`, for `nnx.update` of another instance.
        names: Rules for `convert` from PyTorch's checkpoints: that the module's own arrays lie as there.
        ignore: Regular expressions of the tensors that the module did not use in the run, for `convert`.
        constants: Arrays of the module that no checkpoint has, by name: large tables that are computed when
            the torch module is made. `convert` takes them with the checkpoint's: {**tensors, **constants}.
        inputs: The inputs given, as the module takes them: images with their channels last.
        outputs: Outputs of the torch module for them in float64, as the module returns them.
        report: Comparison with the torch module, layer by layer, on the inputs given.
        proof: Differences with random weights at other sizes: of outputs, gradients and running statistics.
        notes: Sentences about what holds only for the inputs given, and what was left out.
    """

    source: str
    module: "nn.Module | nnx.Module"
    variables: "Mapping[str, Any] | nnx.State[Any, Any]"
    names: NamesAndRules
    ignore: tuple[str, ...]
    constants: Mapping[str, Any]
    inputs: tuple[Any, ...]
    outputs: Any
    report: Comparison
    proof: "Proof"
    notes: tuple[str, ...]


def port(
    torch_module: Any,
    *inputs: Any,
    target: str = "linen",
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    others: Sequence[Any] | Mapping[str, Any] | None = None,
    batch_norm: str = "copy",
    methods: Mapping[str, Any] | None = None,
) -> Ported:
    """Writes the Flax source of a torch module, fills it with the weights, and proves that it is the same.

    The module runs on the inputs several times, in eval mode and also in training if it then differs, and
    what it does is written. It runs at two sizes of the inputs: sizes that differ become expressions of the
    inputs' shapes. Nothing of it is executed but by calling it.

    Until it returns or raises, switches of torch and JAX that hold for the whole process are changed (float64
    as default, no chance): ports in several threads wait for each other, and other code must not compute.

    Args:
        torch_module: A torch.nn.Module on the CPU.
        inputs: Tensors for its `forward`, as it takes them: images with their channels first.
        target: "linen", or "nnx" for modules that have their weights, and `train()` and `eval()`.
        kwargs: Keyword arguments for its `forward`.
        others: The inputs at other sizes; a mapping holds them by the names of `forward`'s arguments. By
            default the batch and the size of images, or the length of sequences, change as far as the module
            takes it; the notes say what did not.
        batch_norm: "copy" writes the batch norm, whose running variance is PyTorch's, into the file; "zoo"
            imports it from there.
        methods: In place of `inputs`, the methods to port with the arguments of each, or a mapping of their
            names: {"encode": (x,), "decode": (z,)}; "forward" is one, too. The class has these, and a
            `__call__` that takes the arguments of all, in their order, and returns a tuple. `others` is then
            like it.

    Raises:
        ConversionError: the module does what cannot be written, with the file and line of the torch code; if
            a module inside it does so, the error's `source` has all others, and a class to be written that
            raises a NotImplementedError. Or outputs, gradients or running statistics differ in float64, with
            the first layer that differs.
    """
    _check(torch_module, target, batch_norm, methods, call=(inputs, kwargs))
    from converters.porting.work import ported, ported_methods

    with _ALONE:
        if methods is not None:
            return ported_methods(torch_module, methods, others, batch_norm)
        return ported(torch_module, inputs, kwargs, others, batch_norm, DIALECTS[target])


def _check(
    torch_module: Any,
    target: str,
    batch_norm: str,
    methods: Mapping[str, Any] | None,
    *,
    call: tuple[Sequence[Any], Mapping[str, Any]],
) -> None:
    """Refuses arguments of `port` that do not go together."""
    if not hasattr(torch_module, "named_modules"):
        raise ConversionError(f"port takes a torch.nn.Module, not a {type(torch_module).__name__}")
    if target not in DIALECTS:
        raise ConversionError(f"target={target!r}: expected {' or '.join(map(repr, DIALECTS))}.")
    if batch_norm not in ("copy", "zoo"):
        raise ConversionError(f"batch_norm={batch_norm!r}: expected 'copy' or 'zoo'.")
    if batch_norm == "zoo" and target == "nnx":
        raise ConversionError("batch_norm='zoo' is linen's; use 'copy' with target='nnx'.")
    if methods is not None and target == "nnx":
        raise ConversionError("methods= is for target='linen'; with target='nnx', port the methods apart.")
    if methods is not None and any(call):
        raise ConversionError('with methods=, give the inputs of forward as methods={"forward": (x,), ...}')

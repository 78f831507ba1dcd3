"""A torch module as a directory of the zoo: its Flax source, weights, golden outputs and certificate."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import flax.linen as nn
import jax
import numpy as np

import converters
from converters.formats import WEIGHTS_FILE, safetensors
from converters.io import atomic_write
from converters.nnx import NnxTarget
from zoo._errors import WeightsError, ZooError
from zoo._registry.entry import Input
from zoo._registry.manifest import CONFIG
from zoo._saving import save, verify
from zoo._saving.call import Call
from zoo._variables.tree import count_params, flatten

SOURCE = "net.py"
CERTIFICATE = "certificate.txt"  # what the comparison with PyTorch found
LARGEST_ID = 10  # of token ids that are drawn, where the module takes them
PADDED = 0.25  # of each mask


@dataclass(frozen=True, kw_only=True)
class PortedTo:
    """Result of a port to a directory.

    Attributes:
        directory: Holds the source, weights, golden outputs and certificate.
        root: Name of the class of the whole module.
        ported: Result of `converters.port`.
        notes: Sentences for the user.
    """

    directory: Path
    root: str
    ported: converters.Ported
    notes: tuple[str, ...]


def port_to(
    torch_module: Any,
    call: Call,
    out: str | os.PathLike[str],
    *,
    target: str = "linen",
    overwrite: bool = False,
    methods: Mapping[str, Call] | None = None,
) -> PortedTo:
    """Ports a torch module, and writes the source and the model beside it.

    Args:
        torch_module: A torch.nn.Module.
        call: The call to trace: shapes of its inputs as PyTorch has them, and other keyword arguments.
        out: The directory, as `zoo.save` writes it.
        target: As for `converters.port`.
        overwrite: Replaces what is there.
        methods: Calls of the methods to trace, in place of `call`.

    Raises:
        ConversionError: the module cannot be ported, or the written one differs.
        ZooError: the directory has a model already.
    """
    out = Path(out)
    save.check_target(out, overwrite=overwrite, also=(SOURCE,))
    if call.method is not None:
        raise ZooError("method= is for modules of Flax; port takes what `forward` does.")
    try:
        ported = _ported(torch_module, call, methods, target)
    except converters.ConversionError as error:
        if not error.source:
            raise
        out.mkdir(parents=True, exist_ok=True)
        (out / SOURCE).write_text(error.source, encoding="utf-8")
        advice = f"wrote all else to {str(out / SOURCE)!r}; what is yours to write raises NotImplementedError"
        raise converters.ConversionError(f"{error}\n{advice}") from error
    notes = list(ported.notes)
    beside = {SOURCE: ported.source.encode(), CERTIFICATE: certificate(ported).encode()}
    try:
        beside[save.GOLDEN] = _golden(ported)
    except WeightsError as error:
        notes.append(f"no golden outputs: {str(error).splitlines()[0]}")
    if isinstance(ported.module, nn.Module):
        _write(out, ported.module, ported, beside, overwrite=overwrite)
    else:
        _write_nnx(out, ported, beside)
    root = type(ported.module).__name__
    return PortedTo(directory=out, root=root, ported=ported, notes=tuple(notes))


def _write(
    out: Path, module: nn.Module, ported: converters.Ported, beside: Mapping[str, bytes], *, overwrite: bool
) -> None:
    """Writes a model of linen, which `zoo.load` takes."""
    entry = save.recorded(None, module, _flat(ported.inputs) or ())
    entry = replace(entry, num_params=count_params(ported.variables))
    flat = flatten(ported.variables)
    save.write(out, entry, lambda path: safetensors.write(path, flat), beside=beside, overwrite=overwrite)


def _write_nnx(out: Path, ported: converters.Ported, beside: Mapping[str, bytes]) -> None:
    """Writes the weights of a model of NNX under PyTorch's names, which `converters.convert` takes."""
    tensors = converters.to_torch(ported.variables, ported.module)
    out.mkdir(parents=True, exist_ok=True)
    # The record is that of a port to linen: without it, the directory is no model of the zoo's.
    save.clear(out, [], (CONFIG, CERTIFICATE, *save.COMPUTED))
    safetensors.write(out / WEIGHTS_FILE, tensors)
    for name, content in beside.items():
        with atomic_write(out / name) as file:
            file.write(content)


def _ported(
    torch_module: Any, call: Call, methods: Mapping[str, Call] | None, target: str
) -> converters.Ported:
    if not methods:
        args, keywords = _drawn(torch_module, call)
        return converters.port(torch_module, *args, target=target, kwargs={**keywords, **call.values})
    drawn = {name: _drawn(getattr(torch_module, name, None), each)[0] for name, each in methods.items()}
    return converters.port(torch_module, target=target, methods=drawn)


def certificate(ported: converters.Ported) -> str:
    """Returns what the proof of a port found, as text."""
    proof = ported.proof
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "jax", "flax"))
    lines = [
        f"{type(ported.module).__name__} against PyTorch's, in float64 with {libraries}.",
        "Differences are parts of the largest number.",
        "",
        f"outputs, random weights, other sizes   {proof.output:.1e}",
        f"gradients of parameters and inputs     {proof.gradients:.1e}",
        f"running statistics after a step        {proof.statistics:.1e}",
        f"PyTorch itself, batch in reverse       {proof.reordered:.1e}",
        "",
        *ported.notes,
        *([""] if ported.notes else []),
        "Layer by layer, with the module's own weights:",
        "",
        str(ported.report),
        "",
    ]
    return "\n".join(lines)


def _golden(ported: converters.Ported) -> bytes:
    """Returns a golden file of what PyTorch makes of the inputs.

    Raises:
        WeightsError: the module does not take arrays, or does not compute in float64 throughout.
    """
    inputs = _flat(ported.inputs)
    if inputs is None:
        raise WeightsError("the inputs are no arrays but nested")
    outputs = jax.tree.leaves(ported.outputs)
    if not all(each.dtype.kind == "f" for each in outputs):
        raise WeightsError("some outputs are no floating-point numbers")
    wide = [each.astype(np.float64) if each.dtype.kind == "f" else each for each in inputs]
    with TemporaryDirectory() as home:
        path = Path(home) / save.GOLDEN
        verify.write_golden(path, {"__call__": (wide, outputs)}, made_by=f"PyTorch {version('torch')}")
        if isinstance(ported.module, nn.Module):
            verify.check_golden(ported.module, ported.variables, path)
        else:
            target = NnxTarget.of(ported.module)
            verify.check_golden(target, verify.nnx_arrays(target, ported.variables), path)
        return path.read_bytes()


def _flat(inputs: Sequence[Any]) -> list[np.ndarray] | None:
    """Returns inputs in the dtypes that JAX has by default; None if one is nested."""
    if not all(isinstance(each, np.ndarray) for each in inputs):
        return None
    return [each.astype(jax.dtypes.canonicalize_dtype(each.dtype)) for each in inputs]


def _drawn(function: Any, call: Call) -> tuple[list[Any], Mapping[str, Any]]:
    """Returns example inputs: random numbers, ids that the module takes, and masks that mask the end."""
    import torch

    for largest in (LARGEST_ID, 2):
        rng = np.random.default_rng(0)
        args = [torch.from_numpy(_array(each, rng, largest)) for each in call.inputs]
        kwargs: dict[str, Any] = {}
        for each in call.keywords:
            name, _, key = each.name.partition(".")
            tensor = torch.from_numpy(_array(each, rng, largest))
            if key:
                kwargs.setdefault(name, {})[key] = tensor
            else:
                kwargs[name] = tensor
        try:
            with torch.no_grad():
                function(*args, **kwargs, **call.values)
        except Exception:  # an id that is too large; whatever else it is, `port` says
            continue
        break
    return args, kwargs


def _array(each: Input, rng: np.random.Generator, largest: int) -> np.ndarray:
    if "mask" in each.name:
        mask = np.ones(each.shape, each.dtype)
        mask[-1:, ..., int(each.shape[-1] * (1 - PADDED)) :] = 0
        return mask
    if each.dtype.startswith("float"):
        return rng.standard_normal(each.shape).astype(each.dtype)
    return rng.integers(0, 2 if each.dtype == "bool" else largest, each.shape).astype(each.dtype)

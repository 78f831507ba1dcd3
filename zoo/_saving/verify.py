"""Checks that weights are intact, and compute on this machine what they computed before.

A golden file has example inputs and what the PyTorch implementation, or whoever its metadata names, makes of
them in float64. It lies beside the weights: `golden.safetensors` in a model's directory or repository,
`NAME.golden.safetensors` for `NAME.safetensors`. Its keys are `METHOD/inputs/INDEX` and
`METHOD/outputs/INDEX`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from numpy.typing import ArrayLike

import converters
from converters.errors import CheckpointError
from converters.formats import WEIGHTS_FILE, safetensors
from converters.io import aligned_read, named_errors
from converters.matching import dtype_kind, nonfinite
from zoo._errors import WeightsError, ZooError
from zoo._loading import weights
from zoo._loading.companions import companion
from zoo._loading.load import pretrained_arrays
from zoo._loading.located import Located
from zoo._loading.own_nnx import checked
from zoo._loading.resolve import resolve
from zoo._loading.weights import locate
from zoo._registry.entry import UNATTESTED
from zoo._registry.manifest import CONFIG
from zoo._saving.own_module import OwnModule
from zoo._saving.save import GOLDEN
from zoo._variables.tree import count_params, unflatten

if TYPE_CHECKING:
    from converters.nnx import NnxTarget  # it imports flax.nnx, which linen does without

# In float64 the same arithmetic in another order differs by less, and any other arithmetic by more.
TOLERANCE = 1e-12
MAX_GOLDEN = 1 << 30  # bytes
MADE_BY = "made_by"  # of the file's metadata

Call = tuple[Sequence[ArrayLike], Sequence[ArrayLike]]  # inputs, outputs


@dataclass(frozen=True)
class Verified:
    """Report of a verification: each comparison that passed.

    Attributes:
        file: The weights' file.
        sha256: Its hash, which the model's record has; None where nobody has published one.
        num_params: As the record says, all finite.
        difference: The largest one from the golden outputs, as a share of the largest output; None without.
        made_by: Library that made the golden outputs.
    """

    file: Path
    sha256: str | None
    num_params: int
    difference: float | None
    made_by: str = "PyTorch"


def verify(name: str | os.PathLike[str], *, module: OwnModule | None = None) -> Verified:
    """Checks a model's weights: hash, arrays, number of parameters, finiteness, and golden outputs if any.

    Args:
        name: Name of the manifest, or a model's directory.
        module: A module of your own, for its directory.

    Raises:
        WeightsError: any of them is not right.
    """
    if not isinstance(module, nn.Module | None) and _is_of_tensors(Path(name)):
        return _verified(Path(name) / WEIGHTS_FILE, module)
    located = resolve(name)
    entry = located.entry
    built, arrays = _pretrained(located, module)
    variables = unflatten(arrays)
    count = count_params(variables)
    if located.counted and count != entry.num_params:
        raise WeightsError(f"{entry.name!r} has {count:,} parameters; its record says {entry.num_params:,}.")
    bad = [path for path, array in arrays.items() if nonfinite(array)]
    if bad:
        raise WeightsError(f"{entry.name!r} has NaN or infinity in {', '.join(bad)}.")
    file = locate(located)
    if located.weights.repo:
        companion(located, GOLDEN, MAX_GOLDEN)
    attested = located.weights.sha256 != UNATTESTED
    found = Verified(
        file=file,
        sha256=located.weights.sha256 if attested else None,
        num_params=count,
        difference=None,
    )
    return _compared(found, built, variables if isinstance(built, nn.Module) else arrays)


def _compared(found: Verified, module: OwnModule, variables: Mapping[str, Any]) -> Verified:
    """Adds how far a module is from the golden file, if there is one."""
    golden = golden_path(found.file)
    if not golden.exists():
        return found
    difference = _compare(module, variables, golden)
    return replace(found, difference=difference, made_by=_metadata(golden).get(MADE_BY, found.made_by))


def _is_of_tensors(directory: Path) -> bool:
    """Returns whether a directory has weights without a record, as `zoo port --target nnx` writes it."""
    return (directory / WEIGHTS_FILE).is_file() and not (directory / CONFIG).exists()


def _verified(file: Path, target: "NnxTarget") -> Verified:
    """Checks the tensors of an NNX module, which have PyTorch's names."""
    arrays = nnx_arrays(target, converters.convert(file, target.module))
    bad = [path for path, array in arrays.items() if nonfinite(array)]
    if bad:
        raise WeightsError(f"{str(file)!r} has NaN or infinity in {', '.join(bad)}.")
    count = sum(each.size for path, each in arrays.items() if path.startswith("params/"))
    found = Verified(file=file, sha256=None, num_params=count, difference=None)
    return _compared(found, target, arrays)


def nnx_arrays(target: "NnxTarget", variables: Any) -> dict[str, np.ndarray]:
    """Returns the arrays of an NNX module by path.

    Args:
        target: The module.
        variables: It, or its `nnx.State`.
    """
    (inspection, *_) = target.inspections()
    found = target.values(variables, inspection)
    return {"/".join(path): np.asarray(each) for path, each in found.items()}


def _pretrained(located: Located, module: OwnModule | None) -> tuple[OwnModule, dict[str, np.ndarray]]:
    if module is None or isinstance(module, nn.Module):
        return pretrained_arrays(located, module)
    return module, dict(checked(weights.read(located), module))


def golden_path(file: Path) -> Path:
    """The golden file of a file of weights."""
    own = file.name.partition(".")[0] == Path(WEIGHTS_FILE).stem
    return file.with_name(GOLDEN) if own else file.with_suffix(".golden.safetensors")


def write_golden(
    path: str | os.PathLike[str],
    calls: Mapping[str, Call],
    *,
    made_by: str = "PyTorch",
    overwrite: bool = False,
) -> None:
    """Writes a golden file, which `verify` compares with what a model computes.

    Args:
        path: `golden.safetensors` in the model's directory.
        calls: For each method (`__call__`, `decode`), its inputs and what the PyTorch implementation makes of
            them in float64, its axes in Flax's order.
        made_by: With its version; names whoever it is instead.
        overwrite: If true, replaces a file there.
    """
    arrays = {
        f"{method}/{side}/{index}": np.asarray(array)
        for method, call in calls.items()
        for side, part in zip(("inputs", "outputs"), call, strict=True)
        for index, array in enumerate(part)
    }
    safetensors.write(Path(path), arrays, metadata={MADE_BY: made_by}, overwrite=overwrite)


def check_golden(module: OwnModule, variables: Mapping[str, Any], path: Path) -> float:
    """Returns the largest difference of what a module computes from a golden file.

    Args:
        module: The module.
        variables: Its variables; of an NNX module as from `nnx_arrays`.
        path: The file.

    Raises:
        WeightsError: it is too large, or the module does not take the inputs.
    """
    return _compare(module, jax.tree.map(np.asarray, variables), path)


def own_golden(
    path: Path, module: nn.Module, variables: Mapping[str, Any], inputs: Sequence[np.ndarray], made_by: str
) -> None:
    """Writes a golden file of what the module itself makes of the inputs.

    Raises:
        WeightsError: it does not take them, or not in float64 throughout.
    """
    arrays = jax.tree.map(np.asarray, variables)
    outputs = _run(module, arrays, "__call__", inputs)
    # Compiled, it does the same arithmetic in another order, as other machines will.
    again = _run(module, arrays, "__call__", inputs, compiled=True)
    found = max(map(_difference, again, outputs), default=np.inf)
    if not found <= TOLERANCE / 10:
        raise WeightsError(f"it computes in less than float64, to {found:.0e} of the largest output")
    write_golden(path, {"__call__": (inputs, outputs)}, made_by=made_by)


def _difference(output: np.ndarray, right: np.ndarray) -> float:
    """The largest one, as a share of the largest output."""
    return float(np.abs(output - right).max() / (np.abs(right).max() or 1.0))


def _metadata(path: Path) -> dict[str, str]:
    """Returns the metadata of a safetensors file that was parsed already."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata: dict[str, str] = header.get("__metadata__") or {}
    return metadata


def _compare(module: OwnModule, variables: Mapping[str, Any], path: Path) -> float:
    """The largest difference from the golden outputs, as a share of the largest of each."""
    found = 0.0
    for method, (inputs, expected) in _calls(path).items():
        outputs = _run(module, variables, method, inputs)
        shapes, golden_shapes = [each.shape for each in outputs], [each.shape for each in expected]
        if shapes != golden_shapes:
            raise WeightsError(f"{method} gives shapes {shapes}; {str(path)!r} has {golden_shapes}.")
        for output, right in zip(outputs, expected, strict=True):
            difference = _difference(output, right)
            if not difference <= TOLERANCE:
                raise WeightsError(
                    f"{method} is {difference:.1e} of the largest output from {str(path)!r}, "
                    f"at most {TOLERANCE:.0e} is right: other weights, or this machine computes wrongly."
                )
            found = max(found, difference)
    return found


def _calls(path: Path) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    try:
        buffer = aligned_read(path)
        with named_errors(path):
            arrays = safetensors.parse(buffer)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    calls: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for key in sorted(arrays, key=lambda key: (*key.split("/")[:2], len(key), key)):
        method, _, rest = key.partition("/")
        side = {"inputs": 0, "outputs": 1}.get(rest.partition("/")[0])
        if side is None:
            raise WeightsError(f"{str(path)!r} is no golden file: it has the key {key!r}.")
        calls.setdefault(method, ([], []))[side].append(arrays[key])
    if not calls or not all(outputs and all(each.size for each in outputs) for _, outputs in calls.values()):
        raise WeightsError(f"{str(path)!r} is no golden file: it lacks outputs.")
    return calls


def _run(
    module: OwnModule,
    variables: Mapping[str, Any],
    method: str,
    inputs: Sequence[np.ndarray],
    *,
    compiled: bool = False,
) -> list[np.ndarray]:
    """The outputs in float64, as NumPy arrays."""
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda a: a.astype(np.float64) if dtype_kind(a.dtype) == "float" else a, variables
        )
        if isinstance(module, nn.Module):
            apply = partial(partial(module.apply, method=method), wide)
        else:
            apply = partial(_run_nnx, module, wide, method)
        try:
            outputs = jax.tree.leaves((jax.jit(apply) if compiled else apply)(*inputs))
        except (TypeError, ValueError, AttributeError, FlaxError, ZooError) as error:
            raise WeightsError(f"{method} does not take the golden inputs: {error}") from error
        return [np.asarray(output) for output in outputs]


def _run_nnx(target: "NnxTarget", arrays: Mapping[str, Any], method: str, *inputs: np.ndarray) -> Any:
    from converters.nnx import doubled, exact_attention

    made = doubled(target.module, ((tuple(path.split("/")), each) for path, each in arrays.items()))
    with exact_attention():
        return getattr(made, method)(*map(jnp.asarray, inputs))

"""A model as a directory, which `zoo.load` and every NAME of the command line take."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from converters import _safetensors
from converters._errors import CheckpointError
from converters._files import aligned_read, atomic_write
from zoo._entry import Entry, Frozen, Input, Weights
from zoo._errors import WeightsError, ZooError
from zoo._manifest import CONFIG, read_saved
from zoo._model import Model, count_params, flatten

WEIGHTS = "model.safetensors"


def save(
    model: Model,
    directory: str | os.PathLike[str],
    *,
    inputs: Sequence[ArrayLike | jax.ShapeDtypeStruct] = (),
) -> None:
    """Writes model.safetensors and config.json; `zoo.load(directory, pretrained=True)` is the way back.

    Args:
        model: The model; a module that is none of the zoo's is passed again to load, as `module=`.
        directory: Made where it is missing, refused where it holds a model.
        inputs: Example arrays or their shapes, for a module of your own: loading then checks every array.

    Raises:
        WeightsError: the variables cannot be stored, or the files cannot be written.
    """
    target = Path(directory)
    flat = flatten(model.variables)
    _check_leaves(flat)
    taken = [name for name in (WEIGHTS, CONFIG) if os.path.lexists(target / name)]
    if taken:
        raise ZooError(f"{str(target)!r} has {' and '.join(taken)} already; choose another directory.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        _safetensors.write(target / WEIGHTS, flat)
        _complete(target, _record(model, inputs))
    except (CheckpointError, OSError) as error:
        raise WeightsError(f"{model!r} cannot be saved: {error}") from error


def _check_leaves(flat: Mapping[str, Any]) -> None:
    # Random keys have dtypes of jax's own, and Python's numbers none.
    wrong = {path: leaf for path, leaf in flat.items() if not isinstance(getattr(leaf, "dtype", 0), np.dtype)}
    if wrong or not flat:
        lines = "".join(
            f"\n  {path}: {getattr(leaf, 'dtype', type(leaf).__name__)}" for path, leaf in wrong.items()
        )
        raise WeightsError(f"a file holds arrays of numbers, found:{lines or ' none'}")


def _record(model: Model, inputs: Sequence[ArrayLike | jax.ShapeDtypeStruct]) -> Entry:
    """The model's entry, brought up to date; a new one for a module of one's own."""
    entry = model.entry or Entry(type(model.module).__name__, 0)
    if inputs:
        shapes = jax.eval_shape(lambda: tuple(jax.numpy.asarray(each) for each in inputs))
        named = [Input(f"input{index}", each.shape, str(each.dtype)) for index, each in enumerate(shapes)]
        entry = replace(entry, inputs=tuple(named))
    return replace(entry, num_params=count_params(model.variables))


def _complete(target: Path, entry: Entry) -> None:
    """Writes config.json for the weights in the directory, or removes them."""
    try:
        content = aligned_read(target / WEIGHTS)
        weights = Weights(sha256=hashlib.sha256(content.data).hexdigest(), size=content.size, file=WEIGHTS)
        # Metrics belong to the bytes they were measured on; an entry without weights has the caller's own.
        stale = entry.weights is not None and entry.weights.sha256 != weights.sha256
        entry = replace(entry, weights=weights, layout=None, metrics=Frozen() if stale else entry.metrics)
        with atomic_write(target / CONFIG) as file:
            file.write(_json(entry).encode())
        if read_saved(target) != entry:
            (target / CONFIG).unlink()
            raise ZooError(f"config.json cannot hold {dict(entry.config)}; use numbers, text and lists.")
    except BaseException:
        (target / WEIGHTS).unlink(missing_ok=True)
        raise


def _json(entry: Entry) -> str:
    """The fields that say something, spelt as in the manifest."""

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return {name: field for name, field in vars(value).items() if field not in (None, (), Frozen())}
        if isinstance(value, Mapping):
            return dict(value)
        raise ZooError(f"config.json cannot hold {value!r}; use numbers, text and lists.")

    return json.dumps(plain(entry), default=plain, indent=2, ensure_ascii=False) + "\n"

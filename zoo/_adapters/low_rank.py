"""LoRA in training: thin matrices beside a model's kernels, which alone learn, and PEFT's files of them."""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from converters import write_checkpoint
from converters.inspection import Path as Names
from converters.io import atomic_write
from converters.matching import Link
from zoo._adapters.config import KIND
from zoo._adapters.files import WEIGHTS
from zoo._adapters.places import layouts
from zoo._errors import TrainingError, ZooError
from zoo._loading.repositories import ADAPTER_CONFIG
from zoo._model import Model, record_of
from zoo._saving import transformers_folder

FACTORS = "low_rank"  # beside the layers of the params: path of a kernel -> its two matrices
WEIGHT = ".weight"
TASK_TYPES = {
    "classification": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
}  # head of a text model -> PEFT's


class Factors(NamedTuple):
    """Matrices (..., in, rank) and (..., rank, out), whose product is added to a kernel (..., in, out)."""

    down: jax.Array
    up: jax.Array


def with_factors(
    model: Model, rank: int, *, head: Collection[str], seed: int, layout: str | None = None
) -> Model:
    """Returns the model with matrices beside the kernels of all its dense layers but the head's.

    They begin as PEFT's do, so that outputs are the same at first: the first random, the second zero.

    Args:
        model: The base model.
        rank: Rank of the matrices.
        head: Layers that learn whole.
        seed: Seed of the random matrices.
        layout: Layout of the base model's file, whose layers get them.

    Raises:
        TrainingError: it has no dense layers, or PyTorch keeps them in another way.
    """
    params = flatten_dict(model.variables["params"])
    kernels = [path for path in _kernels(_links(model, layout)) if path[0] not in head]
    if not kernels:
        raise TrainingError(
            f"{model.name!r} has no dense layers that LoRA could adapt; leave lora_rank= out."
        )
    keys = jax.random.split(jax.random.key(seed), len(kernels))
    made: dict[Names, Any] = {}
    for path, key in zip(kernels, keys, strict=True):
        *lifts, inputs, outputs = params[path].shape
        dtype, bound = params[path].dtype, 1 / math.sqrt(inputs)
        made[*path, "down"] = jax.random.uniform(key, (*lifts, inputs, rank), dtype, -bound, bound)
        made[*path, "up"] = jnp.zeros((*lifts, rank, outputs), dtype)
    learning = {**model.variables["params"], FACTORS: unflatten_dict(made)}
    return model.replace(variables={**model.variables, "params": learning})


def merged(variables: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Returns a model's variables: each kernel with the product of its matrices, where it has some."""
    params = dict(variables["params"])
    factors = _factors(params.pop(FACTORS, {}))
    flat = flatten_dict(params)
    for path, (down, up) in factors.items():
        flat[path] = flat[path] + (scale * (down @ up)).astype(flat[path].dtype)
    return {**variables, "params": unflatten_dict(flat)}


def write(
    model: Model,
    directory: Path,
    *,
    alpha: float,
    head: Collection[str],
    base: str,
    layout: str | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the adapter as PEFT's `save_pretrained` does, which loads it beside the base model.

    Args:
        model: The trained model, with its matrices.
        directory: Made where it is missing.
        alpha: Scale of the products, times the rank.
        head: Layers that learnt whole.
        base: Name of the base model.
        layout: Layout of its file, whose layers' names the adapter has.
        overwrite: If true, replaces an adapter in the directory.
    """
    params = dict(model.variables["params"])
    factors, links = _factors(params.pop(FACTORS)), _links(model, layout)
    tensors = {
        f"{name.removesuffix(WEIGHT)}.{part}": np.ascontiguousarray(np.asarray(matrix).T)
        for path, link in _kernels(links).items()
        if path in factors
        for index, name in enumerate(link.tensors)
        for part, matrix in _of_block(factors[path], link, index)
    }
    flat = flatten_dict(params)
    whole = {
        name: np.ascontiguousarray(tensor)
        for link in links
        if link.arrays[0].path[1] in head and link.arrays[0].path[0] == "params"
        for name, tensor in zip(
            link.tensors, link.to_torch(tuple(np.asarray(flat[a.path[1:]]) for a in link.arrays)), strict=True
        )
    }
    targets = sorted({name.rpartition(".lora_")[0] for name in tensors})
    config = {
        "peft_type": KIND,
        "task_type": TASK_TYPES.get(str(getattr(model.module, "head", None))),
        "base_model_name_or_path": base,
        "r": int(next(iter(factors.values())).up.shape[-2]),
        "lora_alpha": alpha,
        "target_modules": targets,
        "modules_to_save": sorted({name.rpartition(".")[0] for name in whole}),
        "bias": "none",
        "inference_mode": True,
    }
    directory.mkdir(parents=True, exist_ok=True)
    named = {f"base_model.model.{name}": tensor for name, tensor in (tensors | whole).items()}
    write_checkpoint(named, directory / WEIGHTS[0], overwrite=overwrite)
    with atomic_write(directory / ADAPTER_CONFIG, overwrite=overwrite) as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())


def _factors(nested: Mapping[str, Any]) -> dict[Names, Factors]:
    flat = flatten_dict(nested)
    return {
        path[:-1]: Factors(array, flat[*path[:-1], "up"])
        for path, array in flat.items()
        if path[-1] == "down"
    }


def _links(model: Model, layout: str | None) -> list[Link]:
    """Returns the links of a model's arrays to tensors: of the layout, or else of transformers' class."""
    known, entry = layouts(model), record_of(model)
    if layout not in known:
        try:
            layout = transformers_folder.layout_of(model.module, entry)
        except ZooError:  # transformers has no such class
            layout = next(iter(known))
    return list(dict.fromkeys(place.link for place in known[layout].values()))


def _kernels(links: list[Link]) -> dict[Names, Link]:
    """Returns the links of dense layers' kernels, by their paths in the params."""
    found: dict[Names, Link] = {}
    for link in links:
        array = link.arrays[0]
        plain = len(link.arrays) == 1 and all(name.endswith(WEIGHT) for name in link.tensors)
        lifts = len(array.lifts)
        if (
            plain
            and array.path[0] == "params"
            and array.path[-1] == "kernel"
            and len(array.shape) == lifts + 2
            and all(lift.axis == 0 for lift in array.lifts)
            and len(link.tensors) == math.prod(array.shape[:lifts])
        ):
            found[array.path[1:]] = link
    return found


def _of_block(factors: Factors, link: Link, index: int) -> Iterator[tuple[str, jax.Array]]:
    """Yields the names and matrices of one of the layers that a kernel is of."""
    lifts = [range(lift.size) for lift in link.arrays[0].lifts]
    place = [*product(*lifts)][index]
    yield "lora_A.weight", factors.down[place]
    yield "lora_B.weight", factors.up[place]

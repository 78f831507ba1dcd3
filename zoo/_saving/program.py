"""A model as a program of StableHLO, which jax alone runs, without this package."""

import dataclasses
import json
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from converters.formats import WEIGHTS_FILE, safetensors
from zoo._errors import WeightsError, ZooError
from zoo._loading.given import Given, model_of
from zoo._model import Model, record_of
from zoo._registry import families
from zoo._registry.entry import Input, fields_of
from zoo._saving.save import GOLDEN, check_target, move
from zoo._variables.tree import flatten, unflatten

PROGRAM, DESCRIPTION = "program.stablehlo", "program.json"
PLATFORMS = ("cpu", "cuda", "tpu")
VERSION = 1  # of the description
TOLERANCE = 1e-6  # of the largest output: the same arithmetic in float32, compiled for another batch
MASK = "attention_mask"
BATCHES = (2, 3)  # of the inputs that a program is compared on

CALL = """\
import jax, safetensors.numpy

program = jax.export.deserialize(bytearray(open("program.stablehlo", "rb").read()))
weights = safetensors.numpy.load_file("model.safetensors")
outputs = program.call(weights, *inputs)
"""


def export_stablehlo(
    model: Given, directory: str | Path, *, weights: str = "beside", overwrite: bool = False
) -> float:
    """Writes a model as a program of StableHLO, which jax runs without this package.

    The directory has the program, its weights, `program.json` that says inputs, outputs, preprocessing and
    classes, and example outputs. The number of examples is free, and for texts that of tokens.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        directory: Where it goes.
        weights: "beside" the program, as the first argument of its call, or "inside" it.
        overwrite: If true, replaces a program in the directory.

    Returns:
        The largest difference of its outputs from the model's, as a share of the largest.

    Raises:
        ZooError: nobody says what the model takes, or it cannot be exported.
        WeightsError: the program computes something else.
    """
    if weights not in ("beside", "inside"):
        raise ZooError(f"weights={weights!r}; expected 'beside' or 'inside'.")
    model, target = model_of(model), Path(directory)
    inputs = _inputs(model)
    check_target(target, overwrite=overwrite, also=(PROGRAM, DESCRIPTION))
    flat = {path: np.asarray(leaf) for path, leaf in flatten(model.variables).items()}
    run, inside = _function(model, inputs), weights == "inside"
    shapes = _symbolic(model, inputs)
    given = {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in flat.items()}
    try:
        if inside:
            exported = jax_export.export(jax.jit(lambda *args: run(flat, *args)), platforms=PLATFORMS)(
                *shapes
            )
        else:
            exported = jax_export.export(jax.jit(run), platforms=PLATFORMS)(given, *shapes)
    except Exception as error:  # of jax, of Flax, or of the module
        reason = str(error).partition("\n")[0]
        raise ZooError(f"{model.name!r} cannot be exported for any number of examples: {reason}") from error
    content = exported.serialize()
    again = jax_export.deserialize(bytearray(content))
    arguments = () if inside else (flat,)
    difference, golden = _compared(lambda *args: again.call(*arguments, *args), model, inputs)
    outputs = {name: [str(size) for size in leaf.shape] for name, leaf in _named(_tree(exported)).items()}
    described = {**_description(model, inputs, shapes), "outputs": outputs, "weights": weights}
    described |= {"platforms": PLATFORMS, "jax": jax.__version__}

    def put(stage: Path) -> None:
        (stage / PROGRAM).write_bytes(content)
        if not inside:
            safetensors.write(stage / WEIGHTS_FILE, flat)
        safetensors.write(stage / GOLDEN, golden)
        (stage / DESCRIPTION).write_text(json.dumps(described, indent=2, default=fields_of) + "\n")

    _write(target, put)
    return difference


def _inputs(model: Model) -> tuple[Input, ...]:
    """Returns the inputs of a program: the record's, and the mask of a model of texts."""
    inputs = record_of(model).inputs
    if not inputs:
        raise ZooError(f"{model.name!r} was saved without inputs=, which a program is made for.")
    takes = signature(type(model.module).__call__).parameters
    if MASK in takes and not any(each.name == MASK for each in inputs) and inputs[0].name == "input_ids":
        inputs = (*inputs, Input(MASK, inputs[0].shape, "int32"))
    return inputs


def _function(model: Model, inputs: Sequence[Input]) -> Callable[..., Any]:
    """Returns a function of arrays by path and of the inputs, that gives arrays by name, or one."""

    def run(arrays: Mapping[str, Any], *args: jax.Array) -> Any:
        masks = {each.name: arg for each, arg in zip(inputs, args, strict=True) if each.name == MASK}
        others = [arg for each, arg in zip(inputs, args, strict=True) if each.name != MASK]
        apply: Callable[..., Any] = model.module.apply
        outputs = apply(unflatten(arrays), *others, **masks)
        return outputs if hasattr(outputs, "shape") else _named(outputs)

    return run


def _named(outputs: Any) -> dict[str, Any]:
    """Returns the arrays of a model's outputs by names, which need none of this package's classes."""
    if hasattr(outputs, "shape"):
        return {"output": outputs}
    if dataclasses.is_dataclass(outputs):
        outputs = {each.name: getattr(outputs, each.name) for each in dataclasses.fields(outputs)}
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(outputs):
        found[jax.tree_util.keystr(path, simple=True, separator=".")] = leaf
    return found


def _tree(exported: jax_export.Exported) -> Any:
    return jax.tree.unflatten(exported.out_tree, exported.out_avals)


def _symbolic(model: Model, inputs: Sequence[Input]) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes of the inputs, with a symbol for the number of examples, and of tokens."""
    entry = record_of(model)
    tokens = entry.takes_tokens and entry.family is not None
    (batch,) = jax_export.symbolic_shape("batch")
    if not tokens:
        return [jax.ShapeDtypeStruct((batch, *each.shape[1:]), each.dtype) for each in inputs]
    most = families.family(entry).max_tokens(model.module)
    batch, length = jax_export.symbolic_shape("batch, length", constraints=[f"length <= {most}"])
    return [
        jax.ShapeDtypeStruct(
            (batch, length) if len(each.shape) == 2 else (batch, *each.shape[1:]), each.dtype
        )
        for each in inputs
    ]


def _examples(model: Model, inputs: Sequence[Input], count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    arrays = []
    for each in inputs:
        array: np.ndarray
        shape = (count, *each.shape[1:])
        if each.name == MASK:
            array = np.ones(shape)
            array[0, -1] = 0  # a shorter text
        elif np.dtype(each.dtype).kind == "f":
            array = rng.normal(size=shape)
        else:
            array = rng.integers(0, 50, shape)
        arrays.append(array.astype(each.dtype))
    return arrays


def _compared(
    call: Callable[..., Any], model: Model, inputs: Sequence[Input]
) -> tuple[float, dict[str, np.ndarray]]:
    """Returns the largest difference from the model's own outputs, and those of the last examples."""
    # Compiled, as users run it: operations one by one round otherwise.
    run, largest, golden = jax.jit(_function(model, inputs)), 0.0, dict[str, np.ndarray]()
    arrays = flatten(model.variables)
    for count in BATCHES:
        examples = _examples(model, inputs, count)
        right = _named(run(arrays, *map(jnp.asarray, examples)))
        for name, leaf in _named(call(*examples)).items():
            expected, found = np.asarray(right[name]), np.asarray(leaf)
            difference = float(np.abs(found - expected).max() / (np.abs(expected).max() or 1))
            if not difference <= TOLERANCE:
                raise WeightsError(
                    f"the program's {name} is {difference:.1e} of the largest from the model's, "
                    f"at most {TOLERANCE:.0e} is right; nothing was written."
                )
            largest = max(largest, difference)
        golden = {f"inputs/{each.name}": array for each, array in zip(inputs, examples, strict=True)}
        golden |= {f"outputs/{name}": np.asarray(leaf) for name, leaf in right.items()}
    return largest, golden


def _description(
    model: Model, inputs: Sequence[Input], shapes: Sequence[jax.ShapeDtypeStruct]
) -> dict[str, Any]:
    entry = record_of(model)
    found: dict[str, Any] = {
        "version": VERSION,
        "name": model.name,
        "license": entry.license,
        "inputs": [
            {
                "name": each.name,
                "shape": [size if isinstance(size, int) else str(size) for size in shape.shape],
                "dtype": each.dtype,
            }
            for each, shape in zip(inputs, shapes, strict=True)
        ],
        "preprocess": entry.preprocess and fields_of(entry.preprocess),
        "classes": list(entry.class_names),
        "call": CALL,
    }
    return {name: value for name, value in found.items() if value}


def _write(target: Path, put: Callable[[Path], None]) -> None:
    """Makes the directory, or replaces a program's files in it once all are complete."""
    new = not target.exists()
    stage = (target.parent if new else target) / f".{secrets.token_hex(8)}.tmp"
    try:
        stage.mkdir(parents=True)
        put(stage)
        move(stage, target, new=new, last=DESCRIPTION)
    except OSError as error:
        raise WeightsError(f"{str(target)!r} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)

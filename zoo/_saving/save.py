"""A model as a directory, which `zoo.load` and every NAME of the command line take."""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import flax.linen as nn
import jax
from jax.typing import ArrayLike

from converters.errors import CheckpointError
from converters.formats import ALL_SUFFIXES, INDEX_FILE, WEIGHTS_FILE, safetensors
from converters.io import atomic_write
from zoo._errors import UnknownModelError, WeightsError, ZooError
from zoo._hub.checksum import checksum_of
from zoo._inference.fold_batch_norm import Folded
from zoo._loading.located import Located
from zoo._loading.nnx_model import in_linen
from zoo._loading.preprocessing import Preprocessing, preprocessing
from zoo._loading.resolve import resolve
from zoo._loading.text_settings import text_files
from zoo._model import Model
from zoo._processes import ProcessGroup
from zoo._registry.entry import Entry, FrozenMapping, Input, Weights, fields_of
from zoo._registry.listing import list_models
from zoo._registry.manifest import CONFIG, read_saved
from zoo._saving import formats, shards, transformers_folder
from zoo._saving.call import CALL, NAMES
from zoo._saving.checks import check_leaves, check_module, note_nonfinite
from zoo._variables import quantized
from zoo._variables.tree import count_params, flatten

GOLDEN = "golden.safetensors"
OWN = re.compile(
    r"model((-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?|\.msgpack|\.npz)"
)  # what weights are in
COMPUTED = (GOLDEN, NAMES, CALL)  # with other weights, and so wrong for these
ALONE = ProcessGroup()
ExampleInputs: TypeAlias = ArrayLike | jax.ShapeDtypeStruct | Sequence[ArrayLike | jax.ShapeDtypeStruct]
_log = logging.getLogger("zoo")


def save(
    model: Model,
    directory: str | os.PathLike[str],
    *,
    inputs: ExampleInputs = (),
    preprocess: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    format: str = "zoo",
    overwrite: bool = False,
) -> None:
    """Writes model.safetensors and config.json; `zoo.load(directory, pretrained=True)` is the way back.

    Of a model of texts, the files of its tokenizer are copied from where it was loaded.

    Arrays that are spread over devices go into several files with an index, each from where it is. On several
    processes, all of them call this, and the directory is one that they share.

    Args:
        model: The model; a module that is none of the zoo's is passed again to load, as `module=`.
        directory: Made where it is missing, refused where it holds a model.
        inputs: Example arrays or their shapes, or one, for a module of your own: loading then checks every
            array.
        preprocess: Preprocessing of pictures, for `zoo.preprocess` and `zoo predict`: the name
            of a model with the same preprocessing, such as "resnet18", a preprocessor_config.json or its
            content, or a mapping of the fields that entries of the manifest have: resize, crop,
            interpolation, mean and std. By default as the model's entry says.
        labels: Names of the classes, one for each logit. By default those of the model's entry.
        format: "zoo", which is safetensors; "msgpack" of Flax or "npz" of NumPy, for a model.msgpack or
            model.npz instead; "orbax" for a checkpoint of the variables, alone; or "transformers" for a
            folder that transformers opens: a class of its with the tensors under its names, and
            preprocessor_config.json.
        overwrite: If true, replaces a model in the directory, instead of refusing.

    Raises:
        WeightsError: the variables cannot be stored or are not the module's, or the files cannot be written.
        ZooError: the model's batch norms are folded, transformers has no such model, or there are not as many
            labels as classes.
    """
    model = in_linen(model)
    if not isinstance(model, Model):
        raise ZooError(f"zoo.save takes a model and then a directory, found {type(model).__name__} first.")
    if format not in formats.FORMATS:
        raise ZooError(f"format={format!r}; expected one of {', '.join(formats.FORMATS)}.")
    if isinstance(model.module, Folded):
        raise ZooError(
            "a folded model is for calls only; save what zoo.unfold_batch_norm gives, and fold after loading."
        )
    flat = flatten(model.variables)
    check_leaves(flat)
    entry = replace(recorded(model.entry, model.module, inputs), num_params=count_params(model.variables))
    check_module(flat, model.module, entry)
    note_nonfinite(flat, entry.name)
    if preprocess is not None:
        entry = replace(entry, preprocess=preprocessing(preprocess))
    if labels is not None:
        entry = replace(entry, classes=None, labels=checked_labels(labels, model.module))
    texts = _text_files(model)
    if format == formats.ORBAX:
        formats.write_orbax(Path(directory), model.variables, overwrite=overwrite)
        return
    if format == formats.TRANSFORMERS:
        tensors, config, beside = transformers_folder.contents(replace(model, entry=entry))
        write(
            Path(directory),
            entry,
            lambda path: safetensors.write_state_dict(path, tensors),
            beside={**texts, **beside},
            config=config,
            overwrite=overwrite,
        )
        return
    stored = quantized.split(flat)
    processes = ProcessGroup(distributed=shards.are_spread(stored))
    write(
        Path(directory),
        entry,
        lambda path: formats.put(path, stored, format, processes),
        beside=texts,
        overwrite=overwrite,
        processes=processes,
    )


def _text_files(model: Model) -> Mapping[str, bytes]:
    """Returns the tokenizer and settings of a model of texts, from where it was loaded, if they are there."""
    entry = model.entry
    if entry is None or not entry.has_text_files or (entry.name in list_models() and not entry.weights):
        return {}
    try:
        return text_files(model.origin.located or resolve(entry.name))
    except UnknownModelError:  # a name of the caller's own
        return {}
    except ZooError as error:
        _log.warning("%s is saved without its tokenizer: %s", entry.name, error)
        return {}


def write(
    target: Path,
    entry: Entry,
    put: Callable[[Path], None],
    *,
    overwrite: bool,
    beside: Mapping[str, bytes] = FrozenMapping(),
    config: bytes | None = None,
    processes: ProcessGroup = ALONE,
) -> None:
    """A model's directory; whole or not at all where it is new, else its files change once all are complete.

    Args:
        target: The directory.
        entry: Record for config.json, without the weights.
        put: Writes the weights to a path, or files and an index beside it.
        overwrite: If true, replaces a model in the directory, instead of refusing.
        beside: Contents of further files, by name.
        config: Content of config.json, instead of the record.
        processes: The processes that do so together.
    """
    check_target(target, overwrite=overwrite)
    stage = target
    try:
        new = not target.exists()
        stage = (target.parent if new else target) / f".{processes.token()}.tmp"
        if processes.is_primary:
            stage.parent.mkdir(parents=True, exist_ok=True)
            stage.mkdir()
        processes.barrier("the directory is made")
        try:
            put(stage / WEIGHTS_FILE)
            if processes.is_primary:
                for file, content in beside.items():
                    (stage / file).write_bytes(content)
                if config is None:
                    _complete(stage, entry)
                else:
                    (stage / CONFIG).write_bytes(config)
                move(stage, target, new=new, last=CONFIG)
            processes.barrier("the model is saved")
        finally:
            if processes.is_primary:
                shutil.rmtree(stage, ignore_errors=True)
    except (CheckpointError, OSError) as error:
        # Not the name of the directory that would have become this one.
        reason = getattr(error, "strerror", None) or str(error).replace(str(stage), str(target))
        raise WeightsError(f"{str(target)!r} cannot be saved: {reason}") from error


def check_target(target: Path, *, overwrite: bool, also: Sequence[str] = ()) -> None:
    """Checks that a model can become this directory, which is worth knowing before it is made.

    Args:
        target: The directory.
        overwrite: If true, a model in it may be replaced.
        also: Names of further files that would be replaced.

    Raises:
        ZooError: it has a model already, or is the name of a file.
    """
    if target.suffix.lower() in ALL_SUFFIXES and not target.is_dir():
        raise ZooError(
            f"{str(target)!r} is the name of a file, and a model is saved as a directory; "
            f"choose a name such as {str(target.with_suffix(''))!r}."
        )
    names = (*dict.fromkeys(formats.FILES.values()), INDEX_FILE, CONFIG, *also)
    taken = [name for name in names if os.path.lexists(target / name)]
    if taken and not overwrite:
        raise ZooError(
            f"{str(target)!r} has {' and '.join(taken)} already; "
            "choose another directory, or replace them with overwrite=True."
        )


def move(stage: Path, target: Path, *, new: bool, last: str) -> None:
    """Gives the files of a complete directory their place.

    Args:
        stage: The complete directory; beside the target if that is new, else in it.
        target: Where they go; files that are none of a model's stay there.
        new: If true, the target does not exist.
        last: File that names the others, and is replaced after them.
    """
    if new:
        stage.rename(target)
        return
    for name in COMPUTED:
        (target / name).unlink(missing_ok=True)
    names = sorted(os.listdir(stage), key=lambda name: name == last)
    for name in names:
        os.replace(stage / name, target / name)
    clear(target, names)


def clear(target: Path, names: Sequence[str], also: Sequence[str] = ()) -> None:
    """Removes what an earlier model left in a directory: its weights, and files of other names.

    Args:
        target: The directory.
        names: Files of the model that is there now.
        also: Further files that are the earlier model's.
    """
    for path in [*target.iterdir()]:
        if path.name not in names and (OWN.fullmatch(path.name) or path.name in also):
            path.unlink()


def checked_labels(labels: Sequence[str], module: nn.Module) -> tuple[str, ...]:
    """Returns names of classes, of which the module has as many.

    Raises:
        ZooError: it has more or fewer.
    """
    count = getattr(module, "num_classes", None)
    listed = hasattr(labels, "__len__") and not isinstance(labels, str | Mapping)
    if not listed or (count is not None and len(labels) != count):
        found = f"{len(labels)} names" if listed else repr(labels)
        raise ZooError(f"labels={found}; expected a name for each of the {count or 'model'} classes.")
    return tuple(map(str, labels))


def recorded(entry: Entry | None, module: nn.Module, inputs: ExampleInputs) -> Entry:
    """The entry, or a new one for a module of one's own, with the inputs that are given.

    Raises:
        ZooError: something else is among them.
    """
    entry = entry or Entry(type(module).__name__, 0)
    examples = [inputs] if _is_array(inputs) else inputs
    if not isinstance(examples, Sequence) or not all(map(_is_array, examples)):
        raise ZooError(f"inputs={inputs!r}; expected arrays or jax.ShapeDtypeStructs.")
    if not examples:
        return entry
    shapes = [jax.eval_shape(jax.numpy.asarray, each) for each in examples]
    named = [Input(f"input{index}", each.shape, str(each.dtype)) for index, each in enumerate(shapes)]
    return replace(entry, inputs=tuple(named))


def _is_array(given: Any) -> TypeGuard[ArrayLike | jax.ShapeDtypeStruct]:
    return bool(getattr(given, "shape", ()))


def _complete(directory: Path, entry: Entry) -> None:
    """Writes config.json for the weights in the directory."""
    name = formats.written(directory)
    found = checksum_of(directory / name)
    weights = Weights(found.digest, size=found.size, file=name)
    # Metrics and source belong to the bytes they are of; an entry without weights has the caller's own.
    stale = entry.weights is not None and entry.weights.sha256 != weights.sha256
    if stale:
        # The license stays: what is made of licensed weights is bound by it.
        base = Located(entry=entry).public_name
        entry = replace(
            entry,
            metrics=FrozenMapping(),
            source=f"zoo.save of weights loaded as {entry.name}",
            base_model=entry.base_model or base,
        )
    entry = replace(entry, weights=weights, layout=None)
    with atomic_write(directory / CONFIG) as file:
        file.write(to_json(entry).encode())
    if read_saved(directory) != entry:
        raise ZooError(f"config.json cannot hold {dict(entry.config)}; use numbers, text and lists.")


def to_json(entry: Entry) -> str:
    """Returns the content of config.json: the entry's fields that are not empty, spelt as in the manifest."""
    try:
        return json.dumps(fields_of(entry), default=fields_of, indent=2, ensure_ascii=False) + "\n"
    except TypeError as error:
        raise ZooError(f"config.json cannot hold {error}; use numbers, text and lists.") from error

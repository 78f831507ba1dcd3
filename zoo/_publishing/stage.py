"""Prepares and verifies the files of a publication."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import flax.linen as nn
import jax
import numpy as np
from jax.typing import ArrayLike

from converters import read_checkpoint
from converters.errors import CheckpointError
from converters.formats import INDEX_FILE, INDEX_SUFFIX, WEIGHTS_FILE, hashes_of, safetensors
from converters.io import atomic_write, check_free_space
from zoo._errors import PublishError, WeightsError, ZooError
from zoo._hub import cache
from zoo._hub.checksum import checksum_of
from zoo._hub.settings import Token
from zoo._loading import companions
from zoo._loading.load import load_located, pretrained_arrays
from zoo._loading.located import Located
from zoo._loading.nnx_model import in_linen
from zoo._loading.resolve import counted, resolve
from zoo._loading.text_settings import text_files
from zoo._loading.weights import content_of
from zoo._model import Model
from zoo._registry import families
from zoo._registry.entry import UNATTESTED, Entry, FrozenMapping, Weights
from zoo._registry.manifest import CONFIG
from zoo._saving import port, save, shards, verify
from zoo._variables.tree import flatten

TORCH = "pytorch_model.safetensors"
SAMPLE = "sample.png"

Subject: TypeAlias = Model | str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """The user's choices about the files: additions to a model's weights, and facts about them."""

    module: nn.Module | None = None
    inputs: Sequence[ArrayLike | jax.ShapeDtypeStruct] = ()
    license: str | None = None
    torch: bool = False
    token: Token = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A complete model's directory.

    Attributes:
        entry: The entry as in its config.json.
        origin: Source of the weights, if they were downloaded.
        verified: Result of the verification.
        notes: Remarks about the files for the user.
    """

    directory: Path
    model: Model
    entry: Entry
    origin: Weights | None
    verified: verify.Verified
    notes: tuple[str, ...]


def stage(subject: Subject, target: Path, options: StageOptions) -> Staged:
    """Writes and verifies all files but the card.

    Raises:
        PublishError: a requested file cannot be prepared.
        WeightsError: the weights are missing, damaged or wrong, or cannot be written.
    """
    subject = in_linen(subject)
    if isinstance(subject, Model):
        located = _published(subject, options)
        prepared = _of_located(located, options) if located else _of_model(subject, options)
    else:
        prepared = _of_located(resolve(subject, token=options.token), options)
    _check_room(prepared.model, target, copies=2 if options.torch else 1)
    _write(prepared, target, options)
    entry, notes = resolve(target).entry, list[str]()
    own = prepared.model.module if entry.family is None else None
    golden = prepared.beside(save.GOLDEN) if prepared.content is not None else None
    if golden is not None:
        (target / save.GOLDEN).write_bytes(golden)
    else:
        notes += _own_golden(target / save.GOLDEN, prepared.model, entry)
    for file, content in prepared.texts.items():
        (target / file).write_bytes(content)
    _shard(target)
    verified = verify.verify(target, module=own)
    if options.torch:
        _export(target, entry, own)
    _draw(prepared.model, target)
    return Staged(
        directory=target,
        model=prepared.model,
        entry=resolve(target).entry,
        origin=prepared.origin,
        verified=verified,
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model with the entry to publish it under.

    Attributes:
        origin: Source of its weights, if they were downloaded.
        content: Bytes (uint8) of the weights file, if it is published unchanged.
        beside: Returns the content of a companion file of the weights, if there is one.
        texts: Files of its tokenizer, of settings of texts, and of a ported module, by name.
    """

    model: Model
    origin: Weights | None = None
    content: np.ndarray | None = None
    beside: Callable[[str], bytes | None] = lambda file: None
    texts: Mapping[str, bytes] = FrozenMapping()


def _published(model: Model, options: StageOptions) -> Located | None:
    """Returns the published model that is exactly this one, if any: its metrics and golden outputs apply."""
    entry = model.entry
    if entry is None or entry.weights is None or entry.family is None:
        return None
    try:
        located = counted(resolve(entry.name, token=options.token))
        if located.entry != entry:
            return None
        arrays = pretrained_arrays(located)[1]
    except ZooError:
        return None
    flat = flatten(model.variables)
    same = flat.keys() == arrays.keys() and all(
        flat[path].dtype == array.dtype and np.asarray(flat[path]).tobytes() == array.tobytes()
        for path, array in arrays.items()
    )
    return located if same else None


def _of_model(model: Model, options: StageOptions) -> Prepared:
    entry = _licensed(model.entry or Entry(type(model.module).__name__, 0), options)
    return Prepared(model=Model(model.module, model.variables, entry, model.notes, model.origin))


def _of_located(located: Located, options: StageOptions) -> Prepared:
    found = located.entry
    model = load_located(located, pretrained=True, module=options.module)
    # Its metrics were measured on these weights, whatever file they are from.
    entry = replace(_licensed(found, options), weights=None, name=found.name.rpartition("/")[2])
    if options.module is not None:
        entry = replace(entry, family=None, config=FrozenMapping())
    whole = found.layout is None and not str(found.weights and found.weights.file).endswith(".json")
    remote = found.weights and (found.weights.repo or found.weights.url)
    return Prepared(
        model=Model(model.module, model.variables, entry, model.notes, model.origin),
        origin=found.weights if remote else None,
        content=content_of(located)[0] if whole else None,
        beside=lambda file: companions.companion(located, file),
        texts=_texts(located),
    )


def _texts(located: Located) -> dict[str, bytes]:
    """Returns a tokenizer and settings of texts, and the source and proof of a ported module."""
    found = dict(text_files(located)) if located.entry.has_text_files or located.directory else {}
    for name in (port.SOURCE, port.CERTIFICATE):
        if located.directory is not None and (located.directory / name).is_file():
            found[name] = (located.directory / name).read_bytes()
    return found


def _licensed(entry: Entry, options: StageOptions) -> Entry:
    return replace(entry, license=options.license) if options.license else entry


def _check_room(model: Model, target: Path, *, copies: int) -> None:
    """Refuses to begin on a disk that has no room for the files."""
    size = sum(array.nbytes for array in flatten(model.variables).values())
    try:
        check_free_space(target.parent, copies * size)
    except CheckpointError as error:
        place = str(cache.root())
        raise PublishError(
            f"the files cannot be prepared in {place!r}: {error}; ZOO_CACHE chooses another place."
        ) from error


def _write(prepared: Prepared, target: Path, options: StageOptions) -> None:
    """Writes the weights and config.json."""
    content, entry = prepared.content, prepared.model.entry
    if content is None or entry is None:
        save.save(prepared.model, target, inputs=options.inputs)
        return

    def put(path: Path) -> None:
        with atomic_write(path, size=content.size) as file:
            file.write(content.data)

    entry = save.recorded(entry, prepared.model.module, options.inputs)
    save.write(target, entry, put, overwrite=False)


def _own_golden(path: Path, model: Model, entry: Entry) -> list[str]:
    """Writes the model's own outputs as reference; returns a note with the reason if that is not possible."""
    if not entry.inputs:
        return ["no reference outputs: pass inputs= to have some"]
    rng = np.random.default_rng(0)
    inputs = [
        rng.standard_normal(each.shape)
        if each.dtype.startswith(("float", "bfloat"))
        else rng.integers(0, 2, each.shape).astype(each.dtype)  # there are two classes or tokens at least
        for each in entry.inputs
    ]
    try:
        verify.own_golden(path, model.module, model.variables, inputs, f"jax {jax.__version__}")
    except WeightsError as error:
        return [f"no reference outputs: {str(error).splitlines()[0]}"]
    return []


def _export(target: Path, entry: Entry, module: nn.Module | None) -> None:
    """Writes the state dict for PyTorch."""
    from zoo._saving.export import export

    if not entry.inputs:
        raise PublishError(f"a state dict for PyTorch needs the inputs of {entry.name!r}; pass inputs=.")
    export(target, target / TORCH, module=module)


def _draw(model: Model, target: Path) -> None:
    """Writes a picture of samples, if the family generates images."""
    if model.entry is None or model.entry.family is None:
        return
    family = families.family(model.entry)
    if family.sample:
        from zoo._preprocessing import images

        labels = np.repeat(np.arange(model.module.num_classes), 10)
        images.write(images.grid(np.asarray(family.sample(model, labels)), 10), target / SAMPLE)


def _shard(target: Path) -> None:
    """Splits the weights into shards if they are larger than the Hub recommends."""
    whole = target / WEIGHTS_FILE
    if not whole.exists() or whole.stat().st_size <= shards.LARGEST:
        return
    arrays = read_checkpoint(whole)
    sizes = {name: math.prod(shape) * arrays.dtypes[name].itemsize for name, shape in arrays.shapes.items()}
    files = shards.layout(sizes)
    if len(files) == 1:  # one array, larger than that
        return
    for file, names in files.items():
        safetensors.write(target / file, {name: arrays[name] for name in names})
    shards.write_index(target, files, sum(sizes.values()))
    index = target / INDEX_FILE
    found = checksum_of(index)
    entry = replace(resolve(target).entry, weights=Weights(found.digest, size=found.size, file=index.name))
    (target / CONFIG).write_text(save.to_json(entry), encoding="utf-8")
    whole.unlink()


def hashes(staged: Staged) -> dict[str, str]:
    """Returns the sha256 of the weights' files by name; verification has just compared them."""
    weights = staged.entry.weights
    if weights is None or weights.file is None or weights.sha256 == UNATTESTED:
        return {}
    index = staged.directory / weights.file
    shards = hashes_of(index) if weights.file.endswith(INDEX_SUFFIX) else {}
    return {weights.file: weights.sha256, **shards}


def files_of(staged: Path) -> dict[str, Path]:
    """Returns the files to publish, by path in the repository.

    Raises:
        PublishError: one of them is empty, or not a regular file.
    """
    files = {path.name: path for path in sorted(staged.iterdir())}
    for name, path in files.items():
        if path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
            raise PublishError(f"{name!r} is no regular file with content; it is not published.")
    return files

"""The files of a publication, made and verified in a directory that nobody else writes to."""

import fcntl
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import numpy as np
from jax.typing import ArrayLike

from converters import _safetensors, read_checkpoint
from converters._files import orderly_exit
from zoo import _cache, _families, _loading, _saving, _text, _verifying
from zoo._entry import Entry, Weights
from zoo._errors import PublishError, WeightsError
from zoo._manifest import CONFIG
from zoo._model import Model

SHARD = 5_000_000_000  # bytes
INDEX = "model.safetensors.index.json"
TORCH = "pytorch_model.safetensors"
SAMPLE = "sample.png"

Subject: TypeAlias = Model | str | os.PathLike[str]


@dataclass(frozen=True)
class Settings:
    """What is published besides a model's weights, and what is said of them."""

    module: nn.Module | None = None
    inputs: Sequence[ArrayLike | jax.ShapeDtypeStruct] = ()
    license: str | None = None
    torch: bool = False
    token: str | bool | None = None


@dataclass(frozen=True)
class Staged:
    """A complete model's directory.

    Attributes:
        entry: As its config.json says it.
        origin: Where the weights came from, where that was not a file of the zoo's.
        verified: What was found right.
        notes: What a user should know of it.
    """

    directory: Path
    model: Model
    entry: Entry
    origin: Weights | None
    verified: _verifying.Verified
    notes: tuple[str, ...]


@contextmanager
def directory() -> Iterator[Path]:
    """A directory of the zoo's cache, gone after the block; those of killed processes are removed first."""
    home = _cache.made(_cache.root() / "staging")
    with orderly_exit(), _held(home):
        for orphan in home.iterdir():
            _remove_orphan(orphan)
        path = home / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        _lock(lock, wait=False)
    with orderly_exit():
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Locked, so that no new directory is taken for an orphan before its own lock is set."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(fd, wait=True)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, *, wait: bool) -> bool:
    """Whether it is locked; where the file system has no locks, no other process's can be seen."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return error.errno in _cache.NO_LOCKS and wait
    return True


def _remove_orphan(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        if _lock(fd, wait=False):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)


def stage(subject: Subject, target: Path, settings: Settings) -> Staged:
    """Writes all but the card.

    Raises:
        PublishError: there is nothing to publish.
        WeightsError: the weights are not right, or cannot be written.
    """
    model, origin, beside = _subject(subject, settings)
    _saving.save(model, target, inputs=settings.inputs)
    module, notes = settings.module or model.module, []
    own = module if _loading.info(target).family is None else None
    golden = target / _saving.GOLDEN
    content = beside(_saving.GOLDEN) if _same_bytes(target, origin) else None
    if content is not None:
        golden.write_bytes(content)
    else:
        notes += _own_golden(golden, model, _loading.info(target))
    tokenizer = beside(_text.FILE)
    if tokenizer is not None:
        (target / _text.FILE).write_bytes(tokenizer)
    _shard(target)
    verified = _verifying.verify(target, module=own)
    if settings.torch:
        from zoo._converting import export

        export(target, target / TORCH, module=own)
    _draw(model, target)
    converted = origin if origin and (origin.repo or origin.url) else None
    return Staged(target, model, _loading.info(target), converted, verified, tuple(notes))


Beside: TypeAlias = Callable[[str], bytes | None]


def _subject(subject: Subject, settings: Settings) -> tuple[Model, Weights | None, Beside]:
    """The model with the entry that it gets, where its weights came from, and the files beside them."""
    if isinstance(subject, Model):
        model, directory = subject, None
        found = subject.entry or Entry(type(subject.module).__name__, 0)
        entry = found
    else:
        found, directory = _loading.find(subject, token=settings.token), _loading.directory_of(subject)
        model = _loading.load(subject, pretrained=True, module=settings.module, token=settings.token)
        # Its metrics were measured on these weights, whatever file they are from.
        entry = replace(found, weights=None, name=found.name.rpartition("/")[2])
    if settings.module is not None or found.family is None:
        entry = replace(entry, family=None, config=type(found.config)())
    if settings.license:
        entry = replace(entry, license=settings.license)

    def beside(file: str) -> bytes | None:
        return _text.beside(found, directory, file, settings.token) if found.weights else None

    return Model(model.module, model.variables, entry, model.notes), found.weights, beside


def _same_bytes(target: Path, origin: Weights | None) -> bool:
    written = _loading.info(target).weights
    return bool(origin and written and origin.sha256 == written.sha256)


def _own_golden(path: Path, model: Model, entry: Entry) -> list[str]:
    """Writes what the model itself computes; notes say why not, where that is so."""
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
        _verifying.own_golden(path, model.module, model.variables, inputs, f"jax {jax.__version__}")
    except WeightsError as error:
        return [f"no reference outputs: {str(error).splitlines()[0]}"]
    return []


def _draw(model: Model, target: Path) -> None:
    """A picture of a family that draws images."""
    if model.entry is None or model.entry.family is None:
        return
    family = _families.family(model.entry)
    if hasattr(family, "sample"):
        from zoo import _images

        labels = np.repeat(np.arange(model.module.num_classes), 10)
        _images.write(_images.grid(np.asarray(family.sample(model, labels)), 10), target / SAMPLE)


def _shard(target: Path) -> None:
    """Splits the weights where they are larger than the Hub advises."""
    whole = target / _saving.WEIGHTS
    if whole.stat().st_size <= SHARD:
        return
    from huggingface_hub import split_state_dict_into_shards_factory

    arrays = read_checkpoint(whole)
    split: Any = split_state_dict_into_shards_factory(
        {name: math.prod(shape) * arrays.dtypes[name].itemsize for name, shape in arrays.shapes.items()},
        get_storage_size=lambda size: size,
        filename_pattern=_saving.WEIGHTS.replace(".", "{suffix}."),
        max_shard_size=SHARD,
    )
    if not split.is_sharded:  # one array, larger than that
        return
    for file, names in split.filename_to_tensors.items():
        _safetensors.write(target / file, {name: arrays[name] for name in names})
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    (target / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    entry = replace(_loading.info(target), weights=Weights(*_saving.sha256_of(target / INDEX), file=INDEX))
    (target / CONFIG).write_text(_saving.to_json(entry), encoding="utf-8")
    whole.unlink()


def files_of(staged: Path) -> dict[str, Path]:
    """What is published, by path; nothing but regular files, and no pickles.

    Raises:
        PublishError: something else is there.
    """
    files = {path.name: path for path in sorted(staged.iterdir())}
    for name, path in files.items():
        if path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
            raise PublishError(f"{name!r} is no regular file with content; it is not published.")
    return files

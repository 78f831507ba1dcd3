"""Resolves a name, as users write it: once for a call, at the edge."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import jax

from zoo._errors import UnknownModelError, ZooError
from zoo._hub.settings import Token, check_token
from zoo._loading import gguf, lone_file, repositories
from zoo._loading.build import build
from zoo._loading.located import Located
from zoo._model import Model, record_of
from zoo._registry import manifest
from zoo._registry.entry import Entry
from zoo._registry.schema import suggest
from zoo._variables import init
from zoo._variables.tree import count_params, unflatten

Name: TypeAlias = str | os.PathLike[str]


def info(name: Name | Model) -> Entry:
    """Returns the record of a model, from the manifest or from the config.json of a directory or repository.

    Args:
        name: A name, as for `load`; or a model, whose `entry` it is.

    Raises:
        UnknownModelError: the manifest has no such name.
        ZooError: the model is of a module of your own, which has no record yet.
    """
    return record_of(name) if isinstance(name, Model) else counted(resolve(name)).entry


def resolve(name: Name, revision: str | None = None, token: Token = None, head: str | None = None) -> Located:
    """Finds the model that a name stands for; everything below takes the result.

    Args:
        name: A name of the manifest, else a directory with a config.json, or a path or repository.
        revision: Commit, branch or tag of a repository.
        token: For the Hub.
        head: Instead of the one that a config.json of transformers names.

    Raises:
        UnknownModelError: there is no such model.
        WeightsError: the repository cannot be reached.
        ManifestError: the config.json is not of a model that the zoo has.
    """
    check_token(token)
    if not isinstance(name, str | os.PathLike):
        found = f"the model {name.name!r}" if isinstance(name, Model) else type(name).__name__
        raise ZooError(f"found {found}, expected a name, such as 'resnet18', or the path of a directory.")
    if repositories.is_one(name):
        return repositories.remote(str(name), revision, token, head)
    if revision is not None:
        raise ZooError(f"{name!r} is no repository; revision= goes with 'hf://owner/name'.")
    if isinstance(name, os.PathLike) or _is_path(name):
        directory = Path(name)
        if not os.path.isdir(directory):  # False, too, for names that no file can have
            if os.path.isfile(directory):
                return _file(os.fspath(name), directory, token, head)
            raise UnknownModelError(
                f"there is no directory {os.fspath(name)!r}{repositories.advice(str(name))}."
            )
        return repositories.local(os.fspath(name), directory, token, head)
    models, directory = manifest.read().models, Path(name)
    if name in models:
        if repositories.holds_model(directory):
            warnings.warn(
                f"{name!r} is the zoo's own model; the directory of that name is './{name}'.", stacklevel=3
            )
        return Located(entry=models[name], token=token)
    if repositories.holds_model(directory):
        return repositories.local(name, directory, token, head)
    if os.path.isfile(directory):
        return _file(name, directory, token, head)
    repositories.check_finished(name, directory)
    raise UnknownModelError(f"no model named {name!r}{_advice(name, models)}")


def _file(name: str, path: Path, token: Token, head: str | None) -> Located:
    """Returns the model of a file that says itself what it is of.

    Raises:
        UnknownModelError: it does not.
    """
    if path.suffix == gguf.SUFFIX:
        return repositories.lone_gguf(name, path, token, head)
    raise UnknownModelError(f"{name!r} {lone_file.advice(path)}")


def counted(located: Located, shapes: Mapping[str, Any] | None = None) -> Located:
    """Returns the model with its number of parameters.

    Args:
        located: The model; its module is traced unless the number is known.
        shapes: The arrays of its module or their shapes, by path, if they are known.
    """
    if located.counted:
        return located
    count = count_params(unflatten(shapes or shapes_of(located.entry)))
    return replace(located, entry=replace(located.entry, num_params=count), counted=True)


def shapes_of(entry: Entry) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of all arrays of the entry's module, by path; traces it."""
    module, _ = build(entry)
    return init.shapes(module, entry.inputs)


def _is_path(name: str) -> bool:
    return any(mark and mark in name for mark in (os.sep, os.altsep, "/"))


def _advice(name: str, models: Mapping[str, Entry]) -> str:
    if os.path.isdir(name):
        return f", and the directory of that name has no {manifest.CONFIG}{suggest(name, models) or '.'}"
    return suggest(name, models) or f"; zoo.list_models() names the {len(models)} there are."

"""A name, as users write it, to the entry that it stands for."""

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from zoo._errors import UnknownModelError, ZooError
from zoo._hub.settings import Token, check_token
from zoo._loading import repositories
from zoo._registry import manifest
from zoo._registry.entry import Entry
from zoo._registry.schema import suggest

Name: TypeAlias = str | os.PathLike[str]


def list_models(pattern: str = "*", *, pretrained: bool | None = None) -> list[str]:
    """The names that match a pattern such as `*_mnist`; with or without published weights only, if asked."""
    found = manifest.read()
    return sorted(
        name
        for name in found.models
        if fnmatchcase(name, pattern) and pretrained in (None, name in found.pretrained)
    )


def info(name: Name) -> Entry:
    """The manifest's record of a name, or the one in a directory or repository that `save` wrote.

    Raises:
        UnknownModelError: the manifest has no such name.
    """
    return resolve(name)


def resolve(name: Name, revision: str | None = None, token: Token = None, head: str | None = None) -> Entry:
    """The record of a name; `revision` and `token` are for repositories, `head` for the Hub's layout."""
    check_token(token)
    if repositories.is_one(name):
        return repositories.entry(str(name), revision, token, head)
    if revision is not None:
        raise ZooError(f"{name!r} is no repository; revision= goes with 'hf://owner/name'.")
    directory = directory_of(name)
    if directory is not None:
        if not os.path.isdir(directory):  # False, too, for names that no file can have
            raise UnknownModelError(f"there is no directory {os.fspath(name)!r}.")
        return repositories.local(os.fspath(name), directory, head)
    models = manifest.read().models
    if name in models:
        return models[str(name)]
    raise UnknownModelError(f"no model named {name!r}{_advice(str(name), models)}")


def directory_of(name: Name) -> Path | None:
    """The directory that a name means; None for a name of the manifest and for a repository."""
    if repositories.is_one(name):
        return None
    if isinstance(name, str) and not any(mark and mark in name for mark in (os.sep, os.altsep, "/")):
        return None
    return Path(name)


def _advice(name: str, models: Mapping[str, Entry]) -> str:
    if os.path.isdir(name):
        return f"; the directory of that name is {f'./{name}'!r}."
    return suggest(name, models) or f"; zoo.list_models() names the {len(models)} there are."

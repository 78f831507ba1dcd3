"""The two files of an adapter, in a directory or in a repository of the Hub."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from converters.checkpoints import Checkpoint, read_buffer, read_checkpoint
from converters.errors import CheckpointError
from zoo._adapters.config import AdapterConfig
from zoo._adapters.config import read as read_config
from zoo._errors import WeightsError, ZooError
from zoo._hub.settings import Token, check_token
from zoo._loading import repositories
from zoo._loading.companions import remote_companion
from zoo._loading.sentence_transformers import parsed

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
LIMIT = 4_000_000_000  # bytes of an adapter that is downloaded
# Name of a file -> its path or content; None where there is none.
Find: TypeAlias = Callable[[str], Path | bytes | None]


class Adapter(NamedTuple):
    """An adapter as it is in its files.

    Attributes:
        name: The directory or repository.
        config: Ranks and scales.
        tensors: The tensors, by their names in the file.
    """

    name: str
    config: AdapterConfig
    tensors: Mapping[str, np.ndarray]


def read(adapter: str | os.PathLike[str], revision: str | None, token: Token) -> Adapter:
    """Reads an adapter.

    Args:
        adapter: A directory, or a repository `hf://owner/name`.
        revision: Commit, branch or tag of a repository.
        token: For the Hub.

    Raises:
        WeightsError: there is none, or it cannot be fetched or read.
        ManifestError: it is none that the zoo can merge.
    """
    check_token(token)
    name = os.fspath(adapter)
    find = _finder(name, revision, token)
    content = find(repositories.ADAPTER_CONFIG)
    if content is None:
        raise WeightsError(
            f"{name!r} has no {repositories.ADAPTER_CONFIG}, as PEFT's save_pretrained writes it."
        )
    said = content.read_bytes() if isinstance(content, Path) else content
    config = read_config(name, parsed(f"{name}: {repositories.ADAPTER_CONFIG}", said, dict))
    for file in WEIGHTS:
        found = find(file)
        if found is not None:
            try:
                return Adapter(name, config, _opened(name, file, found))
            except CheckpointError as error:
                raise WeightsError(f"{name!r}: {error}") from error
    raise WeightsError(f"{name!r} has none of {', '.join(WEIGHTS)}.")


def _finder(name: str, revision: str | None, token: Token) -> Find:
    """Returns the function that finds the adapter's files.

    Raises:
        WeightsError: there is no such directory, or the repository cannot be reached.
        ZooError: a directory has no revision.
    """
    if repositories.is_one(name):
        beside = repositories.pinned(name, revision, token, signs=(repositories.ADAPTER_CONFIG,))
        return partial(remote_companion, name, beside, token, limit=LIMIT)
    if revision is not None:
        raise ZooError(f"{name!r} is no repository; revision= goes with 'hf://owner/name'.")
    if not os.path.isdir(name):
        raise WeightsError(f"there is no directory {name!r}{repositories.advice(name)}.")
    return partial(_beside, Path(name))


def _beside(directory: Path, file: str) -> Path | None:
    path = directory / file
    return path if path.is_file() else None


def _opened(name: str, file: str, found: Path | bytes) -> Checkpoint:
    if isinstance(found, Path):
        return read_checkpoint(found, adapter=True)
    return read_buffer(f"{name}/{file}", np.frombuffer(found, np.uint8), name=file, adapter=True)

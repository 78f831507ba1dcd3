"""Models in repositories of the Hub and in directories, as `zoo.save`, transformers or timm write them."""

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from converters.errors import CheckpointError
from converters.formats import PREFERRED_FILES, file_in
from zoo._errors import ManifestError, UnknownModelError, WeightsError, ZooError
from zoo._hub import errors, hub_file, metadata, remote_file
from zoo._hub.errors import NetworkError, RefusedError
from zoo._hub.retry import Retries
from zoo._hub.settings import COMMIT, Token
from zoo._loading import companions, open_clip, sentence_transformers, timm_config, transformers_config
from zoo._loading.located import RUN, Located
from zoo._registry import manifest
from zoo._registry.entry import UNATTESTED, Entry, Weights
from zoo._registry.manifest import CONFIG, MAX_SIZE, parse_saved, read_config

SCHEME = "hf://"
WEIGHTS = tuple(file for file in PREFERRED_FILES if not file.startswith("diffusion"))
DIFFUSION_WEIGHTS = tuple(file for file in PREFERRED_FILES if file not in WEIGHTS)  # of diffusers
SIGNS = (CONFIG, sentence_transformers.MODULES, open_clip.CONFIG)  # each says which model a directory holds
REVISION = r"\w(?:(?!\.\.)[\w./-])*"  # goes into a path of the cache
ADDRESS = re.compile(r"(?:https?://[\w.-]+/)?(\w[\w.-]*/\w[\w.-]*)/?", re.ASCII)
NAME = re.compile(rf"hf://(\w[\w.-]*/\w[\w.-]*)(?:@({REVISION}))?", re.ASCII)


def advice(name: str) -> str:
    """Returns how to write a name that looks like a repository's, or its address; empty for others."""
    match = ADDRESS.fullmatch(name)
    return f"; a repository of the Hub is written {f'{SCHEME}{match[1]}'!r}" if match else ""


def is_one(name: str | os.PathLike[str]) -> bool:
    """Returns whether the name means a repository."""
    return isinstance(name, str) and name.startswith(SCHEME)


def holds_model(directory: Path) -> bool:
    """Returns whether a directory says which model it holds; false for what no directory can be."""
    return any(os.path.isfile(directory / file) for file in SIGNS)


def check_finished(name: str, directory: Path) -> None:
    """Checks that a directory is not that of a training run without its model.

    Raises:
        UnknownModelError: it is.
    """
    if os.path.isfile(directory / RUN) and not holds_model(directory):
        raise UnknownModelError(
            f"the training run in {name!r} has not finished, and has no model yet; what began it goes on "
            "with resume=True."
        )


def remote(name: str, revision: str | None, token: Token, head: str | None = None) -> Located:
    """Resolves a repository by its config.json; all its files are then pinned to the commit of that.

    Raises:
        UnknownModelError: the name is malformed.
        WeightsError: it cannot be fetched.
        ManifestError: it is of no model that the zoo has, or breaks the schema.
    """
    match = NAME.fullmatch(name)
    if match is None or not re.fullmatch(REVISION, revision or "main", re.ASCII):
        at = "" if revision is None else f" at {revision!r}"
        own = name.removeprefix(SCHEME)
        known = f" The zoo's own {own!r} has no 'hf://'." if own in manifest.read().models else ""
        raise UnknownModelError(
            f"{name!r}{at} is no repository; write 'hf://owner/name' or 'hf://owner/name@revision'.{known}"
        )
    repo, own = match.groups()
    if own and revision not in (None, own):
        raise ZooError(f"{name!r} and revision={revision!r} differ; give one of them.")
    commit = _commit(name, repo, own or revision or "main", token)
    config = Weights(UNATTESTED, file=CONFIG, repo=repo, revision=commit)
    read = partial(companions.remote_companion, name, config, token)
    try:
        content, path, folder = _remote_config(name, config, token, read)
    except WeightsError:
        other = open_clip.entry(name, read, head)
        if other is None:
            raise
        return _of_open_clip(other, config, token)
    if _is_foreign(content):
        made = _foreign(name, content, read, head)
        files = DIFFUSION_WEIGHTS if transformers_config.is_diffusers(content) else WEIGHTS
        beside = [f"{folder}/{each}" if folder else each for each in files]
        made = replace(made, weights=_weights_file(name, config, token, beside))
        return Located(entry=made, token=token, counted=False)
    other = None if _is_model(content) else open_clip.entry(name, read, head)
    if other is not None:
        return _of_open_clip(other, config, token)
    try:
        saved = parse_saved(path, content)
    except ManifestError as error:
        raise ManifestError(
            f"{name!r} was not written by zoo.save, nor is it of transformers or timm: {error}"
        ) from error
    weights = saved.weights
    if weights is None or weights.repo or weights.url:
        raise ManifestError(f"{name!r} has its weights at {weights}; expected a file beside config.json.")
    pinned = replace(saved, name=name, weights=replace(weights, repo=repo, revision=commit))
    return Located(entry=pinned, token=token)


def _of_open_clip(made: Entry, config: Weights, token: Token) -> Located:
    """Returns where a model in open_clip's layout is."""
    weights = _weights_file(made.name, config, token, open_clip.WEIGHTS)
    return Located(entry=replace(made, weights=weights), token=token, counted=False)


def _remote_config(
    name: str, config: Weights, token: Token, read: transformers_config.Read
) -> tuple[bytes, Path, str]:
    """Returns the content of config.json, where it was read, and the folder with the transformer."""

    def at(file: str) -> tuple[bytes, Path]:
        source = hub_file.HubFile(name=name, weights=replace(config, file=file), token=token, limit=MAX_SIZE)
        content, path = remote_file.read(source)
        return content.tobytes(), path

    try:
        content, path = at(CONFIG)
        folder = "" if _is_model(content) else sentence_transformers.folder(name, read)
    except WeightsError:
        folder = sentence_transformers.folder(name, read)
        if not folder:
            raise
    return (*at(f"{folder}/{CONFIG}"), folder) if folder else (content, path, "")


def local(name: str, directory: Path, token: Token, head: str | None = None) -> Located:
    """Resolves a directory by its config.json.

    Raises:
        ManifestError: it is of no model that the zoo has, or breaks the schema.
    """
    check_finished(name, directory)
    read = partial(_beside, directory)
    other = None if _is_model(read(CONFIG) or b"") else open_clip.entry(name, read, head)
    if other is not None:
        files = [file for file in open_clip.WEIGHTS if (directory / file).is_file()]
        if not files:
            raise WeightsError(f"{name!r} has none of {', '.join(open_clip.WEIGHTS)}.")
        other = replace(other, weights=Weights(UNATTESTED, file=files[0]))
        return Located(entry=other, directory=directory, token=token, counted=False)
    folder = _folder(name, read)
    content = read_config(directory / folder)
    if not _is_foreign(content):
        return Located(entry=parse_saved(directory / CONFIG, content), directory=directory, token=token)
    made = _foreign(name, content, read, head)
    try:
        weights = Weights(UNATTESTED, file=(Path(folder) / file_in(directory / folder)[0].name).as_posix())
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    entry = replace(made, weights=weights)
    return Located(entry=entry, directory=directory, token=token, counted=False)


def _folder(name: str, read: transformers_config.Read) -> str:
    """Returns the folder with the transformer of sentence-transformers, where the top has none of its own."""
    return "" if _is_model(read(CONFIG) or b"") else sentence_transformers.folder(name, read)


def _is_model(content: bytes) -> bool:
    """Returns whether a config.json describes a model: that of early versions holds nothing but a version."""
    return b'"num_params"' in content or _is_foreign(content)


def _is_foreign(content: bytes) -> bool:
    """Returns whether a config.json is another library's."""
    return timm_config.is_timm_config(content) or transformers_config.is_hub_config(content)


def _foreign(name: str, content: bytes, read: transformers_config.Read, head: str | None) -> Entry:
    """Returns the entry of another library's model, but for its weights."""
    if timm_config.is_timm_config(content):
        return timm_config.entry(name, content)
    return transformers_config.entry(name, content, read, head)


def _beside(directory: Path, file: str) -> bytes | None:
    path = directory / file
    return path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_SIZE else None


def _weights_file(name: str, beside: Weights, token: Token, files: Sequence[str]) -> Weights:
    """The first of the names that weights have, of those that the repository has."""
    for file in files:
        source = hub_file.HubFile(name=name, weights=replace(beside, file=file), token=token)
        if source.cached() is not None or companions.exists(name, source):
            return source.weights
    raise WeightsError(f"{name!r} has none of {', '.join(files)}.")


def _commit(name: str, repo: str, revision: str, token: Token) -> str:
    """The commit that a branch or tag is at; the one in the cache where the Hub cannot be asked."""
    if COMMIT.fullmatch(revision):
        return revision
    cached, retries = hub_file.cached_commit(repo, revision), Retries()
    try:
        errors.check_online(errors.fetch_advice(name))
        # With an answer in the cache, a Hub that is down is not waited for.
        answer = _ask(repo, revision, token) if cached else retries.run(lambda: _ask(repo, revision, token))
    except NetworkError as trouble:
        if cached is None or isinstance(trouble, RefusedError):
            raise WeightsError(f"{name!r} cannot be looked up: {trouble}.") from None
        if not isinstance(trouble, errors.OfflineError):
            warnings.warn(
                f"{name!r} cannot be looked up: {trouble}; taking {cached} from the cache.", stacklevel=5
            )
        return cached
    hub_file.remember(repo, revision, answer)
    return answer


def _ask(repo: str, revision: str, token: Token) -> str:
    first: errors.MissingError | None = None
    for file in SIGNS:
        try:
            return str(metadata.ask(repo, revision, file, token).commit_hash)
        except errors.MissingError as missing:
            first = first or missing
    assert first is not None
    raise first from None

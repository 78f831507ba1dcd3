"""Models in repositories of the Hub and in directories, as `zoo.save`, transformers or timm write them."""

import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from converters.errors import CheckpointError
from converters.formats import PREFERRED_FILES, file_in
from zoo._errors import ManifestError, UnknownModelError, WeightsError, ZooError
from zoo._hub import errors, hub_file, metadata, remote_file
from zoo._hub.errors import NetworkError, RefusedError
from zoo._hub.retry import Retries
from zoo._hub.settings import COMMIT, Token
from zoo._loading import (
    companions,
    gguf,
    open_clip,
    preprocessor_config,
    sentence_transformers,
    timm_config,
    transformers_config,
)
from zoo._loading.located import RUN, Located
from zoo._registry import manifest
from zoo._registry.entry import UNATTESTED, Entry, Weights
from zoo._registry.manifest import CONFIG, MAX_SIZE, parse_saved, read_config

SCHEME = "hf://"
WEIGHTS = tuple(file for file in PREFERRED_FILES if not file.startswith("diffusion"))
DIFFUSION_WEIGHTS = tuple(file for file in PREFERRED_FILES if file not in WEIGHTS)  # of diffusers
ADAPTER_CONFIG = "adapter_config.json"  # of PEFT, beside the weights of an adapter alone
# Each says which model a directory holds.
SIGNS = (CONFIG, sentence_transformers.MODULES, open_clip.CONFIG, ADAPTER_CONFIG)
REVISION = r"\w(?:(?!\.\.)[\w./-])*"  # goes into a path of the cache
ADDRESS = re.compile(r"(?:https?://[\w.-]+/)?(\w[\w.-]*/\w[\w.-]*)/?", re.ASCII)
NAME = re.compile(rf"hf://(\w[\w.-]*/\w[\w.-]*)(?:@({REVISION}))?", re.ASCII)


class Layout(NamedTuple):
    """Files of a model as another library writes them.

    Attributes:
        config: Name of the file that says which model it is.
        is_one: Returns whether the content of that file is the library's.
        entry: Returns the entry but for its weights, of the model's name, that content, a function that reads
            other files, and the head that the caller chooses.
        weights: Names that the weights may have, the first before the others.
    """

    config: str
    is_one: Callable[[bytes], bool]
    entry: Callable[[str, bytes, transformers_config.Read, str | None], Entry]
    weights: tuple[str, ...]


# The first that fits counts: diffusers' config.json would be taken for transformers'.
LAYOUTS = (
    Layout(CONFIG, timm_config.is_timm_config, timm_config.entry, WEIGHTS),
    Layout(CONFIG, transformers_config.is_diffusers, transformers_config.entry, DIFFUSION_WEIGHTS),
    Layout(CONFIG, transformers_config.is_hub_config, transformers_config.entry, WEIGHTS),
    Layout(open_clip.CONFIG, bool, open_clip.entry, open_clip.WEIGHTS),  # if it has anything at all
)


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
    config = pinned(name, revision, token)
    found = _of_others(name, partial(companions.remote_companion, name, config, token), head)
    if found:
        made, files = found
        made = replace(made, weights=_weights_file(name, config, token, files))
        return Located(entry=made, token=token, counted=False)
    content, path = remote_file.read(hub_file.HubFile(name=name, weights=config, token=token, limit=MAX_SIZE))
    try:
        saved = parse_saved(path, content.tobytes())
    except ManifestError as error:
        raise ManifestError(
            f"{name!r} was not written by zoo.save, nor is it of transformers or timm: {error}"
        ) from error
    weights = saved.weights
    if weights is None or weights.repo or weights.url:
        raise ManifestError(f"{name!r} has its weights at {weights}; expected a file beside config.json.")
    at_commit = replace(weights, repo=config.repo, revision=config.revision)
    return Located(entry=replace(saved, name=name, weights=at_commit), token=token)


def pinned(name: str, revision: str | None, token: Token, signs: Sequence[str] = SIGNS) -> Weights:
    """Returns the place of a repository's config.json, and so of the files beside it, at one commit.

    Args:
        name: The repository, `hf://owner/name` or with a revision.
        revision: Commit, branch or tag, where the name has none.
        token: For the Hub.
        signs: Files of which the repository has one.

    Raises:
        UnknownModelError: the name is malformed.
        WeightsError: it cannot be reached.
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
    commit = _commit(name, repo, own or revision or "main", token, signs)
    return Weights(UNATTESTED, file=CONFIG, repo=repo, revision=commit)


def local(name: str, directory: Path, token: Token, head: str | None = None) -> Located:
    """Resolves a directory by its config.json.

    Raises:
        ManifestError: it is of no model that the zoo has, or breaks the schema.
    """
    check_finished(name, directory)
    found = _of_others(name, partial(_beside, directory), head)
    if found is None:
        saved = parse_saved(directory / CONFIG, read_config(directory))
        return Located(entry=saved, directory=directory, token=token)
    made, files = found
    entry = replace(made, weights=Weights(UNATTESTED, file=_file_of(name, directory, files)))
    return Located(entry=entry, directory=directory, token=token, counted=False)


def lone_gguf(name: str, path: Path, token: Token, head: str | None = None) -> Located:
    """Resolves a GGUF file, which says itself what its model is; its tokenizer may be beside it.

    Raises:
        ManifestError: it cannot be read, or is of no model that the zoo has.
    """
    content = gguf.config(name, path)
    made = transformers_config.entry(name, content, partial(_beside, path.parent), head)
    entry = replace(made, weights=Weights(UNATTESTED, file=path.name))
    return Located(entry=entry, directory=path.parent, token=token, counted=False)


def _of_others(
    name: str, read: transformers_config.Read, head: str | None
) -> tuple[Entry, tuple[str, ...]] | None:
    """Returns the entry of another library's model, but for its weights, and names that these may have.

    None where `zoo.save` wrote it, or nothing says what it is.
    """
    content, folder = read(CONFIG) or b"", ""
    if not any(layout.config == CONFIG and layout.is_one(content) for layout in LAYOUTS):
        if b'"num_params"' in content:
            return None
        if not content:
            _check_no_adapter(name, read)
        # That of early versions of sentence-transformers holds nothing but a version.
        folder = sentence_transformers.folder(name, read)
        inside = read(f"{folder}/{CONFIG}") if folder else content
        if inside is None:
            raise ManifestError(
                f"{name!r} has no {folder}/{CONFIG}, which {sentence_transformers.MODULES} needs."
            )
        content = inside
    for layout in LAYOUTS:
        said = content if layout.config == CONFIG else read(layout.config) or b""
        if layout.is_one(said):
            files = (f"{folder}/{file}" if folder else file for file in layout.weights)
            return layout.entry(name, said, partial(_read_in, folder, read), head), tuple(files)
    return None


def _read_in(folder: str, read: transformers_config.Read, file: str) -> bytes | None:
    """Reads a file at the top, but for that of pictures, which is beside the weights."""
    inside = folder and file == preprocessor_config.PREPROCESSOR
    return read(f"{folder}/{file}" if inside else file)


def _check_no_adapter(name: str, read: transformers_config.Read) -> None:
    """Checks that the files are not those of an adapter without its model.

    Raises:
        ManifestError: they are.
    """
    content = read(ADAPTER_CONFIG)
    if content is None:
        return
    config = sentence_transformers.parsed(f"{name}: {ADAPTER_CONFIG}", content, dict)
    base = config.get("base_model_name_or_path") or "its base model"
    raise ManifestError(
        f"{name!r} is an adapter, no model: load {base!r} with pretrained=True, and put it in by "
        f"zoo.merge_adapter(model, {name!r})."
    )


def _file_of(name: str, directory: Path, files: Sequence[str]) -> str:
    """Returns which file of a directory has the weights: one of the names, or else the only checkpoint."""
    for file in files:
        if (directory / file).is_file():
            return file
    try:
        path, _ = file_in((directory / files[0]).parent)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return path.relative_to(directory).as_posix()


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


def _commit(name: str, repo: str, revision: str, token: Token, signs: Sequence[str]) -> str:
    """The commit that a branch or tag is at; the one in the cache where the Hub cannot be asked."""
    if COMMIT.fullmatch(revision):
        return revision
    cached, retries = hub_file.cached_commit(repo, revision), Retries()
    ask = partial(_ask, repo, revision, token, signs)
    try:
        errors.check_online(errors.fetch_advice(name))
        # With an answer in the cache, a Hub that is down is not waited for.
        answer = ask() if cached else retries.run(ask)
    except NetworkError as trouble:
        if cached is None or isinstance(trouble, RefusedError):
            raise WeightsError(f"{name!r} cannot be looked up: {trouble}.") from None
        if not isinstance(trouble, errors.OfflineError):
            warnings.warn(
                f"{name!r} cannot be looked up: {trouble}; taking {cached} from the cache.", stacklevel=6
            )
        return cached
    hub_file.remember(repo, revision, answer)
    return answer


def _ask(repo: str, revision: str, token: Token, signs: Sequence[str]) -> str:
    missing: list[errors.MissingError] = []
    for file in signs:
        try:
            return str(metadata.ask(repo, revision, file, token).commit_hash)
        except errors.MissingError as error:
            missing.append(error)
    raise missing[0]

"""Finds published weights by their address: place, commit and hash, and the facts stated with them."""

from dataclasses import replace
from functools import partial

from zoo._errors import ManifestError, UnknownModelError, WeightsError, ZooError
from zoo._hub import checksum, errors, hash_records, metadata, remote_file
from zoo._hub.errors import MissingError, NetworkError
from zoo._hub.retry import Retries
from zoo._hub.settings import Token
from zoo._loading import companions, repositories, transformers_config, weights
from zoo._loading.located import Located
from zoo._loading.resolve import resolve
from zoo._registry import entry_schema
from zoo._registry.entry import UNATTESTED, Entry, Weights
from zoo._registry.manifest import CONFIG


def find(name: str, address: str, *, file: str | None = None, token: Token = None) -> Located:
    """Finds weights; the entry has what a config.json states, and no family if there is none.

    Args:
        name: Name for the entry.
        address: `hf://owner/name`, with `@revision` if it is not the main branch, or the URL of a file.
        file: File of the repository, where it has several.
        token: For the Hub.

    Raises:
        WeightsError: the repository cannot be reached, or has no such file.
        ManifestError: the config.json is transformers', and of no model that the zoo has.
        ZooError: the address is malformed.
    """
    if repositories.is_one(address):
        return _in_repository(name, address, file, token)
    if not address.startswith(("https://", "http://")):
        raise ZooError(f"{address!r} is no published file; write 'hf://owner/name', or the URL of a file.")
    problems: list[str] = []
    entry_schema.URL(address, "the URL", problems)
    if problems:
        raise ZooError(f"{problems[0]}.")
    digits = entry_schema.URL_HASH.search(address)
    return _bare(name, Weights(digits[1] if digits else UNATTESTED, url=address), token)


def _bare(name: str, place: Weights, token: Token) -> Located:
    """Returns weights of which nothing but the place is known."""
    return Located(entry=Entry(name, 0, weights=place), token=token, counted=False)


def _in_repository(name: str, address: str, file: str | None, token: Token) -> Located:
    """Returns the repository's model, all of one commit."""
    match = repositories.NAME.fullmatch(address)
    if match is None:
        raise UnknownModelError(f"{address!r} is no repository; write 'hf://owner/name[@revision]'.")
    repo, revision = match.groups()
    place = _first_file(address, repo, revision or "main", (file,) if file else repositories.WEIGHTS, token)
    plain = _bare(name, place, token)
    config = companions.companion(plain, CONFIG)
    if config is None:
        return plain
    try:
        located = resolve(f"hf://{repo}@{place.revision}", token=token)
    except ManifestError:
        # What transformers' config.json asks for, and the zoo does not have, tensors need not show.
        if transformers_config.is_hub_config(config):
            raise
        return plain
    return replace(
        located, entry=replace(located.entry, name=name, weights=place if file else located.entry.weights)
    )


def _first_file(address: str, repo: str, revision: str, files: tuple[str, ...], token: Token) -> Weights:
    """Returns the first of the files that the repository has, at the commit of the revision."""
    try:
        errors.check_online(address)
        for file in files:
            try:
                answer = Retries().run(partial(metadata.ask, repo, revision, file, token))
            except MissingError:
                continue
            return Weights(UNATTESTED, file=file, repo=repo, revision=str(answer.commit_hash))
    except NetworkError as trouble:
        raise WeightsError(f"{address!r} cannot be looked up: {trouble}.") from None
    raise WeightsError(f"{address!r} has none of {', '.join(files)}; --file names another one.")


def downloaded(located: Located) -> Located:
    """Returns the model with size and sha256 of its file, which is downloaded and verified first.

    Raises:
        WeightsError: it cannot be fetched, or is damaged.
    """
    source = weights.source(located)
    assert source is not None  # it is elsewhere
    path, _ = remote_file.ensure(source, verify=False)
    _, digest, _ = hash_records.problem_of(path, checksum.Checksum(""), verify=False)
    place = replace(located.weights, sha256=digest, size=path.stat().st_size)
    return replace(located, entry=replace(located.entry, weights=place))

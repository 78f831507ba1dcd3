"""Models in repositories of the Hugging Face Hub, in the form in which `zoo.save` writes directories."""

import os
import re
import warnings
from dataclasses import replace

from zoo import _hub, _hub_cache
from zoo._entry import Entry, Weights
from zoo._errors import ManifestError, UnknownModelError, WeightsError, ZooError
from zoo._manifest import CONFIG, MAX_SIZE, UNATTESTED, parse_saved
from zoo._patience import NetworkError, Patience, RefusedError
from zoo._sources import obtain

SCHEME = "hf://"
REVISION = r"\w(?:(?!\.\.)[\w./-])*"  # goes into a path of the cache
NAME = re.compile(rf"hf://(\w[\w.-]*/\w[\w.-]*)(?:@({REVISION}))?", re.ASCII)


def is_one(name: str | os.PathLike[str]) -> bool:
    """Whether the name means a repository."""
    return isinstance(name, str) and name.startswith(SCHEME)


def entry(name: str, revision: str | None, token: str | bool | None) -> Entry:
    """The entry in a repository's config.json; its weights are pinned to the commit that it is from.

    Raises:
        UnknownModelError: the name is malformed.
        WeightsError: it cannot be fetched.
        ManifestError: it is none of the zoo's, or breaks the schema.
    """
    match = NAME.fullmatch(name)
    if match is None or not re.fullmatch(REVISION, revision or "main", re.ASCII):
        at = "" if revision is None else f" at {revision!r}"
        raise UnknownModelError(
            f"{name!r}{at} is no repository; write 'hf://owner/name' or 'hf://owner/name@revision'."
        )
    repo, own = match.groups()
    if own and revision not in (None, own):
        raise ZooError(f"{name!r} and revision={revision!r} differ; give one of them.")
    commit = _commit(name, repo, own or revision or "main", token)
    config = Weights(UNATTESTED, file=CONFIG, repo=repo, revision=commit)
    content, path = obtain(_hub_cache.HubFile(name, config, token, limit=MAX_SIZE))
    try:
        saved = parse_saved(path, content.tobytes())
    except ManifestError as error:
        raise ManifestError(f"{name!r} was not written by zoo.save: {error}") from error
    weights = saved.weights
    if weights is None or weights.repo or weights.url:
        raise ManifestError(f"{name!r} has its weights at {weights}; expected a file beside config.json.")
    return replace(saved, name=name, weights=replace(weights, repo=repo, revision=commit))


def _commit(name: str, repo: str, revision: str, token: str | bool | None) -> str:
    """The commit that a branch or tag is at; the one in the cache where the Hub cannot be asked."""
    if _hub.COMMIT.fullmatch(revision):
        return revision
    cached, patience = _hub_cache.cached_commit(repo, revision), Patience()
    try:
        _hub.check_online(name)
        # With an answer in the cache, a Hub that is down is not waited for.
        answer = _ask(repo, revision, token) if cached else patience.run(lambda: _ask(repo, revision, token))
    except NetworkError as trouble:
        if cached is None or isinstance(trouble, RefusedError):
            raise WeightsError(f"{name!r} cannot be looked up: {trouble}.") from None
        if not isinstance(trouble, _hub.OfflineError):
            warnings.warn(
                f"{name!r} cannot be looked up: {trouble}; taking {cached} from the cache.", stacklevel=5
            )
        return cached
    _hub_cache.remember(repo, revision, answer)
    return answer


def _ask(repo: str, revision: str, token: str | bool | None) -> str:
    return str(_hub.ask(repo, revision, CONFIG, token).commit_hash)

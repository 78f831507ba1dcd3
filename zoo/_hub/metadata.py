"""What the Hugging Face Hub says of a file, and what it means where it says no.

Environment variables (HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE ...) and logins are huggingface_hub's
business, which is imported where it is needed.
"""

import re
from collections.abc import Mapping
from typing import Any

from zoo._errors import ZooError
from zoo._hub import retry
from zoo._hub.retry import NetworkError, RefusedError

COMMIT = re.compile("[0-9a-f]{40}")
LOGIN = "log in with `hf auth login`, or pass token="
ODD_TOKEN = "the token holds characters that no token has; copy it again"
# Of the errors that an HTTP client raises without an operating system's behind them, by their names, since
# nothing says which client it is.
PROTOCOL = {
    "TooManyRedirects": (retry.REDIRECTS, False),
    "UnsupportedProtocol": ("HF_ENDPOINT is no address of a server", False),
    "InvalidURL": ("HF_ENDPOINT, or a proxy's address, is malformed", False),
    "LocalProtocolError": (ODD_TOKEN, False),
    "RemoteProtocolError": ("the connection broke", True),
}


class MissingError(RefusedError):
    """The repository is there, and has no such file."""


class OfflineError(NetworkError):
    """The network is there, perhaps, but the user has said not to use it."""


def check_online(name: str) -> None:
    """Refuses to use the network where the user has said not to."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OfflineError(
            f"HF_HUB_OFFLINE is set, and it is not in the cache; run `zoo fetch {name}` with a network"
        )


def check_token(token: str | bool | None) -> None:
    """Refuses what cannot be a token, without showing it: HTTP clients would."""
    if isinstance(token, str) and _is_odd(token):
        raise ZooError(f"{ODD_TOKEN}.")


def _is_odd(token: str) -> bool:
    return not (token and token.isascii() and token.isprintable() and " " not in token)


def endpoint() -> str:
    """The address of the Hub, or of what stands for it."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def ask(repo: str, revision: str, file: str, token: str | bool | None) -> Any:
    """What the Hub says of a file: its commit, hash, size and where it is; one attempt.

    Raises:
        NetworkError: nothing, or nothing useful.
    """
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

    if token in (None, True) and _is_odd(get_token() or "none"):
        raise RefusedError(ODD_TOKEN)
    try:
        url = hf_hub_url(repo, file, revision=revision)
        answer = get_hf_file_metadata(url, token=token, timeout=retry.LIMITS.silence)
    except Exception as error:  # HTTP clients raise ImportError, too, for a proxy of a kind they do not know
        # Not chained: an HTTP client's messages show addresses and headers.
        raise _meaning(error, repo, revision, file) from None
    if not COMMIT.fullmatch(answer.commit_hash or "") or answer.etag is None:
        raise RefusedError(f"{endpoint()} does not answer as the Hub does; check HF_ENDPOINT")
    return answer


def _meaning(error: Exception, repo: str, revision: str, file: str) -> NetworkError:
    from huggingface_hub import errors

    page = f"{endpoint()}/{repo}"
    meanings = {
        errors.GatedRepoError: f"{repo!r} is gated; ask for access at {page}, and {LOGIN}",
        errors.RevisionNotFoundError: f"{repo!r} has no revision {revision!r}; see {page}/commits",
        errors.EntryNotFoundError: f"{repo!r} has no file {file!r} at {revision}; see {page}/tree/{revision}",
        errors.DisabledRepoError: f"{repo!r} was disabled by the Hub; see {page}",
        errors.RepositoryNotFoundError: f"there is no repository {repo!r}, or it is private: {LOGIN}",
        errors.LocalTokenNotFoundError: f"token=True, and nobody is logged in; {LOGIN}",
        errors.HFValidationError: f"{repo!r} is no repository's name; expected owner/name",
    }
    for kind, text in meanings.items():
        if isinstance(error, kind):
            return (MissingError if kind is errors.EntryNotFoundError else RefusedError)(text)
    if isinstance(error, errors.HfHubHTTPError):
        status, headers = error.response.status_code, error.response.headers
        if status == 401 and headers.get("X-Error-Message") != "Invalid credentials in Authorization header":
            return RefusedError(
                meanings[errors.RepositoryNotFoundError]
            )  # it says so to whoever has no token
        return _status_meaning(status, headers)
    known = PROTOCOL.get(type(error).__name__)
    return NetworkError(known[0], again=known[1]) if known else retry.meaning(error)


def _status_meaning(status: int, headers: Mapping[str, str]) -> NetworkError:
    if status == 401:
        return RefusedError(
            f"the token is not valid; {LOGIN} (False: none, which a public repository accepts)"
        )
    if status == 403:
        return RefusedError("the token may not read it; give it the permission, or pass another token=")
    return retry.status_meaning(status, headers)

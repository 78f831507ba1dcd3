"""Reasons why a request failed or was refused, in words of our own.

    NetworkError                any failure
        TemporaryError          another attempt may succeed
        RefusedError            another attempt would be refused, too
            MissingError        the repository has no such file
        OfflineError            the user has forbidden the network

`explain` reads the exceptions of every HTTP client in use: urllib's, for the bytes of files, and those of
huggingface_hub. A client's own words may hold tokens and signed addresses, so errors are raised `from None`.
"""

import email.utils
import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zoo._hub.settings import LOGIN, ODD_TOKEN, endpoint


class NetworkError(Exception):
    """A request that failed or was refused."""


class TemporaryError(NetworkError):
    """A failure that another attempt may avoid.

    Attributes:
        wait: Seconds to wait, if the server asks for it.
    """

    def __init__(self, text: str, *, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class RefusedError(NetworkError):
    """A refusal that another attempt would meet again."""


class MissingError(RefusedError):
    """A file that its repository does not have."""


class OfflineError(NetworkError):
    """A request that the user has forbidden, by HF_HUB_OFFLINE."""


Meaning = tuple[type[NetworkError], str]

BROKEN = "the connection broke"
REDIRECTS = "it redirects without end, or to where no file is"
NOT_THE_HUB = "does not answer as the Hub does; check HF_ENDPOINT"
SECRETS = re.compile(r"hf_\w+|(?<=\?)\S+")  # tokens, and what addresses have after the question mark

# The first that fits.
SYSTEM: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Meaning], ...] = (
    (socket.gaierror, (NetworkError, "the host is not found; check the network")),
    (
        ssl.SSLCertVerificationError,
        (NetworkError, "the certificate is not accepted; check the clock and the proxy"),
    ),
    (ConnectionRefusedError, (NetworkError, "the host refuses connections; check the network")),
    (TimeoutError, (TemporaryError, "the connection timed out")),
    (ssl.SSLError, (TemporaryError, BROKEN)),
    # What an address is found to be when it is used; UnicodeError among them.
    (
        (http.client.InvalidURL, ValueError),
        (NetworkError, "the address of the server or of a proxy is malformed"),
    ),
    ((ConnectionError, http.client.HTTPException), (TemporaryError, BROKEN)),
)

# Of the errors that an HTTP client raises without an operating system's behind them, by their names, since
# nothing says which client it is.
PROTOCOL: dict[str, Meaning] = {
    "TooManyRedirects": (NetworkError, REDIRECTS),
    "UnsupportedProtocol": (NetworkError, "HF_ENDPOINT is not the address of a server"),
    "InvalidURL": (NetworkError, "HF_ENDPOINT, or a proxy's address, is malformed"),
    "LocalProtocolError": (NetworkError, ODD_TOKEN),
    "RemoteProtocolError": (TemporaryError, BROKEN),
}


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """Meanings of refusals, which depend on what was asked.

    Attributes:
        statuses: Text for each HTTP status.
        other: Text for any other status.
        exceptions: Meanings of the Hub's client's exceptions, by the names of their classes.
        hidden: Meaning of status 401 unless the token itself is refused.
        quoted: If true, the server's words are passed on, without secrets.
    """

    statuses: Mapping[int, str]
    other: str = "the server refuses"
    exceptions: Mapping[str, Meaning] = field(default_factory=dict)
    hidden: Meaning | None = None
    quoted: bool = False


ADDRESS = Refusals(
    statuses={
        401: "it needs a login",
        403: "access to it is forbidden",
        404: "there is no such file",
        410: "the file is gone",
    }
)

CHANGE = Refusals(
    statuses={
        401: f"the token is not valid; {LOGIN}",
        402: "the storage of its owner is full, or has to be paid for",
        403: "the token may not write it",
        409: "somebody else is changing it; try again",
        412: "somebody else has changed it meanwhile; publish again, and look at the difference",
        413: "the Hub takes no files so large",
    },
    other="the Hub refuses",
    exceptions={
        **PROTOCOL,
        "LocalTokenNotFoundError": (RefusedError, f"publishing needs a token; {LOGIN}"),
        "JSONDecodeError": (RefusedError, f"it {NOT_THE_HUB}"),
        "KeyError": (RefusedError, f"it {NOT_THE_HUB}"),
    },
    quoted=True,
)

UPLOAD = replace(CHANGE, statuses={**CHANGE.statuses, 403: "the upload's address is not valid (any more)"})


def of_file(repo: str, revision: str, file: str) -> Refusals:
    """Returns the meanings of refusals to hand out a file of the Hub."""
    page = f"{endpoint()}/{repo}"
    unknown = (RefusedError, f"there is no repository {repo!r}, or it is private: {LOGIN}")
    return Refusals(
        statuses={
            **ADDRESS.statuses,
            401: f"the token is not valid, and a public repository needs none; {LOGIN}",
            403: "the token may not read it; give it the permission, or pass another token=",
        },
        exceptions={
            **PROTOCOL,
            "GatedRepoError": (RefusedError, f"{repo!r} is gated; ask for access at {page}, and {LOGIN}"),
            "RevisionNotFoundError": (
                RefusedError,
                f"{repo!r} has no revision {revision!r}; see {page}/commits",
            ),
            "EntryNotFoundError": (
                MissingError,
                f"{repo!r} has no file {file!r} at {revision}; see {page}/tree/{revision}",
            ),
            "DisabledRepoError": (RefusedError, f"{repo!r} was disabled by the Hub; see {page}"),
            "RepositoryNotFoundError": unknown,
            "LocalTokenNotFoundError": (RefusedError, f"token=True, and nobody is logged in; {LOGIN}"),
            "HFValidationError": (RefusedError, f"{repo!r} is no repository's name; expected owner/name"),
        },
        hidden=unknown,
    )


def explain(error: BaseException, refusals: Refusals = ADDRESS) -> NetworkError:
    """Returns why a request failed, given an HTTP client's exception."""
    for cause in _causes(error):
        found = _explain_client(cause, refusals)
        if found:
            return found
        for kinds, (kind, text) in SYSTEM:
            if isinstance(cause, kinds):
                return kind(text)
    system = next((cause.strerror for cause in _causes(error) if isinstance(cause, OSError)), None)
    return NetworkError(f"the network gives {system or type(error).__name__}; check it, and the proxy if any")


def _explain_client(cause: Any, refusals: Refusals) -> NetworkError | None:
    """Returns what an exception of huggingface_hub or of its HTTP client means; None for others."""
    if isinstance(cause, NetworkError):  # raised inside the client, by a hook
        return cause
    names = [kind.__name__ for kind in type(cause).__mro__]
    known = next((refusals.exceptions[name] for name in names if name in refusals.exceptions), None)
    if known:
        return known[0](known[1])
    if "HfHubHTTPError" in names:
        response = cause.response
        upload = refusals is CHANGE and response.request.method == "PUT"
        return explain_status(response.status_code, response.headers, UPLOAD if upload else refusals)
    if refusals.quoted and type(cause) is ValueError:  # what the Hub says of a card, or of a large file
        return RefusedError(f"{refusals.other}: {redacted(str(cause))}")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the exception and its causes, the operating system's last."""
    while error is not None:
        yield error
        reason = getattr(error, "reason", None)  # urllib's
        error = reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__


def explain_status(status: int, headers: Mapping[str, str], refusals: Refusals = ADDRESS) -> NetworkError:
    """Returns why a request was refused, given the HTTP status and headers of the answer."""
    headers = {name.lower(): value for name, value in headers.items()}
    if status in (408, 429) or status >= 500:
        text = "the server has too many requests" if status == 429 else "the server is out of order"
        return TemporaryError(f"{text} (HTTP {status})", wait=_retry_after(headers))
    said = headers.get("x-error-message", "")
    if status == 401 and refusals.hidden and said != "Invalid credentials in Authorization header":
        return refusals.hidden[0](refusals.hidden[1])
    text = REDIRECTS if 300 <= status < 400 else refusals.statuses.get(status, refusals.other)
    quote = f": {redacted(said)}" if said and refusals.quoted else ""
    return RefusedError(f"{text} (HTTP {status}{quote})")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds of the header, which gives them as such or as a date."""
    value = headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def redacted(text: str) -> str:
    """Returns a server's words on one line, short and without secrets."""
    return SECRETS.sub("...", " ".join(text.split()))[:300]


def check_online(advice: str) -> None:
    """Refuses to use the network if the user has said not to.

    Args:
        advice: Other ways to get the file.

    Raises:
        OfflineError: HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OfflineError(f"HF_HUB_OFFLINE is set, and the file is not in the cache; {advice}")


def fetch_advice(name: str) -> str:
    """Returns what to do about a model's missing file."""
    return f"run `zoo fetch {name}` with a network"

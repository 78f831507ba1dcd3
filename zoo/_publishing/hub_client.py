"""huggingface_hub's client with limits, and what its exceptions mean.

Nothing that is said here holds a token or a signed address.
"""

import json
import logging
import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo._hub import metadata, retry
from zoo._hub.retry import NetworkError, RefusedError

ANSWER = 6  # times as long as a silence may be, a server may think about a commit
SECRETS = re.compile(r"hf_\w+|(?<=\?)\S+")  # tokens, and what addresses have after the question mark
ODD = "it does not answer as the Hub does; check HF_ENDPOINT"
REFUSALS = {
    402: "the storage of its owner is full, or has to be paid for",
    403: "the token may not write it",
    409: "somebody else is changing it; try again",
    412: "somebody else has changed it meanwhile; publish again, and look at the difference",
    413: "the Hub takes no files so large",
}
ONE = threading.RLock()  # the client is the process's, and has one set of limits
LOGGERS = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2")


@contextmanager
def session() -> Iterator[None]:
    """The client with limits, and without words: it waits for ever otherwise, and logs signed addresses."""
    from huggingface_hub import constants, get_session, utils

    limits, failures = retry.LIMITS, Counter[str]()

    def watch(response: Any) -> None:
        # The client waits as long as these say.
        response.headers.pop("ratelimit", None)
        if response.status_code not in (408, 429) and response.status_code < 500:
            return
        failures[str(response.request.url)] += 1
        trouble = retry.status_meaning(response.status_code, response.headers)
        if failures[str(response.request.url)] >= limits.attempts or (trouble.wait or 0) > limits.patience:
            raise NetworkError(f"{trouble}; try again later")

    with ONE, warnings.catch_warnings():
        # It passes files to its HTTP client in a way that this calls old.
        warnings.simplefilter("ignore", DeprecationWarning)
        client, loggers = get_session(), [logging.getLogger(name) for name in LOGGERS]
        before = client.timeout, client.event_hooks, [logger.level for logger in loggers]
        client.timeout = type(client.timeout)(limits.silence, read=ANSWER * limits.silence)
        client.event_hooks = {**before[1], "response": [*before[1].get("response", ()), watch]}
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        # They are drawn even where nobody looks, and for no file at all.
        bars = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not utils.are_progress_bars_disabled()
        if bars:
            utils.disable_progress_bars()
        try:
            yield
        finally:
            if bars:
                utils.enable_progress_bars()
            client.timeout, client.event_hooks = before[:2]
            for logger, level in zip(loggers, before[2], strict=True):
                logger.setLevel(level)


def meaning(error: BaseException) -> NetworkError:
    """What an exception of the client means, without its secrets."""
    from huggingface_hub import errors

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NetworkError):
            return cause
        if isinstance(cause, errors.LocalTokenNotFoundError):
            return RefusedError(f"publishing needs a token; {metadata.LOGIN}")
        if isinstance(cause, errors.HfHubHTTPError):
            return _refusal(cause.response)
        if isinstance(cause, json.JSONDecodeError | KeyError):
            return RefusedError(ODD)
        if type(cause) is ValueError:  # what the Hub says of a card, or of a large file
            return RefusedError(f"the Hub refuses: {redacted(str(cause))}")
        known = metadata.PROTOCOL.get(type(cause).__name__)
        if known:
            return NetworkError(known[0], again=known[1])
        cause = cause.__cause__
    return retry.meaning(error)


def _refusal(response: Any) -> NetworkError:
    status = response.status_code
    if status in (408, 429) or status >= 500:
        return retry.status_meaning(status, response.headers)
    if status == 401:
        return RefusedError(f"the token is not valid; {metadata.LOGIN}")
    what = REFUSALS.get(status, "the Hub refuses")
    if response.request.method == "PUT" and status == 403:
        what = "the upload's address is not valid (any more)"
    said = response.headers.get("X-Error-Message")
    return RefusedError(f"{what} (HTTP {status}{': ' + redacted(said) if said else ''})")


def redacted(text: str) -> str:
    """A server's words on one line, short and without secrets."""
    return SECRETS.sub("...", " ".join(text.split()))[:300]

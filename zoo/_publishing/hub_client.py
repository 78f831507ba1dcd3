"""huggingface_hub's client with timeouts, and without output on the terminal."""

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo._hub import errors, retry
from zoo._hub.errors import NetworkError, TemporaryError

ANSWER = 6  # times as long as a silence may be, a server may think about a commit
ONE = threading.RLock()  # the client is the process's, and has one set of limits
LOGGERS = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2")


@contextmanager
def session() -> Iterator[None]:
    """Gives the client limits and silences it: by default it waits for ever and logs signed addresses."""
    from huggingface_hub import constants, get_session, utils

    limits, failures = retry.LIMITS, Counter[str]()

    def watch(response: Any) -> None:
        # The client waits as long as these say.
        response.headers.pop("ratelimit", None)
        if response.status_code not in (408, 429) and response.status_code < 500:
            return
        failures[str(response.request.url)] += 1
        trouble = errors.explain_status(response.status_code, response.headers)
        wait = trouble.wait if isinstance(trouble, TemporaryError) else None
        if failures[str(response.request.url)] >= limits.attempts or (wait or 0) > limits.total_timeout:
            raise NetworkError(f"{trouble}; try again later")

    with ONE, warnings.catch_warnings():
        # It passes files to its HTTP client in a way that this calls old.
        warnings.simplefilter("ignore", DeprecationWarning)
        client, loggers = get_session(), [logging.getLogger(name) for name in LOGGERS]
        before = client.timeout, client.event_hooks, [logger.level for logger in loggers]
        client.timeout = type(client.timeout)(limits.read_timeout, read=ANSWER * limits.read_timeout)
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

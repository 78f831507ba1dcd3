"""The Hub's address and tokens.

Environment variables (HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE ...) and logins are huggingface_hub's
business, which is imported where it is needed.
"""

import re
from typing import TypeAlias

from zoo._errors import ZooError

Token: TypeAlias = str | bool | None  # a token of the Hub; True or None: that of the login, False: none

COMMIT = re.compile("[0-9a-f]{40}")
LOGIN = "log in with `hf auth login`, or pass token="
ODD_TOKEN = "the token holds characters that no token has; copy it again"


def endpoint() -> str:
    """Returns the address of the Hub, or of a server that stands in for it."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def check_token(token: Token) -> None:
    """Refuses a string that cannot be a token, without showing it: HTTP clients would.

    Raises:
        ZooError: it cannot.
    """
    if isinstance(token, str) and is_odd(token):
        raise ZooError(f"{ODD_TOKEN}.")


def is_odd(token: str) -> bool:
    """Returns whether the string cannot be a token."""
    return not (token and token.isascii() and token.isprintable() and " " not in token)

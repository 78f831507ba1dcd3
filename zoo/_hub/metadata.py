"""Metadata of a file on the Hugging Face Hub: its commit, hash, size and location."""

from typing import Any

from zoo._hub import errors, retry
from zoo._hub.errors import RefusedError
from zoo._hub.settings import COMMIT, ODD_TOKEN, Token, endpoint, is_odd


def ask(repo: str, revision: str, file: str, token: Token) -> Any:
    """Asks the Hub about a file: its commit, hash, size and location; one attempt.

    Raises:
        NetworkError: no answer, or no useful one.
    """
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

    if token in (None, True) and is_odd(get_token() or "none"):
        raise RefusedError(ODD_TOKEN)
    try:
        url = hf_hub_url(repo, file, revision=revision)
        answer = get_hf_file_metadata(url, token=token, timeout=retry.LIMITS.read_timeout)
    except Exception as error:  # HTTP clients raise ImportError, too, for a proxy of a kind they do not know
        # Not chained: an HTTP client's messages show addresses and headers.
        raise errors.explain(error, errors.of_file(repo, revision, file)) from None
    if not COMMIT.fullmatch(answer.commit_hash or "") or answer.etag is None:
        raise RefusedError(f"{endpoint()} {errors.NOT_THE_HUB}")
    return answer

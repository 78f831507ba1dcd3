"""Downloads one file over HTTP, resumes it after a broken connection, and verifies its checksum."""

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit

from converters.io import check_free_space
from zoo._hub import errors, retry
from zoo._hub.checksum import Checksum
from zoo._hub.errors import NetworkError, RefusedError, TemporaryError
from zoo._hub.retry import Retries
from zoo._progress import BytesReport

REDIRECTS = 10
# urllib's own list would follow redirections to `file:`, and keep connections that it cannot follow.
HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.UnknownHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
)
CHUNK = 1 << 18  # bytes that count as progress
PART = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")  # Content-Range: where it begins, of how many


@dataclass(frozen=True)
class Request:
    """An address to download from.

    Attributes:
        url: The address, which may be a secret.
        headers: Headers for that host alone; they do not follow a redirect.
        expires: If true, the address may stop working, and a new one has to be asked for.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    expires: bool = False


class MismatchError(Exception):
    """Raised for a complete file that is not the expected one."""


def download(
    request: Callable[[], Request],
    file: BinaryIO,
    checksum: Checksum,
    report: BytesReport,
    *,
    limit: int | None = None,
) -> str:
    """Downloads into the file until it matches the checksum.

    Args:
        request: Returns the address; called before each attempt, since signed addresses expire.
        file: A file that can be opened by name; it may hold the first bytes from an earlier download.
        checksum: Expected size and hash.
        report: Called after each piece.
        limit: Largest size in bytes, for a file whose size is unknown.

    Returns:
        The file's digest.

    Raises:
        NetworkError: the download failed, or gave wrong bytes twice, or more than the limit.
    """
    body, retries, wrong = _Body(file, checksum, report, limit), Retries(), False
    while True:
        try:
            if not body.complete:
                body.receive(request(), retries)
            return body.verify()
        except MismatchError as mismatch:
            continued = body.continued
            body.restart()
            if wrong:
                raise NetworkError(f"it {mismatch}, twice; tell whoever serves it") from None
            wrong = not continued  # the earlier part may be what is wrong
        except NetworkError as trouble:
            retries.wait(trouble)


class _Body:
    """The part of the file that has arrived.

    Attributes:
        continued: If true, its first bytes are of an earlier download.
    """

    def __init__(self, file: BinaryIO, checksum: Checksum, report: BytesReport, limit: int | None) -> None:
        self._file, self._checksum, self._report, self._limit = file, checksum, report, limit
        self._version: str | None = None  # of the file at the server, as it says
        self._received, self._hasher = 0, checksum.hasher()
        self._resume()
        self.continued = self._received > 0
        self._furthest = self._received  # that any attempt came

    def _resume(self) -> None:
        """Takes what is in the file already, unless it is too much."""
        size = self._file.seek(0, os.SEEK_END)
        if size > (size if self._checksum.size is None else self._checksum.size):
            self.restart()
        elif size:
            self._file.seek(0)
            while piece := self._file.read(CHUNK):
                self._hasher.update(piece)
                self._received += len(piece)

    @property
    def complete(self) -> bool:
        """Returns whether the file has its expected size."""
        return self._received == self._checksum.size and self._received > 0

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._received, self._hasher, self.continued = 0, self._checksum.hasher(), False

    def receive(self, request: Request, retries: Retries) -> None:
        """Receives the rest of the file, in one attempt.

        Raises:
            NetworkError: the file is still incomplete.
            MismatchError: the file's size is not the expected one.
        """
        everywhere = {"User-Agent": "flax-zoo", "Accept-Encoding": "identity", **self._range()}
        try:
            response = _open(request.url, {**everywhere, **request.headers}, everywhere)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                self.restart()
                raise TemporaryError("the server cannot resume") from None
            if request.expires and error.code == 403:
                raise TemporaryError("the signed address is refused (HTTP 403)") from None
            raise errors.explain_status(error.code, dict(error.headers)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise errors.explain(error) from None
        with response:
            total = self._begin(response)
            self._take(response, total, retries)

    def _range(self) -> dict[str, str]:
        if not self._received:
            return {}
        condition = {"If-Range": self._version} if self._version else {}
        return {"Range": f"bytes={self._received}-", **condition}

    def _begin(self, response: http.client.HTTPResponse) -> int | None:
        """Checks that the response continues the file, and returns the file's full size if known."""
        if response.status not in (200, 206):
            raise errors.explain_status(response.status, dict(response.headers))
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise MismatchError("is compressed, which was not asked for")
        part = PART.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 200:
            self.restart()
        elif not self._received or part is None or int(part[1]) != self._received:
            self.restart()
            raise TemporaryError("the server sends another part than the one asked for")
        version = response.headers.get("ETag", "")
        self._version = version if version.startswith('"') else None  # a weak one does not mean equal bytes
        length = response.headers.get("Content-Length", "")
        total = self._received + int(length[:18]) if length.isdecimal() else None
        if part and response.status == 206 and part[2] != "*":
            total = int(part[2])  # of which a server may send less at a time than was asked for
        self._check_size(total)
        return total or self._checksum.size

    def _take(self, response: http.client.HTTPResponse, total: int | None, retries: Retries) -> None:
        seen = self._received
        self._report(seen, total)
        while piece := _read(response):
            self._write(piece)
            self._report(self._received, total)
            if self._received - seen >= CHUNK:
                seen = self._received
                retries.touch()
                self._note_progress(retries)
            retries.check()
        if total is not None and self._received < total:
            raise TemporaryError(f"{errors.BROKEN} after {self._received:,} of {total:,} bytes")

    def _note_progress(self, retries: Retries) -> None:
        """Resets the retries only past the furthest byte so far: else a server that cannot resume loops."""
        if self._received - self._furthest >= CHUNK:
            self._furthest = self._received
            retries.reset()

    def _check_size(self, total: int | None) -> None:
        expected = self._checksum.size
        if total is not None and expected is not None and total != expected:
            raise MismatchError(f"has {total:,} bytes, expected {expected:,}")
        self._check_limit(total or 0)
        check_free_space(Path(self._file.name).parent, (total or expected or 0) - self._received)

    def _write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._hasher.update(piece)
        self._received += len(piece)
        if self._checksum.size is not None and self._received > self._checksum.size:
            raise MismatchError(f"has more than the expected {self._checksum.size:,} bytes")
        self._check_limit(self._received)

    def _check_limit(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            self.restart()  # nothing to go on from
            raise RefusedError(f"it has more than {self._limit:,} bytes")

    def verify(self) -> str:
        digest: str = self._hasher.hexdigest()
        problem = self._checksum.problem(digest, self._received)
        if problem:
            raise MismatchError(problem)
        return digest


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise errors.explain(error) from None


def _open(url: str, headers: Mapping[str, str], elsewhere: Mapping[str, str]) -> http.client.HTTPResponse:
    """Opens a URL and follows redirects; those get only `elsewhere`'s headers."""
    for _ in range(REDIRECTS):
        message = urllib.request.Request(url, headers=dict(headers))
        try:
            response: http.client.HTTPResponse = _opener().open(message, timeout=retry.LIMITS.read_timeout)
            return response
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in (301, 302, 303, 307, 308) or "Location" not in error.headers:
                raise
            target = urljoin(url, error.headers["Location"])
            check_move(url, target)
            url, headers = quoted(target, "iso-8859-1"), elsewhere  # the encoding of headers
    raise RefusedError(errors.REDIRECTS)


def _opener() -> urllib.request.OpenerDirector:
    # Made each time: the proxies of the environment are read when it is made.
    opener = urllib.request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    return opener


def check_move(old: str, new: str) -> None:
    """Refuses a redirect away from HTTP, or from HTTPS to plain HTTP.

    Raises:
        RefusedError: the redirect is not allowed.
    """
    allowed = ("https",) if old.startswith("https:") else ("https", "http")
    if urlsplit(new).scheme not in allowed:
        raise RefusedError("it redirects to an address that is not of the web, or not encrypted")


def quoted(address: str, encoding: str = "utf-8") -> str:
    """Returns the address percent-encoded in ASCII, as HTTP requires."""
    return quote(address, safe="%/:?=&#~+,;!$'()*[]@", encoding=encoding)

"""A server of files on this machine, with faults on demand."""

import hashlib
import re
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PIECE = 1 << 14


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str  # without the query
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None


@dataclass(frozen=True)
class Reply:
    """An answer, and how it goes wrong.

    Attributes:
        length: What Content-Length says; by default the truth, None leaves it out.
        cut: Bytes of the body after which the connection ends.
        reset: If true, it ends without a goodbye.
        stall: Seconds of silence at the cut, instead of an end.
        late: Seconds before the answer.
        pace: Seconds between pieces of the body.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = -1
    cut: int | None = None
    reset: bool = False
    stall: float = 0
    late: float = 0
    pace: float = 0


Fault = Callable[[Asked, Reply], Reply]


def status(code: int, **headers: object) -> Fault:
    """Another answer; underscores in the names of headers are hyphens."""
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return lambda asked, reply: Reply(code, named)


def changed(**fields: Any) -> Fault:
    """The same answer, with other fields."""
    return lambda asked, reply: replace(reply, **fields)


def rewritten(change: Callable[[bytes], bytes]) -> Fault:
    """The same answer, with another body."""
    return lambda asked, reply: replace(reply, body=change(reply.body))


def flipped(content: bytes, at: int = 1000) -> bytes:
    """The content with a wrong bit."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


class Server(ABC):
    """A server while it is a context; `url` is its address.

    Attributes:
        asked: Every request.
        ranges: If true, parts of files can be asked for.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.ranges = True
        self._faults: list[tuple[str, str, Fault]] = []
        self._ends = threading.Event()
        self._lock = threading.Lock()

    def fault(self, *faults: Fault, times: int = 1, method: str = "GET", path: str = "") -> None:
        """The faults of the next answers to a method, whose path holds a text, one after another."""
        self._faults += [(method, path, fault) for _ in range(times) for fault in faults]

    def count(self, method: str = "GET", path: str = "") -> int:
        """How many requests there were."""
        return sum(asked.method == method and path in asked.path for asked in self.asked)

    @abstractmethod
    def answer(self, asked: Asked) -> Reply:
        """The answer without faults."""

    def respond(self, asked: Asked) -> Reply:
        """The answer with the next fault, or the part that was asked for."""
        with self._lock:
            self.asked.append(asked)
            reply = self.answer(asked)
            fits = (each for each in self._faults if each[0] == asked.method and each[1] in asked.path)
            found = next(fits, None)
            if found:
                self._faults.remove(found)
        reply = _part(asked, reply) if self.ranges else reply
        return found[2](asked, reply) if found else reply

    @contextmanager
    def serving(self) -> Iterator["Server"]:
        http = _Threads(("127.0.0.1", 0), _Handler)
        http.app, http.ends = self, self._ends
        self.port = http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._ends.set()
            http.shutdown()
            http.server_close()
            thread.join()


class Files(Server):
    """Files by path."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}

    def answer(self, asked: Asked) -> Reply:
        content = self.files.get(asked.path)
        if content is None:
            return Reply(404)
        return Reply(200, {"ETag": f'"{hashlib.md5(content).hexdigest()}"'}, content)


def _part(asked: Asked, reply: Reply) -> Reply:
    match = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
    version = asked.headers.get("if-range")
    if not match or reply.status != 200 or version not in (None, reply.headers.get("ETag")):
        return reply
    start, size = int(match[1]), len(reply.body)
    if start >= size:
        return Reply(416, {"Content-Range": f"bytes */{size}"})
    headers = {**reply.headers, "Content-Range": f"bytes {start}-{size - 1}/{size}"}
    return replace(reply, status=206, headers=headers, body=reply.body[start:])


class _Threads(ThreadingHTTPServer):
    app: Server
    ends: threading.Event
    daemon_threads = True
    request_queue_size = 64

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # and no goodbye before it, which a reset must not have

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # who goes away in mid-reply is the point of many a test


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Threads

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
        self._send(self.server.app.respond(asked))

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _send(self, reply: Reply) -> None:
        if self.server.ends.wait(reply.late):
            return
        if reply.reset and not reply.cut:
            self._end(reset=True)
            return
        self.send_response(reply.status)
        length = len(reply.body) if reply.length == -1 else reply.length
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        whole = reply.cut is None
        body = memoryview(reply.body)[: reply.cut]
        for start in range(0, len(body), PIECE):
            self.wfile.write(body[start : start + PIECE])
            if reply.pace and self.server.ends.wait(reply.pace):
                return
        self.server.ends.wait(reply.stall)
        if not whole or length is None:
            self._end(reset=reply.reset)

    def _end(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            time.sleep(0.05)  # what was written arrives first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, format: str, *args: Any) -> None:
        pass

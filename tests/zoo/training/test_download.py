import contextlib
import gzip
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from zoo.training import DataError, _download, load_split

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture
def mirror(data, monkeypatch, tmp_path):
    """A server of the tiny data set on this machine, faulty under some paths; counts what it was asked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            _, fault, name = self.path.split("/")
            if fault == "missing":
                self.send_error(404)
                return
            body = gzip.compress((data / name.removesuffix(".gz")).read_bytes())
            self.send_response(200)
            if fault != "endless":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault == "other":
                body = body[:-20] + bytes(20)
            if fault == "endless":
                body *= 10_000
            if fault == "stalls":
                self.wfile.write(body[:1])
                time.sleep(1)
            with contextlib.suppress(ConnectionError):  # the client may have had enough
                self.wfile.write(body[: len(body) // 2] if fault == "short" else body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield lambda *faults: tuple(f"{address}/{fault}/{{}}.gz" for fault in faults), asked
    server.shutdown()
    thread.join()
    server.server_close()


def cached(tmp_path) -> list[str]:
    return sorted(path.name for path in tmp_path.rglob("cache/**/*") if path.is_file())


def test_files_are_downloaded_once_and_then_come_from_the_cache(mirror, data, dataset, tmp_path):
    mirrors, asked = mirror
    served = replace(dataset, mirrors=mirrors("good"))
    first = load_split(served, "test")
    assert asked == [f"/good/{IMAGES}.gz", f"/good/{LABELS}.gz"]
    assert cached(tmp_path) == [f"{IMAGES}.gz", f"{LABELS}.gz"]
    again = load_split(replace(dataset, mirrors=()), "test")
    for downloaded, kept, given in zip(first, again, load_split(dataset, "test", data), strict=True):
        np.testing.assert_array_equal(downloaded, given)
        np.testing.assert_array_equal(kept, given)


@pytest.mark.parametrize("fault", ["missing", "other", "short", "endless", "stalls"])
def test_a_faulty_mirror_is_passed_over_and_leaves_nothing(mirror, dataset, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(_download, "STALL", 0.3)
    mirrors, asked = mirror
    with pytest.raises(DataError, match=rf"no mirror gave '{IMAGES}\.gz'") as refusal:
        load_split(replace(dataset, mirrors=mirrors(fault)), "test")
    assert f"/{fault}/{IMAGES}.gz: " in str(refusal.value)
    assert cached(tmp_path) == []
    load_split(replace(dataset, mirrors=mirrors(fault, "good")), "test")
    assert asked[-1] == f"/good/{LABELS}.gz"
    assert cached(tmp_path) == [f"{IMAGES}.gz", f"{LABELS}.gz"]


def test_a_slow_mirror_is_given_up_at_the_deadline(mirror, dataset, monkeypatch):
    monkeypatch.setattr(_download, "DEADLINE", 0.0)
    mirrors, _ = mirror
    with pytest.raises(DataError, match="not complete after 0 s"):
        load_split(replace(dataset, mirrors=mirrors("good")), "test")


def test_an_unreachable_mirror_is_named(mirror, dataset):
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/t10k.*refused"):
        load_split(replace(dataset, mirrors=("http://127.0.0.1:9/{}.gz",)), "test")


def test_a_damaged_file_in_the_cache_is_named_with_what_to_do(mirror, dataset, tmp_path):
    mirrors, _ = mirror
    served = replace(dataset, mirrors=mirrors("good"))
    load_split(served, "test")
    (path,) = tmp_path.rglob(f"cache/**/{IMAGES}.gz")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="delete it, then it is downloaded again"):
        load_split(served, "test")

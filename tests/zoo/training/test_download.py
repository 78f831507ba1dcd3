import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from huggingface_hub import constants

from tests.support.servers import Files, changed, flipped, rewritten, status
from zoo._hub import retry
from zoo.training import DataError, DataFile, Dataset, load_split

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, and short waits."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    limits = retry.Limits(read_timeout=0.3, total_timeout=2, attempts=2, pause=0.01, lock_timeout=5)
    monkeypatch.setattr(retry, "LIMITS", limits)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


@pytest.fixture
def server(data, dataset):
    """A server of the tiny data set, compressed, under /good and /bad."""
    with Files().serving() as server:
        for name in (IMAGES, LABELS):
            for mirror in ("good", "bad"):
                server.files[f"/{mirror}/{name}.gz"] = gzip.compress((data / name).read_bytes())
        yield server


def served(dataset: Dataset, server: Files, *mirrors: str) -> Dataset:
    return replace(dataset, mirrors=tuple(f"{server.url}/{mirror}/{{}}.gz" for mirror in mirrors))


def cached(cache) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def test_files_are_downloaded_once_and_then_come_from_the_cache(server, data, dataset, cache):
    first = load_split(served(dataset, server, "good"), "test")
    assert [asked.path for asked in server.asked] == [f"/good/{IMAGES}.gz", f"/good/{LABELS}.gz"]
    assert cached(cache) == [f"tiny/{IMAGES}.gz", f"tiny/{LABELS}.gz"]
    again = load_split(replace(dataset, mirrors=()), "test")
    for downloaded, kept, given in zip(first, again, load_split(dataset, "test", data), strict=True):
        np.testing.assert_array_equal(downloaded, given)
        np.testing.assert_array_equal(kept, given)


FAULTS = {
    "missing": (status(404), "there is no such file"),
    "other": (rewritten(lambda body: body[:-20] + bytes(20)), "the mirror serves another file"),
    "short": (changed(cut=20), "the connection broke after"),
    "endless": (changed(body=bytes(200_000), length=None), "more than 94,560 bytes"),
    "large": (changed(body=bytes(200_000)), "more than 94,560 bytes"),
    "stalls": (changed(cut=1, stall=1), "timed out"),
}


@pytest.mark.parametrize(("fault", "says"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_mirror_is_passed_over_and_leaves_nothing(server, dataset, cache, fault, says):
    server.ranges = False
    server.fault(fault, times=9, path="/bad/")
    with pytest.raises(DataError, match=rf"no mirror gave '{IMAGES}\.gz'(.|\n)*({says})") as refusal:
        load_split(served(dataset, server, "bad"), "test")
    assert f"/bad/{IMAGES}.gz: " in str(refusal.value)
    assert cached(cache) == []
    load_split(served(dataset, server, "bad", "good"), "test")
    assert server.asked[-1].path == f"/good/{LABELS}.gz"
    assert cached(cache) == [f"tiny/{IMAGES}.gz", f"tiny/{LABELS}.gz"]


def test_a_download_goes_on_where_the_connection_broke(server, dataset, cache):
    server.fault(changed(cut=5_000), path=IMAGES)
    load_split(served(dataset, server, "good"), "test")
    first, second, _ = server.asked
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=5000-"


def test_a_slow_mirror_is_given_up(server, dataset, monkeypatch):
    monkeypatch.setattr(retry, "LIMITS", replace(retry.LIMITS, total_timeout=0))
    with pytest.raises(DataError, match="almost nothing arrived in 0 s"):
        load_split(served(dataset, server, "good"), "test")


@pytest.fixture
def text(server) -> Dataset:
    """A data set of one file, which is not compressed."""
    content = bytes(range(200)) * 5
    server.files["/good/text"] = server.files["/bad/text"] = content
    file = DataFile("text", (len(content),), hashlib.sha256(content).hexdigest())
    mirrors = tuple(f"{server.url}/{mirror}/{{}}" for mirror in ("bad", "good"))
    return Dataset("text", {"test": (file,)}, mirrors, examples=lambda split, array: array)


def test_wrong_bytes_are_named_and_another_mirror_asked(server, text, cache):
    server.fault(rewritten(lambda body: flipped(body, 9)), times=2, path="/bad/")
    assert len(load_split(text, "test")) == 1000
    assert [asked.path for asked in server.asked] == ["/bad/text", "/bad/text", "/good/text"]
    assert cached(cache) == ["text/text"]
    (cache / "text" / "text").unlink()
    server.fault(rewritten(lambda body: flipped(body, 9)), times=4)
    with pytest.raises(
        DataError, match=r"/bad/text: it has sha256 \w{64}, expected (?s:.*)/good/text: it has sha"
    ):
        load_split(text, "test")
    assert cached(cache) == []


def test_an_unreachable_mirror_is_named(dataset):
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/t10k.*refuses"):
        load_split(replace(dataset, mirrors=("http://127.0.0.1:9/{}.gz",)), "test")


def test_the_network_is_not_used_against_the_users_word(server, dataset, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):
        load_split(served(dataset, server, "good"), "test")
    assert server.asked == []


def test_a_cache_that_cannot_be_written_is_named(server, dataset, monkeypatch, tmp_path):
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "occupied"))
    with pytest.raises(DataError, match="set ZOO_CACHE to a directory that you can write to"):
        load_split(served(dataset, server, "good"), "test")
    assert server.asked == []


def test_a_damaged_file_in_the_cache_is_named_with_what_to_do(server, dataset, cache):
    load_split(served(dataset, server, "good"), "test")
    path = cache / "tiny" / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="delete it, then it is downloaded again"):
        load_split(served(dataset, server, "good"), "test")

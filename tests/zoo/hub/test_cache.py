import errno
import gc
import os
import signal
import subprocess
import sys
import time
import weakref

import pytest

import zoo
from converters.io import exceptions_from
from tests.support.servers import changed, flipped
from tests.zoo.hub.conftest import litter
from zoo._hub import cache as _cache


def test_a_file_system_without_locks_is_no_obstacle(net, files, pth, cache, monkeypatch):
    def refuse(fd, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert pth.loads()
    assert litter(cache) == []


def test_a_cache_that_may_only_be_read_serves_and_is_named_where_it_cannot(
    net, files, pth, cache, monkeypatch
):
    assert pth.loads()

    def refuse(path, flags, mode=0o777):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, mode)

    real = os.open
    monkeypatch.setattr(os, "open", refuse)
    assert pth.loads()
    (cache / "zoo" / "files" / pth.sha256).write_bytes(flipped(pth.content))
    with pytest.raises(
        zoo.WeightsError, match=r"has sha256 .*, and cannot be put aside: .*Permission denied"
    ):
        zoo.load("net", pretrained=True)
    (cache / "zoo" / "files" / pth.sha256).unlink()
    with pytest.raises(zoo.WeightsError) as caught:
        zoo.load("net", pretrained=True)
    assert f" cannot be kept in '{cache / 'zoo' / 'files'}': Permission denied; ZOO_CACHE" in str(
        caught.value
    )


@pytest.mark.parametrize("size", [10**15, None], ids=["by the manifest", "by the server"])
def test_a_disk_without_room_is_refused_before_the_first_byte(size, declare, files, pth, cache):
    files.files["/net.pth"] = pth.content
    files.fault(changed(length=10**15), times=3)
    sizes = {} if size is None else {"size": size}
    declare(url=f"{files.url}/net.pth", sha256=pth.sha256, layout="torch", **sizes)
    with pytest.raises(
        zoo.WeightsError, match=r"cannot be kept in .*: needs 1,0{3},.* ZOO_CACHE and HF_HOME choose"
    ):
        zoo.load("net", pretrained=True)
    assert litter(cache) == []


FULL = """
import resource, signal, sys, zoo
from pathlib import Path
from zoo import mlp
from zoo._registry import manifest as _manifest
_manifest._packaged = lambda: _manifest.read(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    zoo.load("net", pretrained=True)
except zoo.WeightsError as error:
    assert "cannot be kept in " in str(error) and "/files': File too large; " in str(error), error
    assert ".part" not in str(error)
else:
    raise AssertionError
"""


def test_a_disk_that_fills_up_leaves_nothing(net, cache):
    subprocess.run([sys.executable, "-c", FULL, str(cache / "weights_manifest.yaml")], check=True)
    assert litter(cache) == []
    assert list((cache / "zoo" / "files").iterdir()) == []


def test_a_cache_that_is_a_file_or_not_writable_is_named(net, cache, monkeypatch):
    (cache / "occupied").write_text("")
    for place in ("occupied", "occupied/below"):
        monkeypatch.setenv("ZOO_CACHE", str(cache / place))
        with pytest.raises(
            zoo.WeightsError, match=r"(File exists|Not a directory); set ZOO_CACHE to a directory"
        ):
            zoo.load("net", pretrained=True)
    monkeypatch.setenv("ZOO_CACHE", "/proc/zoo")
    with pytest.raises(zoo.WeightsError, match=r"/proc/zoo.*; set ZOO_CACHE to a directory"):
        zoo.load("net", pretrained=True)


def test_a_cache_of_the_hub_that_is_a_file_is_named(hub, cache, caplog):
    hub.commit("someone/net", {"config.json": b"{}"})
    (cache / "hub").write_text("")
    with pytest.raises(zoo.WeightsError, match=r"/hub/models--someone--net/blobs': .*; set HF_HOME"):
        zoo.load("hf://someone/net", pretrained=True)
    assert [record for record in caplog.records if record.name.startswith("huggingface")] == []


def collected(send):
    """Calls it while garbage is collected."""
    gc.callbacks.append(lambda phase, details: send())
    try:
        gc.collect()
        time.sleep(9)
    finally:
        gc.callbacks.pop()


def forgotten(send):
    """Calls it while a dictionary of weak references forgets one."""

    class Key:
        pass

    class Data(dict):
        def __delitem__(self, key):
            send()
            super().__delitem__(key)

    weak, key = weakref.WeakKeyDictionary(), Key()
    weak.data = Data()
    weak[key] = 1
    del key
    assert not weak
    time.sleep(9)


def finalized(send):
    """Calls it from a finalizer, in the middle of a collection."""

    class Circle:
        pass

    circle = Circle()
    circle.itself = circle
    weakref.finalize(circle, send)
    del circle
    gc.collect()
    time.sleep(9)


def told(send):
    """Calls it from the callback of a weak reference, which looks like any function."""

    class Key:
        pass

    key = Key()
    reference = weakref.ref(key, lambda gone: send())
    del key
    time.sleep(9)
    assert reference


def closed(send):
    """Calls it from a generator that nobody needs any more."""

    def generate():
        try:
            yield
        finally:
            send()

    generator = generate()
    next(generator)
    del generator
    time.sleep(9)


@pytest.mark.parametrize("call", [collected, forgotten, finalized, told, closed])
@pytest.mark.parametrize(
    ("number", "ended"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_that_python_would_lose_is_not_lost(number, ended, call):
    sent = []

    def send():
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    with exceptions_from([number]), pytest.raises(ended):
        call(send)


def test_other_exceptions_that_python_ignores_are_reported_as_ever(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: reported.append(ignored.exc_type))
    with exceptions_from([signal.SIGTERM]):
        key = type("Key", (), {"__del__": lambda self: 1 / 0})()
        del key
    assert reported == [ZeroDivisionError]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", "~/a")
    assert _cache.root() == tmp_path.home() / "a"
    monkeypatch.delenv("ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _cache.root() == tmp_path / "flax-zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _cache.root() == tmp_path.home() / ".cache" / "flax-zoo"

"""New files appear whole or not at all, and only regular files are read."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from converters.errors import CheckpointError
from converters.io.atomic import atomic_write
from converters.io.files import InputFile, aligned_read

SCRIPT = """
import os, pathlib, sys
from converters.io.atomic import atomic_write
with atomic_write(pathlib.Path(sys.argv[1])) as file:
    file.write(b"x" * 10000)
    os.kill(os.getpid(), int(sys.argv[2]))
    input()
"""


def fail(path, error, *, overwrite):
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(b"new")
        raise error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_failure_leaves_the_old_file_and_no_litter(error, tmp_path):
    path = tmp_path / ("n" * 255)
    path.write_bytes(b"old")
    with pytest.raises((CheckpointError, type(error))):
        fail(path, error, overwrite=True)
    with pytest.raises(CheckpointError, match="exists"):
        fail(path, error, overwrite=False)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_is_replaced_only_when_asked_for(tmp_path):
    path = tmp_path / "- ü\udcff"
    with atomic_write(path) as file:
        file.write(b"old")
    with atomic_write(path, overwrite=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == [path.name]


def test_targets_that_cannot_be_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    cases = {
        tmp_path / "fifo": "named pipe",
        tmp_path: "directory",
        tmp_path / "no" / "x": "no directory",
        tmp_path / ("n" * 256): "too long",
    }
    for path, message in cases.items():
        with pytest.raises(CheckpointError, match=message):
            fail(path, ValueError(), overwrite=True)
    with pytest.raises(CheckpointError, match="make room"), atomic_write(tmp_path / "x", size=2**60):
        pass
    assert os.listdir(tmp_path) == ["fifo"]


def test_somebody_elses_file_that_appears_meanwhile_stays(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(CheckpointError, match="meanwhile"), atomic_write(path):
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_litter(number, tmp_path):
    # Under nohup, or in the background of some shells, processes begin with signals that they ignore.
    handler = "default_int_handler" if number == signal.SIGINT else "SIG_DFL"
    script = f"import signal; signal.signal({int(number)}, signal.{handler})\n{SCRIPT}"
    command = [sys.executable, "-c", script, str(tmp_path / "x"), str(int(number))]
    done = subprocess.run(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode in (128 + number, -number)
    assert not os.listdir(tmp_path)


def test_a_full_disk_is_refused_and_leaves_nothing(tmp_path):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n" + SCRIPT
    command = [sys.executable, "-c", limited, str(tmp_path / "x"), "0"]
    done = subprocess.run(command, input=b"\n", stderr=subprocess.PIPE, timeout=60)
    assert b"CheckpointError" in done.stderr
    assert b"File too large" in done.stderr
    assert not os.listdir(tmp_path)


def test_a_system_without_reads_at_positions_reads_the_same(tmp_path, monkeypatch):
    content = os.urandom(10_000)
    (tmp_path / "x").write_bytes(content)
    monkeypatch.delattr(os, "preadv")
    file = InputFile(tmp_path / "x")
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: file.read(start, 100), range(0, len(content), 100)))
    assert b"".join(parts) == content


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("nowhere")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # a socket's path may have some hundred characters only
    server.bind("socket")
    server.close()
    cases = {
        tmp_path / "fifo": "named pipe",
        tmp_path / "socket": "socket",
        "/dev/zero": "device",
        tmp_path: "directory",
        tmp_path / "link": "No such file",
        tmp_path / ("n" * 300): "too long",
    }
    for path, message in cases.items():
        with pytest.raises(CheckpointError, match=message):
            aligned_read(path)


@pytest.mark.parametrize("change", [lambda path: os.truncate(path, 50), lambda path: os.utime(path, (1, 1))])
def test_a_file_that_changes_while_it_is_read_is_refused(change, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(100))
    file = InputFile(path)
    change(path)
    with pytest.raises(CheckpointError, match="while it was read"):
        file.read(0, 100)


def test_a_file_that_is_replaced_while_it_is_read_does_not_matter(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    file = InputFile(path)
    with atomic_write(path, overwrite=True) as new:
        new.write(b"new")
    assert file.read(0, 3) == b"old"

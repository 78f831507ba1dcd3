"""Several processes, and killed ones; they are forked from one that has imported the zoo already."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import zoo
from tests.support.servers import changed
from tests.zoo.hub.conftest import litter
from zoo._hub import cache as hub_cache
from zoo._hub import retry

pytestmark = pytest.mark.costly

ZYGOTE = """
import hashlib, os, signal, sys, time
from pathlib import Path
import huggingface_hub.file_download
import zoo
from zoo.cli.app import app
from zoo._registry import manifest as _manifest
from zoo._hub import retry
from zoo._variables.tree import flatten

_manifest._packaged = lambda: _manifest.read(Path(sys.argv[1]))

def fork(act):
    child = os.fork()
    if not child:
        try:
            act()
        except SystemExit as end:
            os._exit(end.code or 0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(9)
        os._exit(0)
    return child

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def parts(pattern=".*"):
    return [path for root in sys.argv[2:] for path in Path(root).rglob(pattern) if path.is_file()]

def fetch():
    app(["fetch", "net"], prog_name="zoo")
"""

TEN = """
def load():
    os.read(start, 1)
    flat = flatten(zoo.load("net", pretrained=True).variables)
    digest = hashlib.sha256(b"".join(flat[path].tobytes() for path in sorted(flat))).hexdigest()
    print(f"{digest}\\n", end="", flush=True)

start, release = os.pipe()
children = [fork(load) for _ in range(10)]
os.write(release, bytes(10))
assert [wait(child) for child in children] == [0] * 10
"""

# The moments are lines of the code that fetches, from the lock over each piece of the body to the last name.
KILLED = """
import random
from zoo._hub import cache, download, hub_file, metadata, remote_file, url_file
from zoo._loading import fetch as fetching

cache.WORTH = 1  # what was killed goes on, however little there is
FILES = {each.__file__ for each in (cache, download, fetching, hub_file, metadata, remote_file, url_file)}

def fetch_until(moment):
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename not in FILES:
            return None
        count += event == "line"
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        fetch()
    finally:
        sys.settrace(None)
        os.write(counts, b"%d " % count)

def forget():
    for path in parts("*"):
        if not path.name.startswith("."):
            path.unlink()

read, counts = os.pipe()
assert wait(fork(lambda: fetch_until(None))) == 0
total = int(os.read(read, 99))
dice, killed = random.Random(0), 0
while killed < 20:  # a fetch that goes on has fewer lines, and may end before its moment
    for _ in range(2):
        forget()
        moment = dice.randrange(1, total)
        killed += wait(fork(lambda: fetch_until(moment))) == -signal.SIGKILL
        assert len(parts(".*.part")) < 2 and len(parts(".*.lock")) < 2, (moment, parts(".*"))
    assert wait(fork(fetch)) == 0, moment
forget()
assert wait(fork(fetch)) == 0
"""

SIGNALLED = """
for number in (signal.SIGINT, signal.SIGTERM):
    child = fork(fetch)
    while not parts(".*.part"):
        time.sleep(0.01)
    os.kill(child, number)
    assert wait(child) == 128 + number
    assert not parts("*"), parts("*")
"""


@pytest.fixture(params=["address", "hub"])
def net(request, files, hub, flax, declare):
    """The model at an address or on the Hub, and the server that hands it out slowly."""
    options = {"sha256": flax.sha256, "size": len(flax.content)}
    if request.param == "hub":
        commit = hub.commit("someone/net", {"model.safetensors": flax.content})
        declare(repo="someone/net", revision=commit, file="model.safetensors", **options)
        return hub
    files.files["/net.safetensors"] = flax.content
    declare(url=f"{files.url}/net.safetensors", **options)
    return files


def run(code: str, cache, server) -> str:
    roots = [str(cache / "zoo"), str(cache / "home")]
    environment = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(cache / "home")}
    command = [sys.executable, "-c", ZYGOTE + code, str(cache / "weights_manifest.yaml"), *roots]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    if (cache / "home").exists():
        (cache / "home" / "hub").rename(cache / "hub")
    return done.stdout


def test_ten_processes_fetch_once_and_load_the_same(net, cache, flax):
    net.fault(changed(pace=0.01), path="/net.safetensors" if net.count() else "")
    digests = run(TEN, cache, net).split()
    assert len(digests) == 10
    assert len(set(digests)) == 1
    assert net.count(path="/store/") + net.count(path="/net.safetensors") == 1
    assert litter(cache) == []
    assert flax.loads()


def test_ten_processes_fetch_a_repository_once(hub, directory, declare, cache):
    declare(url="https://example.org/none.pth", sha256="ab" * 32)
    commit = hub.commit("someone/net", {path.name: path.read_bytes() for path in directory.iterdir()})
    hub.fault(changed(pace=0.01), times=9)
    digests = run(TEN.replace('"net"', '"hf://someone/net"'), cache, hub).split()
    assert (len(digests), len(set(digests))) == (10, 1)
    assert hub.count(path="/store/") == hub.count(path="config.json") == 1
    assert litter(cache) == []
    assert (cache / "hub/models--someone--net/refs/main").read_text() == commit


def test_after_twenty_kills_the_next_fetch_is_right_and_leaves_nothing(net, cache, flax):
    net.fault(changed(pace=0.001), times=60)
    run(KILLED, cache, net)
    assert litter(cache) == []
    net.fault(changed(status=500), times=60)
    assert flax.loads()


def test_interrupted_and_terminated_fetches_leave_nothing_of_little_files(net, cache):
    net.fault(changed(pace=0.05), times=60)
    run(SIGNALLED, cache, net)
    assert not any(asked.headers.get("range") for asked in net.asked)


def test_threads_fetch_once(net, cache, flax):
    net.fault(changed(pace=0.01), path="net")
    right = []
    threads = [threading.Thread(target=lambda: right.append(flax.loads())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 8
    assert net.count(path="/store/") + net.count(path="/net.safetensors") == 1


def test_a_process_that_does_not_come_to_an_end_is_not_waited_for(net, cache, monkeypatch):
    monkeypatch.setattr(retry, "LIMITS", retry.Limits(lock_timeout=0.2))
    weights = zoo.info("net").weights
    directory = cache / "directory"
    directory.mkdir()
    monkeypatch.setattr(hub_cache, "ensure_directory", lambda *arguments: directory)
    with hub_cache.lock(directory, str(weights)):
        (lock,) = directory.iterdir()
        with pytest.raises(zoo.WeightsError, match=rf"for too long; see '{re.escape(str(lock))}'"):
            zoo.load("net", pretrained=True)
    assert not lock.exists()


LOCKED = """
import os, signal, sys
from pathlib import Path
from zoo._hub import cache as hub_cache
directory, address = Path(sys.argv[1]), sys.argv[2]
directory.mkdir(parents=True)
with hub_cache.lock(directory, address), hub_cache.partial_file(directory, address):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("address", ["", "another"], ids=["its own", "another's"])
def test_what_a_killed_process_left_is_removed_by_the_next_fetch(net, cache, flax, address):
    weights = zoo.info("net").weights
    repo = cache / "hub" / "models--someone--net"
    directory = repo / "blobs" if weights.repo else cache / "zoo" / "files"
    done = subprocess.run([sys.executable, "-c", LOCKED, str(directory), address or str(weights)])
    assert done.returncode == -signal.SIGKILL
    assert len(litter(cache)) == 2
    assert flax.loads()
    assert litter(cache) == []


def test_what_another_process_fetches_is_left_alone(net, cache, flax):
    directory = cache / "hub" / "models--someone--net" / "blobs"
    directory = directory if zoo.info("net").weights.repo else cache / "zoo" / "files"
    directory.mkdir(parents=True)
    with hub_cache.lock(directory, "another"), hub_cache.partial_file(directory, "another") as file:
        assert flax.loads()
        assert Path(file.name).exists()
    assert litter(cache) == []

"""Several processes, and killed ones; they are forked from one that has imported the zoo already."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

import zoo
from tests.servers import changed
from tests.zoo.fetching.conftest import litter
from zoo import _cache, _patience

ZYGOTE = """
import hashlib, os, signal, sys, time
from pathlib import Path
import huggingface_hub.file_download
import zoo
from zoo import _manifest, _patience, cli
from zoo._model import flatten

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
    cli.app(["fetch", "net"], prog_name="zoo")
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

KILLED = """
most = 0
for moment in range(20):
    child = fork(fetch)
    time.sleep(0.01 + 0.02 * moment)
    os.kill(child, signal.SIGKILL)
    assert wait(child) in (-signal.SIGKILL, 0)
    most = max(most, len(parts()))
assert most == 1, most
assert wait(fork(fetch)) == 0
"""

SIGNALLED = """
for number in (signal.SIGINT, signal.SIGTERM):
    child = fork(fetch)
    while not parts():
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
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=120)
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


def test_after_twenty_kills_the_next_fetch_is_right_and_leaves_nothing(net, cache, flax):
    net.fault(changed(pace=0.01), times=60)
    run(KILLED, cache, net)
    assert litter(cache) == []
    net.fault(changed(status=500), times=60)
    assert flax.loads()


def test_interrupted_and_terminated_fetches_leave_nothing(net, cache):
    net.fault(changed(pace=0.05), times=60)
    run(SIGNALLED, cache, net)


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
    monkeypatch.setattr(_patience, "LIMITS", _patience.Limits(turn=0.2))
    weights = zoo.info("net").weights
    with _cache.turn(str(weights)):
        (lock,) = (cache / "zoo" / "locks").iterdir()
        with pytest.raises(zoo.WeightsError, match=rf"for too long; see '{re.escape(str(lock))}'"):
            zoo.load("net", pretrained=True)
    assert not lock.exists()


def test_the_lock_of_a_killed_process_is_no_obstacle(net, cache, flax):
    code = "import os, signal, sys; from zoo import _cache\n"
    code += "with _cache.turn(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code, str(zoo.info("net").weights)])
    assert done.returncode == -signal.SIGKILL
    assert len(list((cache / "zoo" / "locks").iterdir())) == 1
    assert flax.loads()
    assert litter(cache) == []

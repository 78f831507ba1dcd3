"""Killed publications; each is a process forked from one that has imported everything already."""

import json
import os
import subprocess
import sys

import pytest

from tests.zoo.publishing.conftest import FILES, OLD, TOKEN

pytestmark = pytest.mark.costly

ZYGOTE = """
import json, os, random, signal, sys
from pathlib import Path
import jax, numpy as np
from huggingface_hub import get_session
import zoo
from zoo._hub import download
from zoo._publishing import model_card, publish
from tests.zoo.publishing.conftest import Net

shapes = {"Dense_0": (3, 4), "Dense_1": (4, 2)}
params = {name: {"kernel": np.ones(shape), "bias": np.ones(shape[1])} for name, shape in shapes.items()}
model = zoo.Model(Net(), {"params": params})
staging = Path(os.environ["ZOO_CACHE"]) / "staging"
moment = count = number = 0

def tick(*_):
    "Counts the moments at which something can be half done, and ends the process at one of them."
    global count
    count += 1
    if count == moment:
        os.kill(os.getpid(), number)

def watch(event, arguments):
    if event in ("open", "os.rename", "os.mkdir", "os.remove") and str(staging) in str(arguments[0]):
        tick()

def act(repo):
    sys.addaudithook(watch)
    for kind in ("request", "response"):
        get_session().event_hooks[kind].append(tick)
    zoo.publish(model, repo, license="MIT", force=True)

def run(repo, at, by=signal.SIGKILL):
    "The exit code of a publication that gets a signal at a moment, and how many moments there were."
    global moment, number
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        moment, number = at, by
        try:
            act(repo)
            os.write(writer, str(count).encode())
        except (KeyboardInterrupt, SystemExit):
            os._exit(9)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    os.close(writer)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, int(os.read(reader, 9) or 0)

run("you/net0", -1)  # asks what the client then knows
moments = run("you/net21", -1)[1]
chosen = sorted(random.Random(0).sample(range(1, moments), 20))
for index, at in enumerate(chosen, 1):
    repo = f"you/net{index}"
    code, _ = run(repo, at)
    assert code == -signal.SIGKILL, (code, at, moments)
    left = list(staging.iterdir())
    assert len(left) <= 1, left
    print(json.dumps([repo, at, moments]), flush=True)
    sys.stdin.readline()  # the parent looks at the repository
    assert run(repo, -1)[0] == 0
    assert not list(staging.iterdir())

for index, by in enumerate((signal.SIGINT, signal.SIGTERM) * 3, 22):
    at = random.randrange(moments // 3, moments)
    assert run(f"you/net{index}", at, by)[0] == 9, (by, at, moments)
    assert not list(staging.iterdir())
    assert run(f"you/net{index}", -1)[0] == 0
"""


def test_after_kills_and_interrupts_the_repository_is_old_or_new_and_the_next_run_is_right(
    hub, owner, tmp_path
):
    for index in range(28):
        hub.commit(f"you/net{index}", OLD, private=True, readers={TOKEN})
    home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "ZOO_CACHE": str(tmp_path / "cache")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", ZYGOTE], env={**os.environ, **home}, text=True, **pipes)
    seen = []
    for line in process.stdout:
        repo, moment, _ = json.loads(line)
        new = hub.head(repo) != OLD
        assert not new or set(hub.head(repo)) == FILES, moment
        seen.append(new)
        process.stdin.write("\n")
        process.stdin.flush()
    rest, errors = process.communicate()
    assert process.returncode == 0, rest + errors
    assert (len(seen), set(seen)) == (20, {False, True})
    for index in range(28):
        repository = hub.repositories[f"you/net{index}"]
        assert set(hub.head(f"you/net{index}")) == FILES
        assert len(repository.log) == 2
    assert "hf_of" not in errors
    assert not (tmp_path / "home" / "hub").exists()

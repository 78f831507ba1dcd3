import json
import os
import pty
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import zoo
from tests.support.hub import Hub
from tests.support.servers import Reply, changed, flipped, rewritten, status
from tests.zoo.hub.conftest import litter
from zoo._hub import cache as hub_cache
from zoo.cli.app import app


@pytest.fixture
def run(capsys):
    """Runs a verb in this process: its exit code and what it printed."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            app(list(arguments), prog_name="zoo")
        return caught.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def net(hub, declare, flax):
    commit = hub.commit("someone/net", {"model.safetensors": flax.content})
    declare(repo="someone/net", revision=commit, file="model.safetensors", sha256=flax.sha256)
    return hub


def test_fetch_gets_lists_and_removes(net, run, cache, flax, offline):
    empty = "zoo: the cache holds no weights; `zoo fetch NAME` downloads them.\n"
    assert run("fetch", "--list") == (0, "", empty)
    assert run("fetch", "--list", "--json") == (0, "[]\n", empty)
    code, out, error = run("fetch", "net")
    assert (code, error) == (0, "")
    name, size, path = out.rstrip("\n").split("\t")
    assert (name, int(size)) == ("net", len(flax.content))
    assert os.path.getsize(path) == int(size)
    assert run("fetch", "--list") == run("fetch", "--list", "n*") == run("fetch", "n*") == (0, out, "")
    assert net.count(path="/store/") == 1
    assert run("fetch", "--remove", "net") == (0, out, "")
    assert litter(cache) == []
    assert not any(path.is_file() for path in (cache / "hub").rglob("*"))
    assert run("fetch", "--remove", "net") == (
        1,
        "",
        "zoo: 'net' has nothing in the cache; `zoo fetch --list` shows what is there.\n",
    )
    offline()
    code, out, error = run("fetch", "net")
    assert (code, out) == (1, "")
    assert error.endswith("run `zoo fetch net` with a network.\n")
    assert error.count("\n") == 1


def test_fetched_weights_are_verified_as_others(net, run, flax):
    code, out, error = run("verify", "net")
    assert (code, error) == (0, "")
    assert out.startswith(f"sha256\t{flax.sha256}\n")


def test_fetch_checks_what_is_in_the_cache(net, run, cache):
    _, out, _ = run("fetch", "net")
    path = Path(out.split("\t")[2].strip())
    content = path.read_bytes()
    path.write_bytes(flipped(content))
    assert run("fetch", "net") == (0, out, "")
    assert path.read_bytes() == content


def test_a_plain_address_is_removed_too(files, pth, declare, run, cache):
    files.files["/net.pth"] = pth.content
    declare(url=f"{files.url}/net.pth", sha256=pth.sha256, layout="torch")
    run("fetch", "net")
    assert run("fetch", "--remove", "*")[0] == 0
    assert not list((cache / "zoo" / "files").iterdir())


def test_removing_leaves_what_another_commit_still_refers_to(net, run, declare, cache, flax, offline):
    run("fetch", "net")
    newer = net.commit("someone/net", {"README.md": b"new"})
    declare(repo="someone/net", revision=newer, file="model.safetensors", sha256=flax.sha256)
    run("fetch", "net")
    run("fetch", "--remove", "net")
    older = next(commit for commit in net.repositories["someone/net"].commits if commit != newer)
    declare(repo="someone/net", revision=older, file="model.safetensors", sha256=flax.sha256)
    offline()
    assert flax.loads()


def test_bundled_weights_and_directories_are_checked(directory, run):
    code, out, _ = run("fetch", str(directory))
    assert (code, out.split("\t")[2]) == (0, f"{directory}/model.safetensors\n")


def test_misuse_is_told(run, net):
    assert run("fetch")[0] == 2
    assert run("fetch", "--list", "--remove", "net")[0] == 2
    code, _, error = run("fetch", "q*")
    assert (code, error) == (1, "zoo: no weights match 'q*'; `zoo list` and `zoo fetch --list` show all.\n")


def test_a_refusal_does_not_keep_fetch_from_the_rest(net, run, flax):
    code, out, error = run("fetch", "odd", "net", "hf://someone/none")
    assert (code, out.split("\t")[0], out.count("\n")) == (1, "net", 1)
    first, *rest = error.splitlines()
    assert first == "zoo: 2 of 3 models are refused:"
    assert [line.split(" ")[2] for line in rest] == ["no", "'hf://someone/none'"]
    assert run("fetch", "odd", "net")[2].startswith("zoo: no model named 'odd'")


def test_remove_takes_a_damaged_file_too(net, run, cache, offline):
    _, out, _ = run("fetch", "net")
    path = Path(out.split("\t")[2].strip())
    path.write_bytes(flipped(path.read_bytes()))
    offline()
    assert run("fetch", "net")[0] == 1
    assert litter(cache) != []
    code, out, _ = run("fetch", "--list")
    assert (code, out.rstrip().endswith(".damaged")) == (0, True)
    assert run("fetch", "--remove", "net") == (0, out, "")
    assert litter(cache) == []


def test_a_path_that_is_not_text_is_printed_as_it_is(files, pth, declare, cache):
    files.files["/net.pth"] = pth.content
    declare(url=f"{files.url}/net.pth", sha256=pth.sha256, layout="torch")
    place = os.fsencode(cache) + b"/\xff a"
    code = "import sys; from pathlib import Path; from zoo import mlp; from zoo.cli.app import app\n"
    code += "from zoo._registry import manifest\n"
    code += "manifest._packaged = lambda: manifest.read(Path(sys.argv[1]))\n"
    code += "mlp.TORCH_NAMES = {'torch': ()}\n"
    code += "app(['fetch', 'net'], prog_name='zoo')"
    done = subprocess.run(
        [sys.executable, "-c", code, cache / "weights_manifest.yaml"],
        env=os.environ | {"ZOO_CACHE": os.fsdecode(place), "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.split(b"\t")[2] == place + b"/files/" + pth.sha256.encode() + b"\n"


def test_a_repository_is_fetched_by_its_name(hub, directory, run, offline):
    hub.commit("someone/net", {path.name: path.read_bytes() for path in directory.iterdir()})
    code, out, _ = run("fetch", "hf://someone/net")
    assert (code, out.split("\t")[0]) == (0, "hf://someone/net")
    assert hub.count("HEAD", "model.safetensors") == 1
    assert run("fetch", "--list") == run("fetch", "--list", "hf://*") == (0, out, "")
    (listed,) = json.loads(run("fetch", "--list", "--json")[1])
    name, size, path = out.rstrip("\n").split("\t")
    assert listed == {"name": name, "bytes": int(size), "file": path}
    assert run("fetch", "--remove", "*")[0] == 1  # which leaves alone what other programs may have fetched
    offline()
    assert run("fetch", "--remove", "hf://someone/net") == (0, out, "")
    assert run("fetch", "--list")[1] == ""


def test_repositories_are_listed_by_branch_or_commit(hub, directory, run, declare, flax):
    written = {path.name: path.read_bytes() for path in directory.iterdir()}
    old = hub.commit("someone/net", written)
    run("fetch", "hf://someone/net")
    hub.commit("someone/net", {**written, "README.md": b"new"})
    run("fetch", "hf://someone/net")

    def listed():
        return {line.split("\t")[0] for line in run("fetch", "--list")[1].splitlines()}

    assert listed() == {"hf://someone/net", f"hf://someone/net@{old}"}
    declare(repo="someone/net", revision=old, file="model.safetensors", sha256=flax.sha256)
    assert listed() == {"net", "hf://someone/net"}


def test_remove_takes_what_an_interrupted_download_left(net, run, cache, monkeypatch):
    monkeypatch.setattr(hub_cache, "WORTH", 1)
    net.fault(changed(cut=50_000), times=9, path="/store/")
    assert run("fetch", "net")[0] == 1
    code, out, _ = run("fetch", "--remove", "net")
    assert (code, out.split("\t")[:2]) == (0, ["net", "200000"])
    assert litter(cache) == []


def test_progress_is_shown_on_a_terminal(net, flax, monkeypatch):
    net.fault(changed(pace=0.02), path="/store/")
    main, terminal = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert flax.loads()
    shown = os.read(main, 1 << 20).decode()
    os.close(main)
    assert "model.safetensors" in shown
    assert "kB" in shown


TOKEN = "hf_Sup3rS3cret"


def _loop(asked, reply):
    # An address with a host: relative ones old versions of the Hub's client follow for ever. It logs the ones
    # that it follows for its own questions, and so those have no signature.
    signature = f"?X-Signature={Hub.SECRET}0" if asked.method == "GET" else ""
    return status(302, Location=f"http://{asked.headers['host']}{asked.path}{signature}")(asked, reply)


def _to(location):
    return lambda asked, reply: Reply(302, {**reply.headers, "Location": location})


FAULTS = {
    "HEAD 401": ("HEAD", status(401)),
    "HEAD 403": ("HEAD", status(403)),
    "HEAD 404": ("HEAD", status(404)),
    "HEAD 500": ("HEAD", status(500)),
    "HEAD 429": ("HEAD", status(429, Retry_After="999")),
    "HEAD gated": ("HEAD", status(403, X_Error_Code="GatedRepo")),
    "HEAD no revision": ("HEAD", status(404, X_Error_Code="RevisionNotFound")),
    "HEAD no file": ("HEAD", status(404, X_Error_Code="EntryNotFound")),
    "HEAD disabled": ("HEAD", status(403, X_Error_Message="Access to this resource is disabled.")),
    "HEAD loop": ("HEAD", _loop),
    "HEAD reset": ("HEAD", changed(reset=True)),
    "HEAD no hub": ("HEAD", lambda asked, reply: Reply()),
    "HEAD another commit": ("HEAD", status(200, X_Repo_Commit="ab" * 20, ETag='"a"')),
    "GET 401": ("GET", status(401)),
    "GET 403": ("GET", status(403)),
    "GET 404": ("GET", status(404)),
    "GET 500": ("GET", status(500)),
    "GET 416": ("GET", status(416)),
    "GET 429": ("GET", status(429, Retry_After="999")),
    "GET loop": ("GET", _loop),
    "GET other protocol": ("GET", status(302, Location=f"ftp://a/?X-Signature={Hub.SECRET}0")),
    "GET cut": ("GET", changed(cut=10)),
    "GET reset": ("GET", changed(cut=10, reset=True)),
    "GET flipped": ("GET", rewritten(flipped)),
    "GET longer": ("GET", rewritten(lambda body: body + b"x")),
    "GET out of room": ("GET", changed(length=10**15)),
    "GET to a malformed host": ("GET", status(302, Location=f"http://[::1/?X-Signature={Hub.SECRET}0")),
    "GET to nobody": ("GET", status(302, Location=f"http://127.0.0.1:9/?X-Signature={Hub.SECRET}0")),
    "GET to a broken host": ("GET", status(302, Location=f"http://a..b/?X-Signature={Hub.SECRET}0")),
    "GET 202": ("GET", status(202)),
    "GET compressed": ("GET", changed(headers={"Content-Encoding": "gzip"})),
    "HEAD to a malformed store": ("HEAD", _to(f"http://[::1/?X-Signature={Hub.SECRET}0")),
    "HEAD to a file": ("HEAD", _to(f"file:///?X-Signature={Hub.SECRET}0")),
    "HEAD to nobody": ("HEAD", _to(f"http://127.0.0.1:9/?X-Signature={Hub.SECRET}0")),
    "HEAD says secrets": ("HEAD", status(400, X_Error_Message=f"{Hub.SECRET} {TOKEN}")),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_tokens_and_signed_addresses_are_in_no_output(fault, net, run, monkeypatch, capsys, caplog):
    caplog.set_level("INFO")  # what clients say when they are to say everything is their business
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    net.tokens.add(TOKEN)
    net.fault(fault[1], method=fault[0], times=99)
    code, out, error = run("fetch", "net")
    assert (code, out, error.count("\n"), error[:5]) == (1, "", 1, "zoo: ")
    with pytest.raises(zoo.WeightsError) as caught:
        app(["--debug", "fetch", "net"], prog_name="zoo")
    shown = "".join(traceback.format_exception(caught.value)) + error + repr(caught.value.__context__)
    shown += "".join(capsys.readouterr())
    shown += caplog.text
    assert TOKEN not in shown
    assert Hub.SECRET not in shown

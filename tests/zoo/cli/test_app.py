import importlib.metadata
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import numpy as np
import pytest
import typer.main
from PIL import Image

import zoo
from zoo.cli import console, summary
from zoo.cli.app import VERBS as ROOT
from zoo.cli.app import app


class Result(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys):
    """Runs a verb in this process."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            app([str(each) for each in arguments], prog_name="zoo")
        return Result(caught.value.code, *capsys.readouterr())

    return run


def rows(result):
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_list_prints_a_row_for_each_model(run):
    result = run("list")
    assert result.exit_code == 0
    assert [row[0] for row in rows(result)] == zoo.list_models()
    (row,) = rows(run("list", "cnn_m*"))
    assert row[:3] == ["cnn_mnist", "cnn", "824458"]
    assert len(row) == 6
    known = {each["name"]: each for each in json.loads(run("list", "--json").stdout)}
    assert [*known] == zoo.list_models()
    assert known["resnet18"]["metrics"] == {"imagenet1k_val_top1": 0.69758, "imagenet1k_val_top5": 0.89078}
    assert known["resnet32_cifar10"]["weights"] is None


def test_list_of_nothing_is_refused(run):
    result = run("list", "nothing*")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "zoo: no model's name matches 'nothing*'; `zoo list` shows all.\n"


def test_info_shows_a_summary_and_on_request_the_layers(run, saved):
    for name, weights in (("vae_mnist", "vae_mnist.safetensors"), (saved["vae_mnist"], "model.safetensors")):
        result = run("info", name)
        assert result.exit_code == 0
        known = dict(rows(result))
        assert known["parameters"] == "491920"
        assert Path(known["weights"]).name == weights
        assert len(known["sha256"]) == 64
        lines = rows(run("info", name, "--layers"))
        assert ["encoder/layers_0", "kernel (784, 256), bias (256,)", "200960"] in lines
        assert sum(int(row[2]) for row in lines if len(row) == 3) == 491920
    known = dict(rows(run("info", "cnn_mnist")))
    assert known["preprocess"] == "grey, light ink, pixels in [0, 1]"
    assert known["use"] == "classifies digits: `zoo predict cnn_mnist PICTURE`"
    assert json.loads(run("info", "resnet32_cifar10", "--json").stdout)["use"].startswith("has no weights: ")


def test_info_in_json_is_whole(run):
    known = json.loads(run("info", "resnet18", "--json", "--layers").stdout)
    assert (known["parameters"], known["config"]) == (11689512, {"depth": 18})
    assert known["inputs"] == [{"name": "images", "shape": [1, 224, 224, 3], "dtype": "float32"}]
    assert known["metrics"]["imagenet1k_val_top1"] == 0.69758
    assert len(known["classes"]) == 1000
    assert sum(layer["numbers"] for layer in known["layers"]) > 11689512  # statistics, too


def test_info_shows_a_module_of_ones_own(run, tmp_path):
    zoo.save(zoo.Model(nn.Dense(2), {"params": {"kernel": np.ones((3, 2))}}), tmp_path / "mine")
    lines = rows(run("info", tmp_path / "mine", "--layers"))
    assert ["(top)", "kernel (3, 2)", "6"] in lines
    assert ["weights", str(tmp_path / "mine" / "model.safetensors")] in lines


def test_layers_that_differ_in_their_index_only_are_one_row():
    names = [f"stage_{stage}/block_{block}/conv" for stage in (1, 2) for block in (0, 1, 2)]
    odd = ["other_0/conv", "other_2/conv", "other_4/conv", "head_1"]
    found = [summary.Layer(name, "kernel (3, 2)", 6) for name in [*names, *odd]]
    assert [(name, cell) for name, _, cell in summary.merged(found)] == [
        ("stage_1..2/block_0..2/conv", (36, "6 x 6", None)),
        *((name, (6, "6", None)) for name in odd),
    ]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ([], (640, 640)),
        (["--label", 3, "--count", 5], (192, 128)),
        (["--label", 3, "--label", 4], (640, 128)),
    ],
    ids=["ten of each", "five threes", "threes and fours"],
)
def test_sample_writes_a_picture(run, saved, tmp_path, options, size):
    result = run("sample", saved["vae_mnist"], "--out", tmp_path / "digits.png", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.size == size


def test_predict_prints_the_likeliest_classes(run, saved, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b c.png"]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)).save(path)
    result = run("predict", saved["cnn_mnist"], *paths, "--top", 10)
    assert result.exit_code == 0
    table = rows(result)
    assert [row[0] for row in table] == [str(path) for path in paths for _ in range(10)]
    assert sorted(row[1] for row in table[:10]) == list("0123456789")
    chances = [float(row[2]) for row in table[:10]]
    assert chances == sorted(chances, reverse=True)
    assert abs(sum(chances) - 1) < 1e-6


def test_predict_takes_folders_and_lines_and_names_each_picture_that_is_none(
    run, saved, tmp_path, monkeypatch
):
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    names = [folder / "a.png", folder / "more" / "b.png"]
    for path in names:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)).save(path)
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{names[0]}\n{bad}\n".encode())))
    result = run("predict", saved["cnn_mnist"], folder, "-", "missing.png", "--top", 1, "--json")
    assert result.exit_code == 1
    found = [row["input"] for row in json.loads(result.stdout)]
    assert found == [str(path) for path in (*names, names[0])]
    assert f"zoo: '{bad}' is no image" in result.stderr
    assert "zoo: 'missing.png': No such file" in result.stderr
    assert result.stderr.count("\n") == 2
    result = run("predict", saved["cnn_mnist"], tmp_path / "pictures" / "more" / "..", "--top", 1)
    assert (result.exit_code, len(rows(result))) == (0, 2)
    (tmp_path / "empty").mkdir()
    assert "has no pictures in it" in run("predict", saved["cnn_mnist"], tmp_path / "empty").stderr


def test_predict_takes_a_module_of_ones_own(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_digits.py").write_text("import zoo\nfactory = lambda: zoo.load('cnn_mnist').module\n")
    model = zoo.load("cnn_mnist", pretrained=True)
    own, inputs = zoo.Model(*model), [np.zeros((1, 28, 28, 1), np.float32)]
    zoo.save(
        own, "own", inputs=inputs, preprocess="cnn_mnist", labels=[f"digit {index}" for index in range(10)]
    )
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save("a.png")
    result = run("predict", "own", "a.png", "--top", 1, "--module", "own_digits:factory")
    assert rows(result)[0][:2] == ["a.png", f"digit {zoo.predict(model, 'a.png')[0][0][0]}"]
    assert "pass it as module=" not in (said := run("predict", "own", "a.png").stderr)
    assert "--module" in said


REFUSED = {
    "unknown name": (["info", "vae_minst"], "no model named 'vae_minst'; did you mean 'vae_mnist'?"),
    "unknown directory": (
        ["info", "no/where"],
        "no directory 'no/where'; a repository of the Hub is written",
    ),
    "more than a picture holds": (
        ["sample", "VAE", "--out", "a.png", "--count", 100000],
        "10 classes with 100,000 images each are 1,000,000; one picture holds at most 10,000",
    ),
    "sample of a classifier": (["sample", "cnn_mnist", "--out", "a.png"], "'cnn_mnist' does not draw images"),
    "unknown class": (["sample", "VAE", "--out", "a.png", "--label", 10], "no class 10"),
    "no format": (["sample", "VAE", "--out", "digits"], "'digits' ends in no format"),
    "no such folder": (["sample", "VAE", "--out", "no/where.png"], "there is no directory 'no'"),
    "prediction by a vae": (
        ["predict", "VAE", "a.png"],
        "'vae_mnist' does not classify pictures; it draws images: `zoo sample`",
    ),
    "no such picture": (["predict", "CNN", "missing.png"], "'missing.png': No such file"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_one_line_and_exit_code_1(run, saved, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"VAE": saved["vae_mnist"], "CNN": saved["cnn_mnist"]}
    result = run(*(places.get(each, each) for each in arguments))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("zoo: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["--debug", "info", "vae_minst"], ["info", "vae_minst", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(arguments):
    with pytest.raises(zoo.UnknownModelError):
        app(arguments)


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["info"], ["info", "a", "b"], ["list", "--nothing"], ["sample", "vae_mnist"]]
    + [["sample", "vae_mnist", "--out", "a.png", "--count", count] for count in ("0", "x")],
    ids=str,
)
def test_misuse_is_exit_code_2(run, arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


def verbs(group, name="zoo"):
    for each in group.commands.values():
        if hasattr(each, "commands"):
            yield from verbs(each, f"{name} {each.name}")
        else:
            yield f"{name} {each.name}", each


COMMANDS = typer.main.get_command(app).commands
VERBS = dict(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize("name", VERBS)
def test_help_names_everything_alike_and_cuts_nothing(name, run, monkeypatch):
    for param in VERBS[name].params:
        if not getattr(param, "is_flag", False):
            assert re.fullmatch(r"[A-Z][A-Z_.:|=/@]*", param.metavar or ""), (
                f"{name}: {param.name} has no metavar"
            )
    monkeypatch.setenv("COLUMNS", "60")
    shown = run(*name.split()[1:], "-h").stdout
    assert "..." not in re.sub(r"(NAME|INPUT|TEXT|QUESTION|SPEECH)\.\.\.", "", shown)
    assert not re.search(r"<\w|{\w", shown)  # 0<=x<=1 is a range, {} the place of a label


def test_the_version_and_the_verbs(run, monkeypatch):
    assert run("--version").stdout == f"zoo {importlib.metadata.version('flax-zoo')}\n"
    monkeypatch.setenv("COLUMNS", "60")
    shown = run("-h").stdout
    assert "..." not in shown.replace("[ARGS]...", "")
    assert all(name.split()[1] in shown for name in VERBS)


@pytest.mark.parametrize("name", ROOT)
def test_the_list_of_verbs_says_the_first_line_of_each_ones_help(name):
    assert ROOT[name].help == COMMANDS[name].help.strip().partition("\n")[0]


def test_help_and_the_list_of_models_do_without_jax():
    code = "import sys; from zoo.cli import main; sys.argv = ['zoo', *sys.argv[1:]]\n"
    code += "try: main()\nfinally: assert not {'jax', 'flax', 'PIL'} & sys.modules.keys()"
    for arguments in (["--help"], ["list", "vae"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["", "list", "manifest add"])
def test_help_is_a_verb_too(name, run):
    assert run("help", *name.split()).stdout == run(*name.split(), "-h").stdout != ""


def test_names_and_directories_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("resnets", "plain"):
        (tmp_path / name).mkdir()
    (tmp_path / "resnets" / "config.json").touch()
    assert console.complete_name("resnet1") == zoo.list_models("resnet1*")
    assert console.complete_name("resnets") == ["resnets"]
    assert console.complete_name("./r") == ["./resnets"]
    assert console.complete_name("plain") == []


@pytest.mark.parametrize("name", sorted(VERBS.keys() - {"zoo manifest add"}))  # its name is a new one
def test_names_of_models_are_completed_for_each_verb(name):
    for param in VERBS[name].params:
        if param.name in ("name", "names", "pattern") and param.param_type_name == "argument":
            found = param.shell_complete(typer.Context(VERBS[name]), "resnet18.m")
            assert [each.value for each in found] == ["resnet18.microsoft"]


def process(*arguments, **keywords):
    return subprocess.Popen([sys.executable, "-m", "zoo", *arguments], stderr=subprocess.PIPE, **keywords)


def test_a_closed_pipe_ends_the_command_quietly():
    with process("list", stdout=subprocess.PIPE) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141


SLOW = """
import signal, sys, time
from zoo import cli
import zoo
import threading; threading.Thread(target=time.sleep, args=[600]).start()  # as XLA's, which compiles
def slow(*arguments): print("ready", flush=True); time.sleep(60)
from zoo.cli import listing; listing.list_models = slow
sys.argv = ["zoo", "list"]
cli.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_quietly(number, code):
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout.readline() == b"ready\n"
        time.sleep(0.1)
        running.send_signal(number)
        try:
            assert running.communicate(timeout=60) == (b"", b"")
        finally:
            running.kill()  # else a failed test would wait for the thread
    assert running.returncode == code


# A signal that comes in a callback that drops exceptions, as JAX has them: while it is imported, and later.
LOST = """
import os, signal, sys, time
from zoo import cli
def lose():
    try: os.kill(os.getpid(), signal.SIGINT); time.sleep(1)
    except KeyboardInterrupt: pass
class Importing:
    def find_spec(self, name, *rest):
        if name == "zoo.cli.app": lose()
if sys.argv[1] == "imports":
    sys.meta_path.insert(0, Importing())
else:
    import zoo.cli.app
    zoo.cli.app.gc.freeze = lose  # before the arguments are read
sys.argv = ["zoo", "--version"]
cli.main()
"""


@pytest.mark.parametrize("moment", ["imports", "starts"])
def test_a_signal_while_the_command_starts_is_not_lost(moment):
    ended = subprocess.run([sys.executable, "-c", LOST, moment], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")


def test_a_terminal_gets_a_table():
    leader, follower = pty.openpty()
    with process(
        "list", "*_mnist", stdout=follower, env=os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}
    ) as running:
        assert running.wait() == 0
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "parameters" in shown
    assert "824 K" in shown
    assert "\t" not in shown

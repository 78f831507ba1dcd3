import importlib
import json
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import converters
import zoo
from tests import make_goldens
from zoo.cli.app import app
from zoo.cli.convert import read_labels

MINE = """
import flax.linen as nn

class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), padding=1)(x))
        x = nn.LayerNorm()(x.mean((1, 2)))
        return nn.Dense(3)(x)

class Picky(nn.Module):
    def __call__(self, x):
        return x @ x

def broken():
    return {}["luck"]

def number():
    return 3
"""
TENSORS = {
    "stem.weight": np.random.default_rng(0).random((4, 1, 3, 3), np.float32),
    "stem.bias": np.zeros(4, np.float32),
    "norm.gamma": np.ones(4, np.float32),
    "norm.beta": np.zeros(4, np.float32),
    "head.weight": np.random.default_rng(1).random((3, 4), np.float32),
    "head.bias": np.zeros(3, np.float32),
}
OWN = ["--module", "mine:Net", "--input", "1,8,6,1"]

WITHOUT_TORCH = """
import sys
from zoo.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as exit:
    assert not exit.code, exit.code
heavy = {"torch", "safetensors", "optax", "orbax", "huggingface_hub"}
found = heavy & {name.partition(".")[0] for name in sys.modules}
assert not found, found
"""


@pytest.fixture
def run():
    """Runs a verb in this process: its result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A working directory with a module of the user's own and a checkpoint with foreign names."""
    (tmp_path / "mine.py").write_text(MINE)
    converters.write_checkpoint(TENSORS, tmp_path / "mine.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


def test_convert_export_and_verify_need_no_torch(saved, tmp_path):
    """The checkpoint is one that torch.save wrote."""
    arrays = converters.read_checkpoint(saved["cnn_mnist"] / "model.safetensors")
    assert len(arrays) == 8
    subprocess.run(
        [sys.executable, "-m", "zoo", "export", saved["cnn_mnist"], "-o", tmp_path / "a.pth"], check=True
    )
    torch.save(torch.load(tmp_path / "a.pth", weights_only=True), tmp_path / "torch.pth")
    for arguments in (
        ["convert", tmp_path / "torch.pth", "-o", tmp_path / "out"],
        ["verify", tmp_path / "out"],
        ["export", tmp_path / "out", "-o", tmp_path / "back.pth", "--like", tmp_path / "torch.pth"],
    ):
        subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *map(str, arguments)], check=True)
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    original = torch.load(tmp_path / "torch.pth", weights_only=True)
    assert list(back) == list(original)
    assert all(torch.equal(back[name], original[name]) for name in original)


def test_a_recognised_checkpoint_becomes_a_directory_that_the_other_verbs_take(run, checkpoints, tmp_path):
    result = run("convert", checkpoints["vae_mnist"], "-o", tmp_path / "vae")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "vae_mnist\n", "")
    assert run("sample", tmp_path / "vae", "--out", tmp_path / "digits.png").exit_code == 0
    assert run("info", tmp_path / "vae").exit_code == 0
    run("convert", checkpoints["cnn_mnist"], "-o", tmp_path / "cnn")
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "a.png")
    assert run("predict", tmp_path / "cnn", tmp_path / "a.png").exit_code == 0


def test_preprocessing_of_ones_own_is_kept(run, checkpoints, tmp_path):
    (tmp_path / "how.json").write_text('{"image_processor_type": "ViTImageProcessor", "size": 28}')
    out = tmp_path / "out"
    run("convert", checkpoints["mlp_mnist"], "-o", out, "--preprocess", tmp_path / "how.json")
    assert zoo.info(out).preprocess.resize == (28, 28)
    file = tmp_path / "mlp.safetensors"
    result = run("convert", checkpoints["mlp_mnist"], "-o", file, "--preprocess", "resnet18")
    assert result.exit_code == 1
    assert "has no place for --preprocess; choose a directory" in result.stderr


@pytest.mark.parametrize(
    "text",
    [
        "cat\n\n dog \n",
        '["cat", "dog"]',
        '{"0": "cat", "1": "dog"}',
        '{"dog": 1, "cat": 0}',
        '{"id2label": {"0": "cat", "1": "dog"}}',
    ],
)
def test_labels_are_lines_or_json(text, tmp_path):
    (tmp_path / "labels").write_text(text)
    assert read_labels(tmp_path / "labels") == ["cat", "dog"]


@pytest.mark.parametrize("text", ["{}", "[1, 2]", '{"0": "cat", "2": "dog"}', "3"])
def test_what_does_not_name_classes_is_refused(text, tmp_path):
    (tmp_path / "labels").write_text(text)
    with pytest.raises(zoo.ZooError, match="does not name the classes; expected one a line, or JSON such as"):
        read_labels(tmp_path / "labels")


def test_labels_are_kept(run, checkpoints, tmp_path):
    (tmp_path / "labels").write_text("\n".join("abcdefghij"))
    assert (
        run(
            "convert", checkpoints["cnn_mnist"], "-o", tmp_path / "a", "--labels", tmp_path / "labels"
        ).exit_code
        == 0
    )
    assert zoo.info(tmp_path / "a").class_names == tuple("abcdefghij")
    (tmp_path / "labels").write_text("a")
    refused = run("convert", checkpoints["cnn_mnist"], "-o", tmp_path / "b", "--labels", tmp_path / "labels")
    assert refused.stderr == "zoo: --labels 1 names; expected a name for each of the 10 classes.\n"


def test_notes_are_on_stderr(run, checkpoints, tmp_path):
    tensors = converters.read_checkpoint(checkpoints["mlp_mnist"])
    state_dict = {f"module.{name}": tensors[name] for name in tensors}
    converters.write_checkpoint(state_dict, tmp_path / "parallel.pth")
    result = run("convert", tmp_path / "parallel.pth", "-o", tmp_path / "out")
    assert result.stderr == "zoo: took the prefix 'module.' off every name\n"


def test_a_refusal_is_one_message_and_exit_code_one(run, checkpoints, tmp_path):
    run("convert", checkpoints["mlp_mnist"], "-o", tmp_path / "out")
    for arguments, message in (
        ([checkpoints["mlp_mnist"], "-o", tmp_path / "out"], "already; choose another directory"),
        (
            [checkpoints["mlp_mnist"], "-o", tmp_path / "new", "--model", "vae_mnist"],
            "looks like 'mlp_mnist'",
        ),
        ([checkpoints["mlp_mnist"], "-o", tmp_path / "new", "--model", "vae"], "no model named 'vae'"),
        ([checkpoints["mlp_mnist"], "-o", tmp_path / "new", "--key", "ema"], "ema"),
        ([checkpoints["mlp_mnist"], "-o", tmp_path / "new", "--dtype", "int8"], "--dtype int8 is not"),
        ([checkpoints["mlp_mnist"], "-o", tmp_path / "no" / "new.safetensors"], "there is no directory"),
        ([tmp_path / "absent.pth", "-o", tmp_path / "new"], "No such file"),
        ([checkpoints["mlp_mnist"], "-o", tmp_path / "new", "--names", tmp_path / "absent"], "No such file"),
    ):
        result = run("convert", *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("zoo: ")
        assert message in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert run("convert", checkpoints["cnn_mnist"], "-o", tmp_path / "out", "--force").exit_code == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--module", "mine:Net"],
        ["--input", "1,8,6,1"],
        [*OWN, "--model", "mlp_mnist"],
        ["--module", "absent:Net", "--input", "1"],
        ["--module", "mine:absent", "--input", "1"],
        ["--module", "mine", "--input", "1"],
        ["--module", "mine:Net", "--input", "one"],
    ],
    ids=" ".join,
)
def test_misuse_has_exit_code_two(options, run, mine):
    result = run("convert", "mine.pth", *options, "-o", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert not (mine / "out").exists()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("mine:broken", "--module mine:broken: KeyError: 'luck'\n  mine.py, line 16: return {}[\"luck\"]\n"),
        ("mine:Picky", "\n  mine.py, line 13: return x @ x\n"),
        ("mine:number", "expected a Flax module, 'number' returns a int"),
        ("lacking:Net", "No module named 'absent'\n  lacking.py, line 1: import absent\n"),
        ("unfinished:Net", "\n  unfinished.py, line 1: x = (\n"),
    ],
)
def test_what_a_module_of_ones_own_raises_is_one_message_with_its_place(module, message, run, mine):
    (mine / "lacking.py").write_text("import absent")
    (mine / "unfinished.py").write_text("x = (")
    result = run("convert", "mine.pth", "--module", module, "--input", "1,8,6,1", "-o", "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_users_own_module_is_converted_with_the_draft_of_names(run, mine):
    refused = run("convert", "mine.pth", *OWN, "-o", "out", "--write-names", "names.toml")
    assert refused.exit_code == 1
    assert "missing    Conv_0.weight, for params/Conv_0/kernel" in refused.stderr
    assert "a draft of --names with which all fits" in refused.stderr
    lines = (mine / "names.toml").read_text().splitlines()
    assert "  ['^LayerNorm_0\\.weight$', 'norm.gamma']," in lines
    assert "\n".join(f"  {line}" for line in lines[lines.index("names = [") :]) in refused.stderr
    assert "wrote the draft to 'names.toml'; check it, then --names names.toml" in refused.stderr
    assert not (mine / "out").exists()
    assert run("convert", "mine.pth", *OWN, "-o", "out", "--names", "names.toml").exit_code == 0
    assert run("verify", "./out", "--module", "mine:Net").exit_code == 0
    assert (
        run(
            "export", "./out", "--module", "mine:Net", "--names", "names.toml", "-o", "back.safetensors"
        ).exit_code
        == 0
    )
    back = converters.read_checkpoint("back.safetensors")
    assert all(np.array_equal(back[name], tensor) for name, tensor in TENSORS.items())


def test_the_users_own_nnx_module_is_converted_and_exported_without_inputs(run, mine):
    (mine / "mine_nnx.py").write_text(
        """
from flax import nnx

class Net(nnx.Module):
    def __init__(self, *, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

def factory():
    return Net(rngs=nnx.Rngs(0))
"""
    )
    own = ["--module", "mine_nnx:Net"]
    refused = run("convert", "mine.pth", *own, "-o", "out", "--write-names", "names.toml")
    assert "the state dict does not fit Net:\n  missing    conv.weight" in refused.stderr
    assert run("convert", "mine.pth", *own, "-o", "out", "--names", "names.toml").exit_code == 0
    assert run("verify", "./out", *own).exit_code == 0
    assert run("export", "./out", "--module", "mine_nnx:factory", "-o", "back.safetensors").exit_code == 0
    back = converters.read_checkpoint("back.safetensors")
    assert {name: t.tobytes() for name, t in back.items()} == {n: t.tobytes() for n, t in TENSORS.items()}
    loaded = zoo.load("./out", pretrained=True, module=importlib.import_module("mine_nnx").factory)
    np.testing.assert_array_equal(loaded.module.head.kernel[...], TENSORS["head.weight"].T)
    assert loaded.num_params == sum(tensor.size for tensor in TENSORS.values())
    assert "Net" in repr(loaded)
    with pytest.raises(zoo.ZooError, match="param_dtype= does not go with an NNX module of your own"):
        zoo.load("./out", pretrained=True, module=lambda: None, param_dtype="float16")
    with pytest.raises(zoo.ZooError, match="num_classes= does not go with an NNX module of your own"):
        zoo.load("./out", pretrained=True, module=lambda: None, num_classes=0)
    misused = run("convert", "mine.pth", *own, "--input", "1,8,6,1", "-o", "out2")
    assert (misused.exit_code, "--module of NNX" in misused.stderr) == (2, True)
    damaged = {**converters.read_checkpoint("out/model.safetensors")}
    del damaged["params/head/bias"]
    converters.write_checkpoint(damaged, "lacking.safetensors")
    refused = run("export", "lacking.safetensors", *own, "-o", "lost.pth")
    assert "the weights do not fit Net:\n  missing    params/head/bias" in refused.stderr
    assert "this takes one of linen" in run("embed", "./out", *own, "text").stderr


def test_a_draft_does_not_replace_a_file(run, mine):
    (mine / "names.toml").write_text("checked by hand")
    refused = run("convert", "mine.pth", *OWN, "-o", "out", "--write-names", "names.toml")
    assert refused.exit_code == 1
    assert "exists already" in refused.stderr
    assert (mine / "names.toml").read_text() == "checked by hand"


def test_verify_says_what_was_verified(run, saved, tmp_path, checkpoints):
    result = run("verify", saved["mlp_mnist"])
    assert "outputs\tnot verified: there is no golden file" in result.stdout
    found = json.loads(run("verify", saved["mlp_mnist"], "--json").stdout)
    sha256 = zoo.info(saved["mlp_mnist"]).weights.sha256
    assert found == {"sha256": sha256, "parameters": 101_770, "outputs": None}
    run("convert", checkpoints["mlp_mnist"], "-o", tmp_path / "mlp")
    make_goldens.make(tmp_path / "mlp")
    result = run("verify", tmp_path / "mlp")
    assert result.exit_code == 0
    rows = dict(line.split("\t") for line in result.stdout.splitlines())
    assert rows["sha256"] == zoo.info(tmp_path / "mlp").weights.sha256
    assert rows["parameters"] == "101,770, all finite"
    assert re.fullmatch(r"within \S+ of PyTorch [\d.]+'s, in float64", rows["outputs"])


def test_a_person_sees_a_bar_and_a_pipe_sees_nothing(checkpoints, tmp_path):
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "zoo", "convert", checkpoints["cnn_mnist"], "-o", tmp_path / "out"]
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=secondary)
    os.close(secondary)
    seen = b""
    try:
        while part := os.read(primary, 4096):
            seen += part
    except OSError:  # the other end is closed
        pass
    os.close(primary)
    assert b"MB" in seen

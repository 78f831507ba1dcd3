"""`zoo port`: a torch module on the command line becomes a directory that `zoo verify` takes."""

import importlib
import sys

import numpy as np
import pytest
import torch
from flax import nnx
from typer.testing import CliRunner

import converters
import zoo
from zoo._publishing.stage import StageOptions, files_of, stage
from zoo.cli.app import app

MINE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 6)
        self.fc = nn.Linear(6, 3)

    def head(self, x):
        return self.fc(x)

    def forward(self, ids, mask, *, double=False):
        x = torch.relu(self.fc(self.embed(ids)))
        x = (x * mask[:, :, None]).mean(1)
        return x + x if double else x

def number():
    return 3
"""
SHAPES = ["--input", "2,5:int64", "--input", "mask=2,5:float32", "--set", "double=true"]


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    directory = tmp_path_factory.mktemp("port")
    (directory / "ported_by_test.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.syspath_prepend(directory)
        torch.manual_seed(0)
        yield directory
    for name in [
        each for each in sys.modules if each.partition(".")[0] in ("ported_by_test", "net_flax", "net_nnx")
    ]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def result(home):
    return run("port", "ported_by_test:Net", *SHAPES, "-o", "net_flax")


def test_source_weights_outputs_and_certificate_are_written(home, result):
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "net_flax/net.py\n"
    files = {"net.py", "model.safetensors", "config.json", "golden.safetensors", "certificate.txt"}
    assert {path.name for path in (home / "net_flax").iterdir()} == files
    assert "agree within 1e-12" in (home / "net_flax" / "certificate.txt").read_text()


def test_the_directory_verifies_and_loads_with_its_source(home, result):
    verified = run("verify", "./net_flax", "--module", "net_flax.net:Net")
    assert verified.exit_code == 0, verified.stderr
    assert "of PyTorch 2" in verified.stdout
    module = importlib.import_module("net_flax.net").Net()
    model = zoo.load("./net_flax", pretrained=True, module=module)
    assert np.isfinite(model(np.zeros((1, 7), np.int32), np.ones((1, 7), np.float32))).all()


def test_methods_take_the_place_of_forward(home):
    done = run("port", "ported_by_test:Net", "--method", "head=2,6:float32", "-o", "net_flax2")
    assert done.exit_code == 0, done.stderr
    assert "    def head(self, x: jax.Array)" in (home / "net_flax2" / "net.py").read_text()


def test_modules_of_nnx_get_weights_under_the_names_of_pytorch(home):
    done = run("port", "ported_by_test:Net", *SHAPES, "-o", "net_nnx", "--target", "nnx")
    assert done.exit_code == 0, done.stderr
    files = {"net.py", "model.safetensors", "golden.safetensors", "certificate.txt"}
    assert {path.name for path in (home / "net_nnx").iterdir()} == files
    create = importlib.import_module("net_nnx.net").create
    made = converters.convert("net_nnx/model.safetensors", lambda: create(rngs=nnx.Rngs(0)))
    assert np.isfinite(made(np.zeros((1, 7), np.int32), np.ones((1, 7), np.float32))).all()
    verified = run("verify", "./net_nnx", "--module", "net_nnx.net:Net")
    assert verified.exit_code == 0, verified.stderr
    assert "of PyTorch 2" in verified.stdout
    tensors = converters.read_checkpoint("net_nnx/model.safetensors")
    other = {**tensors, "fc.bias": tensors["fc.bias"] + 1e-3}
    (home / "net_nnx" / "model.safetensors").unlink()
    converters.write_checkpoint(other, "net_nnx/model.safetensors")
    verified = run("verify", "./net_nnx", "--module", "net_nnx.net:Net")
    assert verified.exit_code == 1
    assert "of the largest output from" in verified.stderr


def test_a_port_to_nnx_leaves_nothing_of_one_to_linen(home):
    (home / "both").mkdir()
    for name in ("config.json", "model.safetensors", "golden.safetensors", "certificate.txt", "mine.txt"):
        (home / "both" / name).write_text("of a port to linen")
    done = run("port", "ported_by_test:Net", *SHAPES, "-o", "both", "--target", "nnx", "--force")
    assert done.exit_code == 0, done.stderr
    left = {path.name for path in (home / "both").iterdir() if "of a port" in path.read_text(errors="ignore")}
    assert left == {"mine.txt"}
    assert not (home / "both" / "config.json").exists()


def test_publication_takes_the_source_along(home, result, tmp_path):
    module = importlib.import_module("net_flax.net").Net()
    stage("./net_flax", tmp_path / "files", StageOptions(module=module, license="MIT"))
    assert {"net.py", "certificate.txt", "golden.safetensors"} <= files_of(tmp_path / "files").keys()


def test_what_is_there_is_kept_without_force(result):
    again = run("port", "ported_by_test:Net", *SHAPES, "-o", "net_flax")
    assert again.exit_code == 1
    assert "and net.py already; choose another directory, or replace them with --force" in again.stderr


def test_a_directory_with_a_model_is_refused_before_the_module_runs(home):
    (home / "taken").mkdir()
    (home / "taken" / "config.json").write_text("{}")
    refused = run("port", "ported_by_test:Net", "--input", "9,9,9", "-o", "taken")  # which Net does not take
    assert refused.exit_code == 1
    assert "'taken' has config.json already" in refused.stderr


@pytest.mark.parametrize(
    ("factory", "options", "code", "message"),
    [
        ("ported_by_test:number", SHAPES, 1, "expected a torch.nn.Module, 'number' returns a int"),
        ("ported_by_test:nothing", SHAPES, 2, "has no function 'nothing'"),
        ("ported_by_test:Net", ["--input", "2,x"], 2, "expected sizes such as"),
        ("ported_by_test:Net", ["--input", "2,5:int64"], 1, "missing a required argument: 'mask'"),
        ("ported_by_test:Net", [*SHAPES, "--target", "keras"], 1, "expected 'linen' or 'nnx'"),
        ("ported_by_test:Net", [], 2, "give --input SHAPE, or --method NAME=SHAPE"),
        ("ported_by_test:Net", [*SHAPES, "--method", "head=2,6"], 2, "give --input SHAPE, or --method"),
        ("ported_by_test:Net", ["--method", "tail=2,6"], 1, "--method 'tail': Net has no method"),
        ("ported_by_test:Net", [*SHAPES, "--license", "MIT"], 2, "--license goes with --publish"),
    ],
)
def test_what_cannot_be_ported_is_refused(home, factory, options, code, message):
    refused = run("port", factory, *options, "-o", "other")
    assert refused.exit_code == code
    assert message in " ".join(refused.stderr.split())
    assert not (home / "other").exists()

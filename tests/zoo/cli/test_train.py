import re
import sys

import pytest
from typer.testing import CliRunner

from zoo.cli import app
from zoo.training import DATASETS


@pytest.fixture
def zoo_command(dataset, monkeypatch):
    """`zoo` with the tiny data set in MNIST's place."""
    monkeypatch.setitem(DATASETS, "mnist", dataset)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


SETTINGS = ("--set", "epochs=1", "--set", "batch_size=16")


def test_train_and_eval_print_the_same_rows_and_train_a_line_an_epoch(zoo_command, data, tmp_path):
    out = tmp_path / "run"
    trained = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS)
    assert trained.exit_code == 0
    # A slow machine says more.
    assert re.search(r"^zoo: epoch 1 of 1: accuracy 0\.\d{4}, loss \d\.\d{4}$", trained.stderr, re.MULTILINE)
    names = [line.split("\t")[0] for line in trained.stdout.splitlines()]
    assert names == ["tiny_test_accuracy", "tiny_test_loss"]
    assert (out / "curves.png").exists()
    measured = zoo_command("eval", out, "--data", data)
    assert measured.exit_code == 0
    assert measured.stdout == trained.stdout


def test_a_setting_that_is_none_is_misuse(zoo_command, data, tmp_path):
    result = zoo_command("train", "mlp_mnist", "--data", data, "--out", tmp_path / "run", "--set", "epoch=1")
    assert result.exit_code == 2
    assert "did you mean 'epochs'" in " ".join(result.stderr.split())


def test_refusals_are_one_line_and_exit_code_one(zoo_command, data, tmp_path):
    out = tmp_path / "run"
    assert zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS).exit_code == 0
    again = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS)
    assert again.exit_code == 1
    assert again.stderr == f"zoo: {str(out)!r} holds a run; choose another directory, or --resume it.\n"
    missing = zoo_command("eval", out, "--data", tmp_path / "nowhere")
    assert missing.exit_code == 1
    assert missing.stderr.count("\n") == 1
    assert "'t10k-images-idx3-ubyte'" in missing.stderr


def test_a_mesh_that_there_is_not_is_refused_before_anything_is_written(zoo_command, data, tmp_path):
    out = tmp_path / "run"
    result = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, "--mesh", "data=1000")
    assert result.exit_code == 1
    assert result.stderr.startswith("zoo: 'data=1000' is a mesh of 1000 devices; there are ")
    assert not out.exists()


def test_resume_is_asked_for(zoo_command, data, tmp_path):
    out = tmp_path / "run"
    first = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS)
    resumed = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS, "--resume")
    assert resumed.exit_code == 0
    assert resumed.stdout == first.stdout


def test_without_matplotlib_a_run_says_so_at_its_beginning_and_is_complete(
    zoo_command, data, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "run"
    result = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS)
    assert result.exit_code == 0
    assert (out / "model.safetensors").exists()
    assert not (out / "curves.png").exists()

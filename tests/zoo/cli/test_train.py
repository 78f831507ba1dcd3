import re
import sys

import pytest
from typer.testing import CliRunner

from zoo import info, training
from zoo._registry import recipe_fields
from zoo.cli.app import app
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
    assert trained.stderr.endswith(
        f"zoo: the model is in {out}, with curves.png; next:\n"
        f"  zoo predict {out} PICTURE\n  zoo eval {out} --data {data}\n  zoo publish {out} OWNER/NAME\n"
    )
    # Nobody else's weights, nor those that the recipe alone would give.
    made = info(out)
    assert (made.source, made.license) == ("zoo train mlp_mnist --set epochs=1 --set batch_size=16", None)
    measured = zoo_command("eval", out, "--data", data)
    assert measured.exit_code == 0
    assert measured.stdout == trained.stdout


def test_eval_compares_what_a_model_draws_with_the_test_set(zoo_command, data):
    measured = zoo_command("eval", "vae_mnist", "--data", data, "--fid", "--features", "cnn_mnist")
    assert measured.exit_code == 0
    names = [line.split("\t")[0] for line in measured.stdout.splitlines()]
    assert "tiny_test_loss" in names
    assert "tiny_test_frechet_cnn_mnist" in names
    misused = zoo_command("eval", "vae_mnist", "--data", data, "--features", "cnn_mnist")
    assert misused.exit_code == 2
    assert "--features goes with --fid" in misused.stderr


def test_a_setting_that_is_none_is_misuse(zoo_command, data, tmp_path):
    result = zoo_command("train", "mlp_mnist", "--data", data, "--out", tmp_path / "run", "--set", "epoch=1")
    assert result.exit_code == 2
    assert "did you mean 'epochs'" in " ".join(result.stderr.split())


@pytest.mark.parametrize("verb", ["train", "finetune"])
def test_help_lists_what_can_be_set_at_sixty_columns(zoo_command, verb):
    text = CliRunner().invoke(app, [verb, "--help"], terminal_width=60).stdout
    fields = text.partition("Fields of --set")[2]
    assert max(map(len, text.splitlines())) <= 60
    for name in recipe_fields.settable():
        assert (f"  {name}=" in fields) == (verb == "train" or name not in ("kl_weight", "validation"))
    assert "dataset" not in fields
    assert ("[default: 20, of texts 4; fitted to few examples]" in " ".join(fields.split())) == (
        verb == "finetune"
    )
    assert all(meaning for _, _, meaning in recipe_fields.described())


def test_refusals_are_one_line_and_exit_code_one(zoo_command, data, tmp_path):
    out = tmp_path / "run"
    assert zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS).exit_code == 0
    again = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS)
    assert again.exit_code == 1
    choices = "another directory, --resume to continue it, or --force to replace it."
    assert again.stderr == f"zoo: {str(out)!r} holds a run; choose {choices}\n"
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
    # With the settings that it has.
    resumed = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, "--resume")
    assert resumed.exit_code == 0
    assert resumed.stdout == first.stdout


def test_a_stopped_run_says_in_one_line_which_command_goes_on(zoo_command, data, tmp_path, monkeypatch):
    def stop(*args, **options):
        error = SystemExit(143)
        error.add_note("stopped in epoch 2 of 3, after 1 of 6 updates; resume=True goes on after epoch 1.")
        raise error

    codes = []
    monkeypatch.setattr(training, "train", stop)
    monkeypatch.setattr("zoo.cli.train.leave_at_exit", codes.append)
    monkeypatch.setattr(sys, "argv", ["python", "train", "mlp_mnist", "--out", "my run"])
    result = zoo_command("train", "mlp_mnist", "--data", data, "--out", tmp_path / "run")
    assert result.exit_code == 143
    assert codes == [143]
    goes_on = "zoo train mlp_mnist --out 'my run' --resume"
    assert result.stderr == (
        f"zoo: stopped in epoch 2 of 3, after 1 of 6 updates; continue with: {goes_on}\n"
    )


def test_without_matplotlib_a_run_says_so_at_its_beginning_and_is_complete(
    zoo_command, data, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "run"
    result = zoo_command("train", "mlp_mnist", "--data", data, "--out", out, *SETTINGS)
    assert result.exit_code == 0
    assert (out / "model.safetensors").exists()
    assert not (out / "curves.png").exists()

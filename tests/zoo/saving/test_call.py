"""Calls of modules of one's own that zoo convert finds arrays by, and what zoo export remembers of them."""

import json
import sys
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import converters
import zoo
from zoo._registry.entry import Input
from zoo._saving import call as calls
from zoo._saving.convert import convert_to
from zoo._saving.export import export
from zoo.cli.app import app

MINE = """
import flax.linen as nn

class Mode(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.BatchNorm(use_running_average=not train, name="bn")(x)

class Batch(nn.Module):
    @nn.compact
    def __call__(self, batch, *, deterministic):
        return nn.BatchNorm(use_running_average=deterministic, name="bn")(batch["image"])

class Encode(nn.Module):
    def setup(self):
        self.bn = nn.BatchNorm(use_running_average=True)

    def encode(self, x, *, scale):
        return self.bn(x) * scale

class Unnamed(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True)(x)
"""
NORM = {f"bn.{name}": tensor + 0 for name, tensor in torch.nn.BatchNorm1d(4).state_dict().items()}
WEIGHTS = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    Path("mine.py").write_text(MINE)
    torch.save(NORM, "bn.pth")
    return lambda line: CliRunner().invoke(app, line.split())


@pytest.mark.parametrize(
    "options",
    [
        "--module mine:Mode --input 1,4",
        "--module mine:Batch --input batch.image=1,4",
        "--module mine:Encode --input x=1,4 --set scale=2 --method encode",
    ],
    ids=["a required mode", "a dictionary", "another method with keywords"],
)
def test_modules_are_called_as_they_are_written_and_exported_by_the_same_call(run: Any, options: str) -> None:
    done = run(f"convert bn.pth -o out {options}")
    assert done.exit_code == 0, done.stderr
    module = options.split()[1]
    done = run(f"export ./out -o back.pth --module {module}")
    assert done.exit_code == 0, done.stderr
    back = converters.read_checkpoint("back.pth")
    assert list(back) == WEIGHTS
    assert all(np.array_equal(back[name], NORM[name]) for name in WEIGHTS)


def test_names_are_kept_for_the_way_back(run: Any) -> None:
    Path("names.toml").write_text("names = [['^BatchNorm_0', 'bn']]\n")
    assert run("convert bn.pth -o out --module mine:Unnamed --input 1,4 --names names.toml").exit_code == 0
    assert run("export ./out -o back.pth --module mine:Unnamed").exit_code == 0
    assert list(converters.read_checkpoint("back.pth")) == WEIGHTS
    Path("none.toml").write_text("names = []\n")
    torch.save({name.replace("bn", "BatchNorm_0"): tensor for name, tensor in NORM.items()}, "plain.pth")
    assert run("convert plain.pth -o out --module mine:Unnamed --input 1,4 --force").exit_code == 0
    assert not Path("out/names.toml").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--module mine:Batch --input 1,4", "Batch does not run on input0=(1, 4): "),
        ("--module mine:Batch --input 1,3,8,8", "Images have their channels last here: 1,8,8,3 instead of"),
        ("--module mine:Encode --input 1,4", "Encode has no method '__call__'; choose with --method: encode"),
    ],
)
def test_a_module_that_does_not_run_is_refused_in_a_sentence(run: Any, options: str, complaint: str) -> None:
    done = run(f"convert bn.pth -o out {options}")
    assert done.exit_code == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3  # the place in the file is the last one


def test_what_may_be_missing_is_said_on_the_command_line(run: Any) -> None:
    torch.save({"bn.weight": NORM["bn.weight"]}, "part.pth")
    command = "convert part.pth -o out --module mine:Mode --input 1,4"
    assert "pass --missing" in run(command).stderr
    done = run(f"{command} --missing bn\\.(bias|running_.*)")
    assert done.exit_code == 0, done.stderr
    assert "3 arrays that the file lacks kept the initial values" in done.stderr


def test_a_directory_s_own_config_says_what_it_is_for(tmp_path: Path) -> None:
    zoo.save(zoo.load("mlp_mnist", seed=1), tmp_path / "saved")
    export(tmp_path / "saved", tmp_path / "folder.pth")
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "folder.pth").rename(folder / "pytorch_model.bin")
    entry = json.loads((tmp_path / "saved" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(entry))
    done = convert_to(folder, tmp_path / "again")
    assert done.entry.family == "mlp"


def test_another_head_is_said_with_the_config(tmp_path: Path) -> None:
    model = zoo.load("mlp_mnist", num_classes=37)
    x = jax.ShapeDtypeStruct((1, 28, 28, 1), "float32")
    converters.write_checkpoint(
        converters.to_torch(model.variables, model.module, x), tmp_path / "37.safetensors"
    )
    done = convert_to(
        tmp_path / "37.safetensors", tmp_path / "out", model="mlp_mnist", config={"num_classes": 37}
    )
    assert done.entry.config["num_classes"] == 37
    again = zoo.load(tmp_path / "out", pretrained=True)
    assert again(np.ones((1, 28, 28, 1), np.float32)).shape == (1, 37)


def test_a_call_is_read_as_it_was_written(tmp_path: Path) -> None:
    call = calls.parse(["1,4", "mask=1,16:int32", "batch.image=1,2,2,3"], {"scale": 2.5}, "encode")
    assert call.inputs == (Input("input0", (1, 4), "float32"),)
    assert [each.name for each in call.keywords] == ["mask", "batch.image"]
    call.write(tmp_path)
    assert calls.read(tmp_path) == call
    (tmp_path / calls.CALL).write_text("{}")
    with pytest.raises(zoo.ZooError, match=r"is not what zoo convert wrote"):
        calls.read(tmp_path)


def test_axes_that_nothing_settles_are_noted(tmp_path: Path) -> None:
    class Table(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> Any:
            return x @ self.param("table", nn.initializers.ones, (4, 4))

    converters.write_checkpoint({"table": np.ones((4, 4), np.float32)}, tmp_path / "a.safetensors")
    done = convert_to(
        tmp_path / "a.safetensors",
        tmp_path / "out",
        module=Table(),
        call=calls.Call(inputs=(Input("x", (1, 4), "float32"),)),
    )
    assert any("the axes of table were taken" in note for note in done.notes)

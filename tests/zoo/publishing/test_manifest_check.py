"""`zoo manifest check`."""

import re

import pytest

import zoo
from tests.zoo.hub.conftest import cache, files, hub, mlp, pth
from zoo._loading import fetch
from zoo._publishing import manifest_check
from zoo._registry import compiled, manifest, packaged
from zoo._registry.manifest_schema import Manifest
from zoo.cli.app import app

__all__ = ["cache", "files", "hub", "mlp", "pth"]

INPUTS = "[{name: images, shape: [1, 28, 28, 1], dtype: float32}]"
SHEET = f"""families:
  mlp: {{inputs: {INPUTS}}}
  cnn: {{inputs: {INPUTS}}}
models:
  right:
    family: mlp
    config: {{}}
    num_params: 101770
    license: MIT
    source: here
  odd:
    family: mlpp
    config: {{}}
    inputs: {INPUTS}
    num_params: 3
    license: MIT
    source: here
  counted:
    family: mlp
    config: {{num_class: 3}}
    num_params: 3
    license: MIT
    source: here
  classes:
    family: cnn
    config: {{num_classes: 9}}
    num_params: 3
    license: MIT
    source: here
    classes: cifar10
  gone:
    family: cnn
    config: {{}}
    num_params: 824458
    license: MIT
    source: here
    classes: dogs
"""


@pytest.fixture
def sheet(tmp_path):
    path = tmp_path / "sheet.yaml"
    path.write_text(SHEET)
    return path


def run(capsys, *arguments, code=0):
    with pytest.raises(SystemExit) as caught:
        app(["manifest", "check", *map(str, arguments)], prog_name="zoo")
    assert caught.value.code == code
    return capsys.readouterr()


def test_all_problems_are_listed_at_once(sheet, capsys):
    found = run(capsys, "--manifest", sheet, code=1)
    assert found.out == ""
    first, *problems = found.err.splitlines()
    assert first == f"zoo: {str(sheet)!r} has 8 problems:"
    assert [problem.strip().partition("; ")[0] for problem in problems] == [
        "models.counted stands after odd",
        "models.classes stands after counted",
        "families: they stand as mlp, cnn",
        "models.odd: 'odd' is of family 'mlpp', which this version of the zoo does not have.",
        "models.counted: family 'mlp' has no 'num_class', only hidden, num_classes, activation",
        "models.classes.num_params: the module has 824201, the entry says 3",
        "models.classes.classes: there are 10 names for 9 classes",
        f"models.gone.classes: there is no file {str(packaged.classes_path('dogs'))!r}",
    ]


def test_a_wrong_schema_is_listed_as_when_it_is_read(sheet, capsys):
    sheet.write_text(SHEET.replace("license: MIT", "licence: MIT"))
    assert run(capsys, "--manifest", sheet, code=1).err.count("unknown field; did you mean 'license'?") == 5


def test_names_and_patterns_choose_entries_of_the_zoo(capsys):
    assert run(capsys, "mlp_mnist", "cnn_m*").out == "2 entries are right\n"
    assert "no model's name matches 'nothing*'" in run(capsys, "mlp_mnist", "nothing*", code=1).err


def test_files_that_are_here_are_verified(sheet, capsys, tmp_path, monkeypatch, files, pth):
    monkeypatch.setattr("zoo.mlp.TORCH_NAMES", {"torch": ()}, raising=False)
    files.files["/net.pth"] = pth.content
    fields = f"{{url: {files.url}/net.pth, sha256: {pth.sha256}, size: {len(pth.content)}}}"
    right = SHEET.partition("  odd:")[0].replace("  cnn: {inputs: " + INPUTS + "}\n", "")
    sheet.write_text(f"{right}    layout: torch\n    weights: {fields}\n")
    assert run(capsys, "--files", "--manifest", sheet).out == "1 entry is right\n"
    monkeypatch.setattr(manifest, "_packaged", lambda: manifest.read(sheet))
    path = fetch.fetch("right").path
    assert run(capsys, "--files", "--manifest", sheet).out == "1 entry is right\n"
    with open(path, "r+b") as file:
        file.write(b"?")
    found = run(capsys, "--files", "--manifest", sheet, code=1).err
    assert re.search(r"models\.right\.weights: '.*' has sha256 [0-9a-f]{64}, expected", found)
    run(capsys, "--manifest", sheet)


def test_bundled_files_are_verified(capsys, tmp_path, monkeypatch):
    assert run(capsys, "--files", "mlp_mnist").out == "1 entry is right\n"
    monkeypatch.setattr(packaged, "weights_path", lambda file: tmp_path / file)
    assert "models.mlp_mnist: " in run(capsys, "--files", "mlp_mnist", code=1).err


def test_a_compiled_manifest_is_checked_entry_by_entry(tmp_path, monkeypatch):
    content = compiled.dump(manifest.read())
    damaged = content.replace(b'"num_params":101770', b'"num_params":"x"')
    found: Manifest = compiled.read(tmp_path / "manifest.json", damaged)
    monkeypatch.setattr(manifest, "_packaged", lambda: found)
    assert manifest_check.check(patterns=["cnn_mnist"]) == ["cnn_mnist"]
    with pytest.raises(zoo.ManifestError, match=r"models\.mlp_mnist\.num_params: expected a whole number"):
        manifest_check.check(patterns=["mlp_mnist"])

from pathlib import Path

import pytest

import zoo
from zoo._hub import checksum
from zoo._registry import manifest
from zoo._saving.export import export

SAVED = ("mlp_mnist", "cnn_mnist", "vae_mnist", "resnet20_cifar10")


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> dict[str, Path]:
    """Saved models, by name."""
    root = tmp_path_factory.mktemp("saved")
    for name in SAVED:
        zoo.save(zoo.load(name, seed=1), root / name)
    return {name: root / name for name in SAVED}


@pytest.fixture
def use_manifest(tmp_path, monkeypatch):
    """Puts a manifest of the test's own in place of the packaged one."""

    def use(text: str) -> None:
        path = tmp_path / "weights_manifest.yaml"
        path.write_text(text)
        monkeypatch.setattr(manifest, "_packaged", lambda: manifest.read(path))

    return use


@pytest.fixture(scope="session")
def checkpoints(saved, tmp_path_factory) -> dict[str, Path]:
    """The same models as PyTorch files, by name."""
    root = tmp_path_factory.mktemp("checkpoints")
    for name, directory in saved.items():
        export(directory, root / f"{name}.pth")
    return {name: root / f"{name}.pth" for name in saved}


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed."""
    found, digest = [], checksum.hash_file

    def counted(file, expected):
        found.append(file.path.name)
        return digest(file, expected)

    monkeypatch.setattr(checksum, "hash_file", counted)
    return found

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from huggingface_hub import constants

import converters
import zoo
from tests.support.hub import Hub
from tests.support.servers import Files
from zoo._hub import retry

REPO = "someone/net"
FILE = "model.safetensors"
ENTRY = """models:
  net:
    family: mlp
    config: {{}}
    inputs: [{{name: images, shape: [1, 28, 28, 1], dtype: float32}}]
    num_params: 101770
    license: MIT
    source: a test
    {layout}
    weights: {{{weights}}}
"""


class Published(NamedTuple):
    """A model and its file."""

    model: zoo.Model
    content: bytes
    sha256: str

    def loads(self, name: str = "net", **options) -> bool:
        """Returns true if the name gives the very same arrays."""
        loaded = zoo.load(name, pretrained=True, **options)
        return jax.tree.all(jax.tree.map(np.array_equal, loaded.variables, self.model.variables))


@pytest.fixture(scope="session")
def mlp() -> zoo.Model:
    return zoo.load("mlp_mnist", seed=3)


@pytest.fixture(scope="session")
def pth(mlp, tmp_path_factory) -> Published:
    """The model as a PyTorch file."""
    path = tmp_path_factory.mktemp("pth") / "net.pth"
    images = np.zeros((1, 28, 28, 1), np.float32)
    converters.write_checkpoint(converters.to_torch(mlp.variables, mlp.module, images), path)
    content = path.read_bytes()
    return Published(mlp, content, hashlib.sha256(content).hexdigest())


@pytest.fixture(scope="session")
def directory(mlp, tmp_path_factory) -> Path:
    """The model as zoo.save writes it."""
    path = tmp_path_factory.mktemp("saved") / "net"
    zoo.save(mlp, path)
    return path


@pytest.fixture(scope="session")
def flax(mlp, directory) -> Published:
    """The model as a Flax file."""
    content = (directory / "model.safetensors").read_bytes()
    return Published(mlp, content, hashlib.sha256(content).hexdigest())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Empty caches of the zoo and of the Hub, nobody logged in, and short waits."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "zoo"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    limits = retry.Limits(read_timeout=0.5, total_timeout=2, attempts=4, pause=0.01, lock_timeout=5)
    monkeypatch.setattr(retry, "LIMITS", limits)
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    """Says that the network is not to be used."""
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def files() -> Iterator[Files]:
    with Files().serving() as server:
        yield server


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    with Hub().serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


@pytest.fixture
def declare(use_manifest, monkeypatch):
    """Puts the model into the manifest, with weights of these fields."""
    monkeypatch.setattr("zoo.mlp.TORCH_NAMES", {"torch": ()}, raising=False)

    def declare(*, layout: str | None = None, **weights: object) -> None:
        fields = ", ".join(f"{name}: {value}" for name, value in weights.items())
        use_manifest(ENTRY.format(weights=fields, layout=f"layout: {layout}" if layout else ""))

    return declare


def litter(root: Path) -> list[str]:
    """Lists leftovers in the caches: parts of files, locks, damaged files, dangling links."""
    wanted = ("zoo/files/", "zoo/pins/", "hub/models--")
    return [
        name
        for path in sorted(root.rglob("*"))
        if not path.is_dir() and (name := str(path.relative_to(root))) != "weights_manifest.yaml"
        if path.name.startswith(".") or not name.startswith(wanted) or not path.exists() or "damaged" in name
    ]


@pytest.fixture
def net(declare, files, pth):
    """The model at an address of the server, whose file name carries the first digits of its hash."""
    path = f"/models/net-{pth.sha256[:8]}.pth"
    files.files[path] = pth.content
    declare(url=files.url + path, sha256=pth.sha256, size=len(pth.content), layout="torch")
    return path


@pytest.fixture
def commit(hub, flax):
    """A commit with the model."""
    return hub.commit(REPO, {FILE: flax.content})


@pytest.fixture
def hosted(commit, declare, flax):
    """The model in the manifest, at that commit."""
    declare(repo=REPO, revision=commit, file=FILE, sha256=flax.sha256, size=len(flax.content))


def refused(message: str, **options) -> str:
    """Returns the message of a refused load of the Hub's model, which holds no secrets."""
    with pytest.raises(zoo.WeightsError, match=message) as caught:
        zoo.load("net", pretrained=True, **options)
    assert Hub.SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def blob(cache, flax):
    return cache / "hub" / "models--someone--net" / "blobs" / flax.sha256

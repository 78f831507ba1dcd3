import logging
import re
from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np
import pytest
from huggingface_hub import constants

import zoo
from tests.support.hub import Hub
from tests.zoo.hub.conftest import cache, hub
from zoo._hub import retry

__all__ = ["cache", "hub"]

TOKEN = "hf_ofTheOwner"
REPO = "you/net"
INPUTS = [np.zeros((1, 3), np.float32)]
OLD = {".gitattributes": b"", "README.md": b"# Old", "model.safetensors": b"old weights", "extra.txt": b"x"}
FILES = {".gitattributes", "README.md", "config.json", "model.safetensors"}


class Net(nn.Module):
    """A module of one's own."""

    width: int = 4

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.relu(nn.Dense(self.width)(x)))


@pytest.fixture(scope="session")
def net() -> zoo.Model:
    return zoo.Model(Net(), jax.tree.map(np.asarray, Net().init(jax.random.key(0), INPUTS[0])))


@pytest.fixture(scope="session")
def publish(net):
    """Publishes a small module, without what takes time; the commit."""

    def publish(model: object = net, repo: str = REPO, **options: object) -> str:
        url = zoo.publish(model, repo, **{"license": "MIT", **options})
        return url.rpartition("/")[2]

    return publish


@pytest.fixture
def owner(hub, monkeypatch):
    """Somebody who is logged in, and may write; the Hub's client does not wait before it tries again."""
    limits = retry.Limits(read_timeout=3, total_timeout=2, attempts=2, pause=0.01, lock_timeout=5)
    monkeypatch.setattr(retry, "LIMITS", limits)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hub.url == constants.ENDPOINT
    return hub.member(TOKEN, "you")


@pytest.fixture
def old(hub, owner) -> str:
    """A private repository of the owner's that holds something else; its commit."""
    return hub.commit(REPO, OLD, private=True, readers={TOKEN})


@pytest.fixture
def secrets(capfd, caplog, cache):
    """Looks for tokens, signed addresses and litter, whatever is printed or logged; `check(*texts)`."""
    caplog.set_level(logging.DEBUG)

    def check(*texts: str) -> None:
        printed = capfd.readouterr()
        for text in (*texts, printed.out, printed.err, caplog.text):
            assert not re.search("hf_(?!hub)[a-z]", text)
            assert Hub.SECRET not in text
        assert not list((cache / "zoo").rglob("staging/*"))
        assert not (cache / "hub").exists()

    return check


def same(first: zoo.Model, second: zoo.Model) -> bool:
    """Returns true if the arrays are the same."""
    return jax.tree.all(jax.tree.map(np.array_equal, first.variables, second.variables))

"""Fetched files of which slices are read: hashed once, in pieces, and mended as others are."""

import errno
import os

import jax
import pytest
from jax.sharding import SingleDeviceSharding

import zoo
from tests.support.servers import flipped
from tests.zoo.hub.conftest import FILE, REPO, blob


@pytest.fixture
def here():
    return SingleDeviceSharding(jax.devices()[0])


@pytest.mark.parametrize("source", ["flax", "pth"])
def test_a_fetched_file_is_hashed_once(source, request, here, hashed, offline):
    request.getfixturevalue("hosted" if source == "flax" else "net")
    published = request.getfixturevalue(source)
    hashed.clear()  # what fixtures have saved
    assert published.loads(sharding=here)
    offline()
    assert published.loads(sharding=here)
    assert len(hashed) == 1
    assert published.loads(sharding=here, verify=True)
    assert len(hashed) == 2


def test_a_damaged_file_is_mended(hosted, hub, flax, cache, here):
    assert flax.loads(sharding=here)
    blob(cache, flax).write_bytes(flipped(flax.content))
    assert flax.loads(sharding=here)
    assert hub.count(path="/store/") == 2
    assert blob(cache, flax).read_bytes() == flax.content


def test_a_manifest_that_differs_is_refused_without_harm(hosted, commit, declare, hub, flax, cache, here):
    assert flax.loads(sharding=here)
    declare(repo=REPO, revision=commit, file=FILE, sha256="ab" * 32)
    with pytest.raises(
        zoo.WeightsError, match=r"expected (ab){32}: the file is intact, so someone/net@.* the manifest"
    ):
        zoo.load("net", pretrained=True, sharding=here)
    assert blob(cache, flax).read_bytes() == flax.content


def test_a_cache_that_may_only_be_read_serves(net, pth, here, monkeypatch):
    assert pth.loads()
    real = os.open

    def refuse(path, flags, mode=0o777):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    assert pth.loads(sharding=here)
    assert pth.loads(sharding=here)

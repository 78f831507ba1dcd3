import os

import pytest

import zoo
from zoo._publishing import staging_directory


def test_orphans_are_removed_and_others_work_is_not(cache):
    home = cache / "zoo" / "staging"
    (home / "orphan").mkdir(parents=True)
    (home / "orphan" / "model.safetensors").write_bytes(b"left by a killed process")
    with staging_directory.directory() as first:
        assert os.listdir(home) == [first.name]
        with staging_directory.directory() as second:
            assert sorted(os.listdir(home)) == sorted([first.name, second.name])
    assert os.listdir(home) == []


def test_a_directory_that_cannot_be_made_is_refused(cache):
    (cache / "zoo").mkdir()
    (cache / "zoo" / "staging").touch()
    with pytest.raises(zoo.ZooError, match=r"staging.*ZOO_CACHE"), staging_directory.directory():
        pass

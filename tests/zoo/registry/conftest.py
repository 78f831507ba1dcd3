"""Fixtures of the registry's tests."""

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights_manifest.yaml"

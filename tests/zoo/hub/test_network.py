"""The real servers; for whoever has a network: pytest -m network."""

import numpy as np
import pytest

import zoo

pytestmark = pytest.mark.network


@pytest.mark.parametrize("name", ["resnet18.tv1_in1k", "resnet18.tv_in1k"])
def test_published_weights_load(name):
    model = zoo.load(name, pretrained=True)
    assert np.isfinite(model(np.zeros((1, 224, 224, 3), np.float32))).all()
    assert model.entry == zoo.info(name)

import jax
import numpy as np
import pytest

import zoo
from zoo import mobilenet


def test_features_are_what_the_last_layer_sees():
    small = {"variant": "v3_small", "width": 0.25, "blocks": [[3, 16, 16, "relu", 2, True]], "num_classes": 3}
    images = np.random.default_rng(0).random((2, 20, 24, 3), np.float32)

    @jax.jit
    def both():
        logits, variables = mobilenet.create(**small).init_with_output(jax.random.key(0), images)
        params = dict(variables["params"])
        last = params.pop("classifier_3")
        headless = mobilenet.create(**small | {"num_classes": 0})
        features = headless.apply({**variables, "params": params}, images)
        return logits, features @ last["kernel"] + last["bias"]

    logits, expected = both()
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_blocks_without_a_stride_have_none_to_dilate():
    blocks = [[3, 16, 16, "relu", 1, True]]
    with pytest.raises(
        zoo.ZooError, match="dilated=True: expected blocks of which one at least has a stride"
    ):
        mobilenet.create(variant="v3_small", blocks=blocks, dilated=True)

"""MLP-Mixer and ResMLP beyond tests/cases/."""

from typing import Any

import jax
import numpy as np
import pytest

import zoo
from zoo import mixer

TINY: dict[str, Any] = {"image_size": [16, 24], "patch_size": 8, "width": 8, "depth": 2, "num_classes": 5}


def output(**config: Any) -> tuple[Any, Any]:
    """Shapes of what two images give, and of the variables."""
    module = mixer.create(**{**TINY, **config})
    return jax.eval_shape(module.init_with_output, jax.random.key(0), np.zeros((2, 16, 24, 3)))


@pytest.mark.parametrize("scan", [False, True])
def test_maps_and_features_have_their_shapes(scan: bool) -> None:
    maps, variables = output(head="maps", out_features=["stem", "stage2"], scan=scan, dtype="bfloat16")
    assert [each.shape for each in maps] == [(2, 2, 3, 8)] * 2
    assert maps[0].dtype == jax.numpy.bfloat16
    assert "head" not in variables["params"]
    assert output(head="none", scan=scan)[0].shape == (2, 8)


def test_images_of_another_size_are_refused() -> None:
    module = mixer.create(**TINY)
    with pytest.raises(zoo.ZooError, match=r"expected \(batch, 16, 24, 3\)"):
        jax.eval_shape(module.init, jax.random.key(0), np.zeros((2, 24, 24, 3)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "gmlp"}, "no kind 'gmlp'; choose one of mixer, resmlp"),
        ({"image_size": 20}, r"image_size=\(20, 20\); expected multiples of \(8, 8\)"),
        ({"kind": "resmlp", "token_mlp": 4}, "token_mlp=4; expected None"),
        ({"kind": "resmlp", "layer_scale": 0.0}, "layer_scale=0.0; expected above 0"),
        ({"head": "lm"}, "no head 'lm'; choose one of"),
        ({"activation": "swish"}, "no activation named 'swish'"),
    ],
)
def test_impossible_settings_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(zoo.ZooError, match=message):
        mixer.create(**{**TINY, **config})

"""Models of timm in the zoo's terms: the same number, names and shapes of arrays."""

import jax
import numpy as np
import pytest

from converters.checkpoints import as_tensors
from converters.linen import inspect_module
from converters.matching import best_fit
from scripts import timm_models
from zoo._registry import families

FEW = (
    "eva02_tiny_patch14_224.mim_in22k",
    "resmlp_12_224.fb_in1k",
    "vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m",
)
MANY = (
    "beit*",
    "eva*",
    "mixer_*",
    "resmlp_*",
    "vit_*rope*",
    "vit_pe_core*",
    "vit_*dinov3*",
    "vit_*lingbot*",
    "vit_*sapiens2*",
)


@pytest.mark.parametrize("name", FEW)
def test_a_model_has_the_arrays_of_timms(name):
    check(*timm_models.versions([name]))


@pytest.mark.slow
def test_every_model_has_the_arrays_of_timms():
    for version in timm_models.versions(MANY):
        if version.kind in ("Beit", "Eva", "MlpMixer"):
            check(version)


def check(version):
    model, twin = version.zoo(), version.module()
    family = families.named(model.family)
    module = family.create(**model.config)
    shape = jax.ShapeDtypeStruct((1, *version.sides, 3), np.float32)
    tensors = {
        name: np.broadcast_to(np.zeros((), np.float32), tuple(tensor.shape))
        for name, tensor in twin.state_dict().items()
    }
    names = family.torch_names[model.layout]
    fit = best_fit(inspect_module(module, shape), as_tensors(tensors), names, (), (), ())
    assert (version.name, fit.problems, fit.left_over) == (version.name, [], [])
    variables = jax.eval_shape(module.init, jax.random.key(0), shape)
    count = sum(each.size for each in jax.tree.leaves(variables["params"]))
    assert (version.name, count) == (version.name, sum(each.numel() for each in twin.parameters()))

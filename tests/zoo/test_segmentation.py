import jax
import numpy as np
import pytest
import torch
from torch import nn

import converters
import zoo
from tests.equivalence import FORWARD, difference, randomise, state_dict
from tests.reference import published
from zoo._nn.layers import bilinear
from zoo.segmentation.layers import SpatialPyramid


@pytest.fixture(scope="module")
def small():
    return zoo.load("fcn_resnet50", backbone_config={"blocks": [1, 1, 1, 1], "channels": 8})


def test_the_pyramid_sees_pixels_as_far_apart_as_deeplabs():
    """On a map that all its kernels fit in; those of the whole model are smaller."""
    published.declare_operators()
    from torchvision.models.segmentation.deeplabv3 import ASPP

    theirs = randomise(ASPP(2, (12, 24, 36))).eval()
    x = np.random.default_rng(1).normal(size=(1, 40, 44, 2))
    ours = SpatialPyramid(0.5, None)
    with torch.no_grad(), jax.enable_x64(True):
        expected = theirs(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
        variables = converters.convert(state_dict(theirs), ours, x)
        found = np.asarray(jax.jit(ours.apply)(variables, x))
    assert difference(np.moveaxis(found, -1, 1), expected) <= FORWARD


@pytest.mark.parametrize("sides", [(7, 20), (3, 4), (12, 2), (1, 1)])
def test_maps_are_resized_as_by_pytorch(sides):
    x = np.random.default_rng(2).normal(size=(1, 5, 8, 3))
    expected = nn.functional.interpolate(
        torch.from_numpy(np.moveaxis(x, -1, 1).copy()), size=sides, mode="bilinear", align_corners=False
    )
    with jax.enable_x64(True):
        found = np.asarray(bilinear(jax.numpy.asarray(x), sides))
    assert difference(np.moveaxis(found, -1, 1), expected.numpy()) <= FORWARD


def test_each_pixel_has_logits_of_the_classes(small):
    shapes = jax.eval_shape(small, np.zeros((2, 33, 50, 3), np.float32))
    assert shapes.shape == (2, 33, 50, 21)
    assert small.entry.class_names[15] == "person"
    assert "aux_classifier_4" in small.variables["params"]


def test_the_backbone_computes_in_the_dtype_of_the_whole(small):
    half = zoo.Model(small.module.clone(dtype="bfloat16"), small.variables)
    x = np.zeros((2, 33, 50, 3), np.float32)
    given = jax.eval_shape(lambda x: zoo.features(half, x, layers=r"backbone/(conv1|layer4_0/conv3)"), x)
    assert [str(each.dtype) for each in given.values()] == ["bfloat16", "bfloat16"]


def test_weights_load_without_the_auxiliary_head(small, tmp_path):
    converters.write_checkpoint(zoo.to_torch(small), tmp_path / "fcn.pth")
    backbone = {"blocks": [1, 1, 1, 1], "channels": 8}
    model = zoo.convert(
        tmp_path / "fcn.pth", model="fcn_resnet50", backbone_config=backbone, aux_logits=False
    )
    assert "aux_classifier_4" not in model.variables["params"]


def test_other_classes_replace_both_last_layers(small):
    other = zoo.load("fcn_resnet50", backbone_config={"blocks": [1, 1, 1, 1], "channels": 8}, num_classes=3)
    assert other.variables["params"]["classifier_4"]["bias"].shape == (3,)
    assert other.variables["params"]["aux_classifier_4"]["bias"].shape == (3,)


def test_pictures_as_a_whole_are_not_classified(small, tmp_path):
    with pytest.raises(
        zoo.ZooError, match=r"does not classify pictures; it labels their pixels, and zoo\.load"
    ):
        zoo.predict(small, np.zeros((33, 50, 3), np.uint8))
    with pytest.raises(zoo.ZooError, match="'fcn_resnet50' labels pixels, and finetuning learns"):
        zoo.training.finetune("fcn_resnet50", tmp_path / "run", data=tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"head": "unet"}, "no head 'unet'; choose one of fcn, deeplab, lraspp"),
        ({"head": "lraspp"}, "head='lraspp': expected backbone='mobilenet_v3_large'"),
        (
            {"head": "lraspp", "backbone": "mobilenet_v3_large", "dropout": 0.1},
            "neither aux_logits nor dropout",
        ),
        ({"num_classes": 0}, "num_classes=0: expected 1 or more"),
        (
            {"backbone": "mobilenet_v3_large", "backbone_config": {"blocks": [(3, 16, 16, "relu", 2)]}},
            "backbone_config: expected blocks of which two or more have a stride above 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(config, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.segmentation.create(**config)

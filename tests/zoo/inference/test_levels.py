"""Maps of features by their size, against those of timm and torchvision."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import torch

import converters
import zoo
from tests.cases import CASES, images
from tests.equivalence import FORWARD, difference, randomise, state_dict
from tests.reference import published
from zoo._loading.build import build
from zoo._registry import families
from zoo._registry.entry import Input
from zoo._variables import init


@dataclass(frozen=True, kw_only=True)
class Maps:
    """A classifier, and the PyTorch model whose maps it has.

    Attributes:
        family: the file in zoo/.
        config: keywords of its `create`.
        twin: makes the PyTorch classifier; with features_only=True timm's model of its maps.
        nodes: level -> the name in torchvision's twin of what gives its map; none for timm's.
        sides: height and width of the images.
        layout: whose names the twin has.
    """

    family: str
    config: Mapping[str, Any]
    twin: Callable[..., torch.nn.Module]
    nodes: Mapping[int, str]
    sides: tuple[int, int] = (40, 72)
    layout: str = "torchvision"

    def maps(self, twin: torch.nn.Module, x: torch.Tensor) -> dict[int, torch.Tensor]:
        """Level -> what PyTorch gives."""
        if self.nodes:
            from torchvision.models.feature_extraction import create_feature_extractor

            names = {node: str(level) for level, node in self.nodes.items()}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # what trains besides is none of the nodes
                given = create_feature_extractor(twin, names)(x)
            return {int(level): each for level, each in given.items()}
        extract = self.twin(features_only=True).double().eval()
        # They have the names of the whole model, some with lines for dots.
        numbers = {name.replace(".", "_"): tensor for name, tensor in twin.state_dict().items()}
        extract.load_state_dict({name: numbers[name.replace(".", "_")] for name in extract.state_dict()})
        return dict(zip(extract.feature_info.reduction(), extract(x), strict=True))


def torchvision(case: str, **nodes: str) -> Maps:
    known = CASES[case]
    return Maps(
        family=known.family,
        config=known.config,
        twin=known.twin,
        nodes={int(level.removeprefix("of_")): node for level, node in nodes.items()},
        sides=known.inputs[0].shape[1:3],
    )


def timm(family: str, name: str, config: Mapping[str, Any], layout: str = "timm", **options: Any) -> Maps:
    twin = partial(published.timm_model, name, **options)
    return Maps(family=family, config=config, twin=twin, nodes={}, layout=layout)


MAPS = {
    "alexnet": torchvision(
        "alexnet", of_4="features.1", of_8="features.4", of_16="features.11", of_32="features.12"
    ),
    "vgg": torchvision(
        "vgg11", of_1="features.2", of_4="features.13", of_16="features.27", of_32="features.28"
    ),
    "squeezenet": torchvision(
        "squeezenet", of_2="features.1", of_4="features.4", of_8="features.7", of_16="features.12"
    ),
    "shufflenet": torchvision("shufflenet", of_4="maxpool", of_8="stage2", of_16="stage3", of_32="stage4"),
    "googlenet": torchvision(
        "googlenet",
        of_2="conv1",
        of_4="conv3",
        of_8="inception3a",
        of_16="inception4d",
        of_32="inception5b",
    ),
    "inception": torchvision(
        "inception",
        of_2="Conv2d_2b_3x3",
        of_4="Conv2d_4a_3x3",
        of_8="Mixed_5b",
        of_16="Mixed_6e",
        of_32="Mixed_7c",
    ),
    "mobilenet v2": torchvision("mobilenet v2", of_2="features.1", of_4="features.3"),
    "mobilenet v3": torchvision("mobilenet v3", of_2="features.1", of_4="features.3"),
    "mnasnet": torchvision("mnasnet", of_2="layers.7", of_4="layers.8", of_16="layers.11", of_32="layers.13"),
    "maxvit": torchvision("maxvit", of_2="stem", of_4="blocks.0", of_8="blocks.1"),
    "efficientnet": torchvision(
        "efficientnet",
        of_2="features.1",
        of_4="features.2",
        of_8="features.3",
        of_16="features.5",
        of_32="features.6",
    ),
    "swin": torchvision("swin", of_4="features.1", of_8="features.3"),
    "lraspp": torchvision("segmentation, lraspp", of_2="backbone.0", of_4="backbone.1", of_8="backbone.5"),
    "resnet": timm("resnet", "resnet18", {"depth": 18, "blocks": [1, 1, 1, 1]}, layers=(1, 1, 1, 1)),
    "densenet": timm(
        "densenet",
        "densenet121",
        {"blocks": (1, 2, 1, 1), "growth": 8, "stem_channels": 16},
        layout="torchvision",
        block_config=(1, 2, 1, 1),
        growth_rate=8,
    ),
    "convnext": timm(
        "convnext",
        "convnext_tiny",
        {"blocks": [1, 1, 1, 1], "widths": [8, 8, 16, 16]},
        depths=(1, 1, 1, 1),
        dims=(8, 8, 16, 16),
    ),
    "regnet": torchvision("regnet", of_2="stem", of_4="trunk_output.block1", of_8="trunk_output.block2"),
}


IMAGE = (Input("images", (1, 64, 64, 3), "float32"),)
SLOW = ("alexnet", "efficientnet", "googlenet", "inception", "mnasnet", "maxvit", "mobilenet v2", "swin")
MARKS = {True: [pytest.mark.slow], False: []}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS[name in SLOW]) for name in MAPS])
def test_maps_are_those_of_pytorch(name):
    maps = MAPS[name]
    twin = randomise(maps.twin(), norms=1.0).eval()
    module = getattr(zoo, maps.family).create(**maps.config)
    x = images(1, *maps.sides, 3)
    with torch.no_grad():
        given = maps.maps(twin, torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
    # torchvision's Swin transformers have the channels last.
    axis = -1 if name == "swin" else 1
    expected = {level: np.moveaxis(each.numpy(), axis, -1) for level, each in given.items()}
    names = families.named(maps.family).torch_names[maps.layout]
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(twin), module, x, names=names)
        found = jax.jit(partial(zoo.features, levels=tuple(expected)))(zoo.Model(module, variables), x)
        found = {level: np.asarray(each) for level, each in found.items()}
    assert [*found] == [*expected]
    for level, each in found.items():
        assert difference(each, expected[level]) <= FORWARD


@pytest.mark.parametrize("name", MAPS)
def test_levels_tell_the_shapes_of_all_maps(name):
    module = getattr(zoo, MAPS[name].family).create(**MAPS[name].config)
    module = module.clone(out_indices=tuple(range(len(module.levels))))
    x = jax.ShapeDtypeStruct((1, 320, 384, 3), np.float32)
    if name == "maxvit":
        x = jax.ShapeDtypeStruct((1, 48, 96, 3), np.float32)
    maps = jax.eval_shape(lambda key, x: module.init_with_output(key, x)[0], jax.random.key(0), x)
    assert [each.shape[3] for each in maps] == [level.channels for level in module.levels]
    # Those without padding in their stem are some pixels smaller.
    parts = [np.log2(x.shape[1] / each.shape[1]) for each in maps]
    assert [2 ** round(part) for part in parts] == [level.reduction for level in module.levels]


@pytest.mark.parametrize("family", ["vgg", "mobilenet"])
def test_a_backbone_of_the_first_maps_has_all_parameters_of_files(family):
    config = {"vgg": {"widths": (2, 2, 2, 2, 2), "hidden": 8}, "mobilenet": {"width": 0.1}}[family]
    every = getattr(zoo, family).create(**config, head="maps")
    some = getattr(zoo, family).create(**config, head="maps", out_indices=(1,))
    assert init.shapes(some, IMAGE) == init.shapes(every, IMAGE)


NETWORKS = {
    "resnet50": ("resnet50", (1, 2, 3, 4)),
    "vgg16": ("vgg16", range(6)),
    "densenet121": ("densenet121", range(5)),
    "inception_v3": ("inception_v3", range(5)),
    "mobilenet_v2": ("mobilenetv2_100", range(5)),
    "mobilenet_v3_small": ("mobilenetv3_small_100", range(5)),
    "efficientnet_b0": ("efficientnet_b0", range(5)),
    "mnasnet1_0": ("mnasnet_100", range(5)),
    "swin_t": ("swin_tiny_patch4_window7_224", range(4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_levels_are_timms(name):
    """Each by the last map of its size."""
    theirs, indices = NETWORKS[name]
    with torch.device("meta"):
        info = published.timm_model(theirs).feature_info
    ours = dict(build(zoo.info(name))[0].levels)
    assert {info[index]["reduction"]: info[index]["num_chs"] for index in indices}.items() <= ours.items()


RESNET = zoo.resnet.create(depth=20, stem="cifar", channels=2)
SMALL = jax.ShapeDtypeStruct((2, 32, 32, 3), np.float32)


def test_levels_are_as_one_asks_for_them():
    variables = jax.eval_shape(RESNET.init, jax.random.key(0), SMALL)

    def shapes(levels):
        def maps(variables, x):
            return zoo.features(zoo.Model(RESNET, variables), x, levels=levels)

        return {level: each.shape for level, each in jax.eval_shape(maps, variables, SMALL).items()}

    assert shapes((4, 1)) == {4: (2, 8, 8, 8), 1: (2, 32, 32, 2)}
    assert shapes(2) == {2: (2, 16, 16, 4)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": (4, 8)}, r"levels=\(4, 8\): ResNet has maps of 1, 2, 4"),
        ({"levels": ()}, r"levels=\(\): ResNet has maps of 1, 2, 4"),
        ({"levels": 4, "mutable": ["batch_stats"]}, "levels= and mutable= exclude each other"),
        ({}, "expected layers=, paths such as 'layer4', or levels=, such as"),
        ({"levels": 4, "layers": "layer1"}, "expected layers=, .* or levels="),
    ],
)
def test_what_has_no_map_is_refused(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.features(zoo.Model(RESNET, {}), images(1, 32, 32, 3), **options)


def test_models_of_one_size_name_what_they_have():
    module = zoo.vit.create(image_size=[8, 12], patch_size=4, width=4, depth=1, heads=2)
    with pytest.raises(zoo.ZooError, match="ViT has no maps of several sizes; layers= gives"):
        zoo.features(zoo.Model(module, {}), images(1, 8, 12, 3), levels=4)

"""The entries of the manifest that are made of torchvision's enumerations."""

import re
from functools import cache
from types import SimpleNamespace

import pytest

import zoo
from converters.errors import ConversionError
from scripts import torchvision_entries as script
from zoo._registry import manifest, manifest_schema, packaged

FEW = ("squeezenet1_1", "googlenet", "vit_b_16_384.swag_e2e_in1k")


@cache
def versions():
    found = {f"{each.model}.{each.tag}": each for each in script.versions()}
    return found | {each.model: each for each in found.values() if script.default(each)}


@pytest.mark.parametrize("name", FEW)
def test_an_entry_is_what_torchvision_says_and_its_module_has_torchvisions_shapes(name):
    check(name)


def test_the_manifest_has_all_weights_of_torchvisions_classifiers_that_the_zoo_has():
    assert {*versions()} <= {*manifest.read().models}


@pytest.mark.slow
def test_every_entry_is_what_torchvision_says_and_its_module_has_torchvisions_shapes():
    for name in versions():
        check(name)


def check(name):
    version, known = versions()[name], manifest.read()
    full = f"{version.model}.{version.tag}"
    there = known.models[full]
    assert [*script.differences(script.entry(version, known, {}), there)] == []
    assert [*script.wrong(version, there)] == []


def test_a_wrong_entry_is_told():
    version, known = versions()["squeezenet1_1"], manifest.read()
    other = known.models["squeezenet1_0.tv1_in1k"]
    (name, *_) = script.differences(script.entry(version, known, {}), other)
    assert name == "squeezenet1_1.tv1_in1k: num_params is 1248424; torchvision says 1235496"
    with pytest.raises(ConversionError, match="does not fit SqueezeNet"):
        [*script.wrong(version, other)]


def test_what_torchvision_does_not_say_is_named():
    with pytest.raises(
        zoo.ZooError, match=r"https://example.org/x.pth: expected a name with the first digits"
    ):
        script.place("https://example.org/x.pth", {})
    with pytest.raises(zoo.ZooError, match="metrics of COCO; expected those of ImageNet-1K"):
        script.metrics({"_metrics": {"COCO": {}}})
    strange = versions()["squeezenet1_1"]._replace(weights=SimpleNamespace(name="IMAGENET9K_V1"))
    with pytest.raises(
        zoo.ZooError, match="squeezenet1_1 has weights IMAGENET9K_V1, expected one of IMAGENET1K"
    ):
        strange.tag  # noqa: B018


def test_what_the_manifest_lacks_is_added_where_it_was(tmp_path):
    """A family's defaults, its models and their tags come back as they were."""
    path = packaged.manifest_path()
    text = path.read_text()
    without = text
    for name in ("alexnet", "vgg16_bn"):
        without = without.replace(block(text, name), "")
    without = re.sub(r"  alexnet:\n(    .*\n)+", "", without, count=1)
    known = manifest_schema.parse(path, without.encode())
    assert {"alexnet", "vgg16_bn"}.isdisjoint(known.models)
    assert "alexnet" not in known.families
    made, first = {}, {}
    for name in ("alexnet", "vgg16_bn", "vgg16"):
        version = versions()[name]
        weights = manifest.read().models[name].weights
        whole = {weights.url: (weights.sha256, weights.size)}
        made[f"{name}.{version.tag}"] = script.entry(version, known, whole)
        first[name] = version.tag
    again = script.added(without, known, made, first)
    assert again.split() == text.split()
    assert dict(manifest_schema.parse(path, again.encode()).models) == dict(manifest.read(path).models)


def block(text, name):
    start = text.index(f"\n  {name}:\n    family:") + 1
    lines = text[start:].splitlines(keepends=True)
    end = next(at for at, line in enumerate(lines) if at and not line.startswith("    "))
    return "".join(lines[:end])

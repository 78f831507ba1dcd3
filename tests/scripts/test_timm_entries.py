"""The generated entries of timm's weights."""

import json

import pytest

from scripts import timm_classes, timm_configs, timm_entries, timm_terms
from scripts.timm_models import versions
from zoo._loading.build import build
from zoo._registry import families, generated, manifest, packaged

FEW = (
    "eva02_tiny_patch14_224.mim_in22k",
    "mobilenetv4_conv_small_050.e3000_r224_in1k",
    "regnetx_002.pycls_in1k",
    "resmlp_12_224.fb_in1k",
    "vgg11_bn.tv_in1k",
    "vit_small_patch16_224.dino",
    "vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m",
)


@pytest.fixture(scope="module")
def there():
    return generated.read(timm_entries.PATH)


@pytest.mark.parametrize("name", FEW)
def test_an_entry_is_what_timm_says_and_its_module_has_timms_shapes(there, name):
    (version,) = versions([name])
    assert [*timm_entries.differences(version, there.models[name])] == []
    assert [*timm_entries.misfits(version, there.models[name])] == []


def test_the_file_is_written_as_it_was(there):
    """A few entries are made anew, all others stay."""
    found = versions(FEW)
    known = manifest.read(packaged.manifest_path())
    made, without = timm_entries.made_of(found, known)
    assert {*made} == {*FEW}
    assert not without
    assert timm_entries.written(made, found, known, there) == timm_entries.PATH.read_text()


def test_an_option_that_the_zoo_does_not_have_is_named():
    with pytest.raises(timm_terms.UnknownOptionError, match="block_fn=Odd, embed_layer=1"):
        timm_configs.model("VisionTransformer", {"block_fn": "Odd", "embed_layer": 1}, (224, 224), 7)
    with pytest.raises(timm_terms.UnknownOptionError, match="Odd"):
        timm_configs.model("Odd", {}, (224, 224), 7)


def test_each_family_takes_the_configs_of_its_entries(there):
    for name, entry in there.models.items():
        if "." in name:
            build(entry)
            assert entry.layout in families.torch_names(entry)


@pytest.mark.parametrize("name", timm_classes.SETS)
def test_the_names_of_classes_are_those_of_timms_synsets(name):
    content = packaged.classes_path(name).read_text(encoding="utf-8")
    assert content == timm_classes.content(name)
    names = content.splitlines()[1:]
    assert len({*names}) == len(names)
    assert [count for count, each in timm_entries.CLASSES.items() if each == name] == [len(names)]


def test_each_entry_is_a_line():
    content = timm_entries.PATH.read_text()
    lines = {line.removesuffix(",") for line in content.splitlines()}
    for name, fields in json.loads(content)["models"].items():
        assert f"{json.dumps(name)}: {json.dumps(fields)}" in lines

"""Entries in files that scripts write, beside the manifest that people edit."""

import json
import re

import pytest

import zoo
from tests.zoo.registry.manifests import HEAD
from zoo._registry import compiled, generated, manifest

FIELDS = {
    "family": "cnn",
    "config": {"channels": [1, 2]},
    "num_params": 7,
    "weights": {"file": "a.safetensors", "repo": "o/n", "revision": "unattested", "sha256": "unattested"},
    "license": "MIT",
    "source": "there",
}
FAMILIES = {
    "cnn": {"inputs": [{"name": "images", "shape": [1, 28, 28, 1], "dtype": "float32"}], "layout": "t"}
}


@pytest.fixture
def write(path):
    """Writes the manifest, and a generated file beside it."""

    def write(models, default_tags=()):
        path.write_text(HEAD)
        file = path.with_name(generated.FILES[0])
        content = {"families": FAMILIES, "default_tags": dict(default_tags), "models": models}
        file.write_text(json.dumps(content))
        return file

    return write


def test_entries_of_a_generated_file_are_found_beside_the_others(write, path):
    write({"big.one": FIELDS, "big.two": {**FIELDS, "layout": None}}, {"big": "one"})
    edited = manifest.read(path)
    lazy, whole = (generated.with_generated(path, edited, read) for read in (generated.lazy, generated.read))
    for found in (lazy, whole):
        assert sorted(found.models) == ["big", "big.one", "big.two", "net"]
        assert found.pretrained == {"big", "big.one", "big.two"}
        assert found.models["net"] is edited.models["net"]
        assert (found.models["big"].name, found.models["big"].layout) == ("big", "t")
        assert found.models["big.two"].layout is None
        assert found.models["big"].weights == found.models["big.one"].weights
    assert dict(lazy.models) == dict(whole.models)
    assert dict(compiled.read(path, compiled.dump(whole)).models) == dict(whole.models)


def test_a_wrong_entry_is_refused_when_it_is_asked_for_and_when_all_are_checked(write, path):
    file = write({"big.one": {**FIELDS, "num_params": "x"}, "big.two": FIELDS})
    lazy = generated.lazy(file)
    assert lazy.models["big.two"].num_params == 7
    with pytest.raises(zoo.ManifestError, match=r"models\.big\.one\.num_params: expected a whole number"):
        lazy.models["big.one"]
    with pytest.raises(zoo.ManifestError, match=r"models\.big\.one\.num_params: expected a whole number"):
        generated.read(file)


FAULTS = {
    "a name that the manifest has": ({"net": FIELDS}, {}, "both have net; take it out of one"),
    "a tag that no entry has": ({"big.one": FIELDS}, {"big": "two"}, "default_tags.big: no entry 'big.two'"),
    "a plain name twice": ({"big.one": FIELDS, "big": FIELDS}, {"big": "one"}, "is the name of an entry"),
}


@pytest.mark.parametrize(("models", "tags", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_names_is_refused(write, path, models, tags, message):
    write(models, tags)
    with pytest.raises(zoo.ManifestError, match=re.escape(message)):
        generated.with_generated(path, manifest.read(path), generated.read)


def test_what_is_no_json_or_has_a_name_twice_is_refused(write, path):
    file = write({})
    file.write_text("{")
    with pytest.raises(zoo.ManifestError, match="is no JSON"):
        generated.lazy(file)
    file.write_text('{"models": {"a.b": {}, "a.b": {}}}')
    for read in (generated.lazy, generated.read):
        with pytest.raises(zoo.ManifestError, match=r"'a\.b' stands there twice"):
            read(file)


def test_all_generated_entries_are_right():
    edited = manifest.read(manifest.packaged.manifest_path())
    whole = generated.with_generated(manifest.packaged.manifest_path(), edited, generated.read)
    assert dict(whole.models) == dict(manifest.read().models)

import time

import pytest

import zoo
from tests.zoo.registry.manifests import FAULTS, FILE, FINE, HEAD, MORE, TAGS, URL, weights
from zoo._registry import blocks, compiled, manifest, packaged
from zoo._registry import entry as _entry


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_a_right_manifest_is_read(text, path):
    path.write_text(text)
    assert list(manifest.read(path).models) == ["net"]


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_refused_with_its_path(content, message, path):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(zoo.ManifestError) as caught:
        manifest.read(path)
    assert str(caught.value).startswith(f"{str(path)!r} breaks its schema:\n  ")
    assert message in str(caught.value)


def test_all_problems_are_listed_at_once(path):
    path.write_text(
        weights("file: ../a, sha256: 12, size: 9")
        .replace("license: MIT", "licence: MIT")
        .replace("family: cnn", "family: &a cnn")
        .replace("num_params: 7", "num_params: x")
    )
    with pytest.raises(zoo.ManifestError) as caught:
        manifest.read(path)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "models.net.family",
        "models.net.licence",
        "models.net.license",
        "models.net.num_params",
        "models.net.weights.file",
        "models.net.weights.sha256",
    ]


def test_tags_are_entries_of_their_own_and_the_plain_name_is_the_default(path):
    path.write_text(HEAD + TAGS)
    models = manifest.read(path).models
    assert sorted(models) == ["net", "net.new", "net.old"]
    assert all(entry.name == name and entry.num_params == 7 for name, entry in models.items())
    assert [models[name].source for name in ("net", "net.old", "net.new")] == ["here", "here", "there"]
    assert models["net"].metrics == models["net.old"].metrics == {"accuracy": 1}
    assert not models["net.new"].metrics


def test_a_plain_name_without_default_has_no_weights(path):
    path.write_text(HEAD + TAGS.replace("    default: old\n", ""))
    assert manifest.read(path).models["net"].weights is None


def test_the_packaged_classes_are_files():
    for entry in manifest.read().models.values():
        assert len(set(entry.class_names)) == len(entry.class_names)


def test_an_alias_bomb_is_refused_at_once(path):
    rows = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    path.write_text("models:\n  " + "\n  ".join(rows))
    with pytest.raises(zoo.ManifestError, match="an alias"):
        manifest.read(path)


@pytest.mark.parametrize("content", [b"#" * 1_000_001, b"[" * 1_000_000, b"- " * 500_000])
def test_a_huge_file_is_refused_quickly(content, path):
    path.write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(zoo.ManifestError):
        manifest.read(path)
    assert time.perf_counter() - start < 5


def test_what_is_no_regular_file_is_refused(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "missing"):
        with pytest.raises(zoo.ManifestError, match=name.replace(".", repr(str(tmp_path))[1:-1])):
            manifest.read(tmp_path / name)


def test_entries_hash_and_compare_by_value(path):
    path.write_text(weights(FILE))
    first, second = (manifest.read(path).models["net"] for _ in range(2))
    assert first is not second
    assert first == second
    assert hash(first) == hash(second)
    assert hash(first.config) == hash(_entry.FrozenMapping({"channels": (1, 2)}))
    with pytest.raises(AttributeError):
        first.name = "other"
    with pytest.raises(TypeError):
        first.config["channels"] = 3


def test_the_packaged_manifest_is_read_once():
    assert manifest.read() is manifest.read()


def test_the_manifest_is_found_in_a_wheel_first(tmp_path, monkeypatch):
    package = tmp_path / "zoo"
    package.mkdir()
    monkeypatch.setattr(packaged, "PACKAGE", package)
    above, inside = tmp_path / "weights_manifest.yaml", package / "manifest.json"
    above.touch()
    assert packaged.manifest_path() == above
    inside.touch()
    assert packaged.manifest_path() == inside


def test_a_hundred_and_fifty_entries_take_a_moment(path):
    entry = weights(f"{URL}, sha256: '01234567', size: 102540417").removeprefix("models:\n")
    path.write_text("models:\n" + "".join(entry.replace("net:", f"net{i}:") for i in range(150)))
    start = time.perf_counter()
    assert len(manifest.read(path).models) == 150
    assert time.perf_counter() - start < 1  # some 20 ms with libyaml; this machine may be busy


def test_names_with_weights_are_known_without_building_an_entry(path, monkeypatch):
    path.write_text(HEAD + TAGS + MORE("layout: torch"))
    found = manifest.read(path)
    lazy = compiled.read(path, compiled.dump(found))
    assert lazy.models.keys() == found.models.keys()
    monkeypatch.setattr(compiled, "RECORD", None)
    assert lazy.pretrained == found.pretrained == {"net", "net.old", "net.new"}
    assert "net.old" in lazy.models
    assert "odd" not in lazy.models


def test_the_compiled_manifest_has_the_same_entries_and_builds_one_only_once():
    found = manifest.read()
    lazy = compiled.read(packaged.manifest_path(), compiled.dump(found))
    assert dict(lazy.models) == dict(found.models)
    assert lazy.model_types == found.model_types
    assert lazy.pretrained == found.pretrained
    assert lazy.models["resnet50"] is lazy.models["resnet50"]
    with pytest.raises(KeyError):
        lazy.models["odd"]


def test_a_damaged_compiled_manifest_is_refused(path):
    path.write_text(HEAD)
    content = compiled.dump(manifest.read(path))
    for damaged in (b"", b"[]", b"{}", b'{"models": [], "model_types": 3}', content[:-9], b"\xff"):
        with pytest.raises(zoo.ManifestError, match="is no compiled manifest; install flax-zoo again"):
            compiled.read(path, damaged)
    wrong = compiled.read(path, content.replace(b'"num_params":7', b'"num_params":"7"')).models
    with pytest.raises(zoo.ManifestError, match=r"models\.net\.num_params: expected a whole number"):
        wrong["net"]


def test_the_manifest_that_people_edit_is_in_order():
    edited = manifest.read(packaged.manifest_path())
    assert blocks.misplaced(edited.models) == []
    assert list(edited.families) == sorted(edited.families)

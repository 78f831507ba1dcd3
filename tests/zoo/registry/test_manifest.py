import time

import pytest

import zoo
from zoo._registry import blocks, compiled, manifest, packaged
from zoo._registry import entry as _entry

SHA = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4
FILE = f"file: a.safetensors, sha256: {SHA}, size: 9"
HUB = f"file: a.safetensors, repo: owner/name, revision: {COMMIT}, sha256: {SHA}"
URL = "url: https://example.org/net-01234567.pth"

HEAD = """models:
  net:
    family: cnn
    config: {channels: [1, 2]}
    inputs: [{name: images, shape: [1, 28, 28, 1], dtype: float32}]
    num_params: 7
    license: MIT
    source: here
"""
MORE = "    {}\n".format


def weights(fields):
    return HEAD + MORE(f"weights: {{{fields}}}")


TAGS = f"""    default: old
    tags:
      old: {{weights: {{{FILE}}}, metrics: {{accuracy: 1}}}}
      new: {{weights: {{{FILE}}}, source: there}}
"""

FINE = {
    "untrained": HEAD,
    "bundled": weights(FILE),
    "on the Hub": weights(HUB),
    "on the Hub, in a folder": weights(HUB.replace("a.safetensors", "onnx/a.safetensors")),
    "on the Hub, unattested": weights(HUB.replace(SHA, "unattested")),
    "at an address, prefix only": weights(f"{URL}, sha256: '01234567'"),
    "at an address, whole hash": weights(f"{URL.replace('-01234567', '')}, sha256: {SHA}"),
    "explicit document start": "---\n" + HEAD,
    "YAML 1.1's words are text": HEAD.replace("MIT", "no"),
    "photos": HEAD + MORE("preprocess: {resize: 4, crop: 3, interpolation: bicubic, std: [1, 2, 3]}"),
    "everything": weights(FILE)
    + MORE("layout: torch")
    + MORE("paper: https://arxiv.org/abs/1")
    + MORE("metrics: {accuracy: 1}")
    + MORE("preprocess: {ink: light}"),
}

# what is wrong -> content, and what the message says about it
FAULTS = {
    "empty file": ("", "the file: expected a mapping, found nothing"),
    "a list": ("- a\n- b\n", "the file: expected a mapping, found a list"),
    "text": ("models", "the file: expected a mapping, found 'models'"),
    "no models": ("{}", "models: missing"),
    "models is a list": ("models: [a]", "models: expected a mapping, found a list"),
    "another top key": (HEAD + "model: {}\n", "model: unknown field; did you mean 'models'"),
    "two documents": (HEAD + "---\n" + HEAD, "more than one document"),
    "a directive": ("%YAML 1.1\n---\n" + HEAD, "a directive (%YAML or %TAG)"),
    "a tab": (HEAD.replace("MIT", "M\tIT"), "line 7: a tab; remove it"),
    "a byte order mark": ("\ufeff" + HEAD, "line 1: a byte order mark"),
    "NUL": (HEAD + "\0", "line 9: a NUL"),
    "broken": (HEAD + "  }", "line 9, column 3"),
    "cut off": (weights(FILE)[:-3], "line 10, column 1"),
    "not UTF-8": (HEAD.encode() + b"\xff", "not UTF-8 at byte"),
    "UTF-16": (HEAD.encode("utf-16-le"), "a NUL"),
    "duplicate model": (HEAD + HEAD.removeprefix("models:\n"), "models.net: occurs twice"),
    "duplicate field": (HEAD + MORE("license: BSD"), "models.net.license: occurs twice"),
    "duplicate in flow": (weights(f"{FILE}, size: 9"), "models.net.weights.size: occurs twice"),
    "an anchor": (HEAD.replace("MIT", "&a MIT"), "models.net.license: an anchor (&a); remove it"),
    "an alias": (HEAD.replace("MIT", "*a"), "models.net.license: an alias (*a); write the value out"),
    "a merge key": (HEAD + MORE("<<: {paper: x}"), "models.net.<<: unknown field"),
    "a Python object": (
        HEAD.replace("MIT", "!!python/object/apply:os.system ['true']"),
        "models.net.license: a tag (tag:yaml.org,2002:python/object/apply:os.system); remove it",
    ),
    "a standard tag": (HEAD.replace("MIT", "!!str MIT"), "models.net.license: a tag"),
    "very deep": (HEAD + MORE("paper: " + "[" * 900 + "]" * 900), "nested more than 16 deep"),
    "a name that is a number": (HEAD.replace("net:", "7:"), "models: the key 7 is not text; quote it"),
    "a name with a slash": (
        HEAD.replace("net:", "a/b:"),
        "models: the key 'a/b': expected a lower-case name",
    ),
    "a mapping as key": (HEAD.replace("net:", "? {a: b}\n  :"), "models: the key {'a': 'b'} is not text"),
    "a missing field": (HEAD.replace("    family: cnn\n", ""), "models.net.family: missing"),
    "an unknown field": (HEAD + MORE("num_param: 3"), "did you mean 'num_params'?"),
    "a field that resembles none": (
        HEAD + MORE("qqq: 3"),
        "models.net.qqq: unknown field; the fields are family",
    ),
    "an entry that is text": ("models: {net: cnn}", "models.net: expected a mapping, found 'cnn'"),
    "family in capitals": (HEAD.replace("cnn", "CNN"), "models.net.family: expected a lower-case identifier"),
    "a private family": (
        HEAD.replace("cnn", "_arrays"),
        "models.net.family: expected a lower-case identifier",
    ),
    "count as text": (
        HEAD.replace("7", "'7'"),
        "models.net.num_params: expected a whole number >= 0, found '7'",
    ),
    "count as float": (HEAD.replace("7", "7.0"), "models.net.num_params: expected a whole number"),
    "count as boolean": (HEAD.replace("7", "true"), "models.net.num_params: expected a whole number"),
    "an infinite number": (HEAD.replace("[1, 2]", "1e999"), "models.net.config.channels: 1e999 is no finite"),
    "shape with text": (HEAD.replace("[1, 28,", "[1, x,"), "models.net.inputs[0].shape[1]: expected a whole"),
    "shape with zero": (
        HEAD.replace("[1, 28,", "[0, 28,"),
        "models.net.inputs[0].shape[0]: expected a whole",
    ),
    "no inputs": (
        HEAD.replace("[{name: images, shape: [1, 28, 28, 1], dtype: float32}]", "[]"),
        "models.net.inputs: expected one or more, found none",
    ),
    "unknown dtype": (HEAD.replace("float32", "float31"), "models.net.inputs[0].dtype: expected a dtype"),
    "license with two lines": (
        HEAD.replace("MIT", '"M\\nIT"'),
        "models.net.license: expected a line of text",
    ),
    "metrics of text": (
        HEAD + MORE("metrics: {a: best}"),
        "models.net.metrics.a: expected a number, found 'best'",
    ),
    "metrics without weights": (
        HEAD + MORE("metrics: {a: 1}"),
        "models.net.metrics: is there without weights",
    ),
    "layout without weights": (HEAD + MORE("layout: torch"), "models.net.layout: is there without weights"),
    "hash of digits": (
        weights(FILE.replace(SHA, "1" * 64)),
        f"models.net.weights.sha256: expected 64 lower-case hexadecimal digits, found {'1' * 64}; quote it",
    ),
    "hash like a number": (weights(FILE.replace(SHA, "12e" + "1" * 61)), "12e1111"),
    "hash null": (weights(FILE.replace(SHA, "null")), "models.net.weights.sha256: expected 64"),
    "hash missing": (weights("file: a.safetensors, size: 9"), "models.net.weights.sha256: missing"),
    "hash too short": (weights(FILE.replace(SHA, SHA[:63])), "expected 64 hexadecimal digits, found 63"),
    "hash too long": (weights(FILE.replace(SHA, SHA + "0")), "models.net.weights.sha256: expected 64"),
    "hash in capitals": (weights(FILE.replace(SHA, SHA.upper())), "models.net.weights.sha256: expected 64"),
    "hash with its kind": (
        weights(FILE.replace(SHA, "sha256:" + SHA)),
        "models.net.weights.sha256: expected 64",
    ),
    "hash of zeros": (weights(FILE.replace(SHA, f"'{'0' * 64}'")), "expected the hash, found zeros"),
    "bundled and unattested": (
        weights(FILE.replace(SHA, "unattested")),
        "expected the hash, found 'unattested'",
    ),
    "url without its prefix": (
        weights(f"{URL}, sha256: unattested"),
        "expected the hash, found 'unattested'",
    ),
    "url with another prefix": (
        weights(f"{URL}, sha256: {SHA[::-1]}"),
        "expected 01234567... as the url says",
    ),
    "size as text": (
        weights(FILE.replace("9}", "'9'}").replace("size: 9", "size: '9'")),
        "weights.size: expected",
    ),
    "bundled without size": (weights(FILE.replace(", size: 9", "")), "models.net.weights.size: missing"),
    "weights without a place": (weights(f"sha256: {SHA}"), "or url; found none of them"),
    "weights in two places": (weights(f"{FILE}, {URL}"), "or url; found file, url"),
    "repository without revision": (weights(f"{FILE}, repo: a/b"), "or url; found file, repo"),
    "parent directory": (
        weights(FILE.replace("a.s", "../../a.s")),
        "weights.file: expected a plain file name",
    ),
    "absolute": (weights(FILE.replace("a.s", "/etc/a.s")), "weights.file: expected a plain file name"),
    "backslash": (weights(FILE.replace("a.s", "a\\b.s")), "weights.file: expected a plain file name"),
    "parent inside": (weights(FILE.replace("a.s", "a/../a.s")), "weights.file: expected a plain file name"),
    "empty name": (weights(FILE.replace("a.safetensors", "''")), "weights.file: expected a plain file name"),
    "repository as address": (
        weights(HUB.replace("owner/name", "https://huggingface.co/owner/name")),
        "models.net.weights.repo: expected a repository as owner/name",
    ),
    "repository without owner": (weights(HUB.replace("owner/", "")), "weights.repo: expected a repository"),
    "revision is a branch": (weights(HUB.replace(COMMIT, "main")), "weights.revision: expected a commit"),
    "revision too short": (weights(HUB.replace(COMMIT, "0123456")), "weights.revision: expected a commit"),
    "revision like a time": (weights(HUB.replace(COMMIT, "12:30:45")), "found '12:30:45'"),
    "revision like a date": (weights(HUB.replace(COMMIT, "2024-01-01")), "found '2024-01-01'"),
    "revision like a float": (weights(HUB.replace(COMMIT, "1.0")), "found 1.0; quote it"),
    "revision like an int": (weights(HUB.replace(COMMIT, "1234567")), "found 1234567; quote it"),
    "url without scheme": (
        weights(f"url: example.org/a.pth, sha256: {SHA}"),
        "weights.url: expected an https",
    ),
    "url with a password": (
        weights(f"url: https://a:b@example.org/a, sha256: {SHA}"),
        "weights.url: expected",
    ),
    "url of a file": (weights(f"url: file:///etc/passwd, sha256: {SHA}"), "weights.url: expected an https"),
    "ink of photos": (
        HEAD + MORE("preprocess: {ink: light, crop: 3}"),
        "preprocess.crop: unknown field; the fields are ink",
    ),
    "preprocess says nothing": (HEAD + MORE("preprocess: {}"), "preprocess.interpolation: missing"),
    "a crop larger than the picture": (
        HEAD + MORE("preprocess: {resize: 3, crop: 4, interpolation: bicubic}"),
        "models.net.preprocess.crop: expected at most resize, 3, found 4",
    ),
    "a deviation of zero": (
        HEAD + MORE("preprocess: {resize: 4, crop: 3, interpolation: bicubic, std: [1, 0, 1]}"),
        "models.net.preprocess: expected three numbers as mean, or one, and as many above 0 as std",
    ),
    "another interpolation": (
        HEAD + MORE("preprocess: {resize: 4, crop: 3, interpolation: area}"),
        "preprocess.interpolation: expected one of nearest, lanczos, bilinear, bicubic, box, hamming, found",
    ),
    "three sides": (
        HEAD + MORE("preprocess: {resize: [4, 3, 2], crop: 3, interpolation: bicubic}"),
        "preprocess.resize: expected a number of pixels, or height and width, found 3 numbers",
    ),
    "a default that is no tag": (
        HEAD + TAGS.replace("default: old", "default: odd"),
        "models.net.default: no tag 'odd'; the tags are old, new",
    ),
    "a default without tags": (HEAD + MORE("default: old"), "no tag 'old'; the tags are none"),
    "a tag without weights": (
        HEAD + MORE("tags: {old: {source: a}}"),
        "models.net.tags.old.weights: missing",
    ),
    "a tag with another architecture": (
        HEAD + TAGS.replace("source: there", "family: mlp"),
        "models.net.tags.new.family: unknown field",
    ),
    "a tag that is a model": (
        HEAD + TAGS + HEAD.removeprefix("models:\n").replace("net:", "net.old:"),
        "models.net.old: is the name of two models",
    ),
    "another ink": (HEAD + MORE("preprocess: {ink: dark}"), "preprocess.ink: expected 'light', found 'dark'"),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights_manifest.yaml"


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


DEFAULTS = """families:
  cnn:
    inputs: [{name: images, shape: [1, 28, 28, 1], dtype: float32}]
    license: MIT
    layout: torch
    paper: https://arxiv.org/abs/1
    classes: mnist
"""
SHORT = HEAD.replace("    inputs: [{name: images, shape: [1, 28, 28, 1], dtype: float32}]\n", "").replace(
    "    license: MIT\n", ""
)
WRONG_DEFAULTS = {
    "a list": ("families: []\n", "families: expected a mapping, found a list"),
    "of a family that no model is of": (
        DEFAULTS.replace("cnn:", "cnns:"),
        "families.cnns: no model is of this family; did you mean 'cnn'?",
    ),
    "a wrong value": (DEFAULTS.replace("torch", "A B"), "families.cnn.layout: expected a lower-case"),
    "an unknown field": (DEFAULTS + "    weights: {}\n", "families.cnn.weights: unknown field"),
    "null": (DEFAULTS.replace("mnist", "null"), "families.cnn.classes: expected a lower-case identifier"),
    "twice": (DEFAULTS + "    license: BSD\n", "families.cnn.license: occurs twice"),
}


@pytest.mark.parametrize("last", [True, False])
def test_defaults_of_a_family_are_those_of_its_entries(last, path):
    body = SHORT + MORE(f"weights: {{{HUB}}}")
    path.write_text(body + DEFAULTS if last else DEFAULTS + body)
    entry = manifest.read(path).models["net"]
    assert entry.inputs == (_entry.Input("images", (1, 28, 28, 1), "float32"),)
    found = (entry.license, entry.layout, entry.paper, entry.classes)
    assert found == ("MIT", "torch", "https://arxiv.org/abs/1", "mnist")


def test_an_entry_overrides_the_defaults_of_its_family(path):
    path.write_text(
        DEFAULTS
        + HEAD.replace("MIT", "BSD")
        + MORE("classes: null")
        + MORE("paper: https://arxiv.org/abs/2")
        + MORE("layout: null")
        + MORE(f"tags: {{old: {{weights: {{{HUB}}}}}, new: {{weights: {{{HUB}}}, layout: timm}}}}")
    )
    models = manifest.read(path).models
    assert {(entry.license, entry.paper, entry.classes) for entry in models.values()} == {
        ("BSD", "https://arxiv.org/abs/2", None)
    }
    assert {name: entry.layout for name, entry in models.items()} == {
        "net": None,
        "net.old": None,
        "net.new": "timm",
    }


def test_a_layout_by_default_is_of_weights_only(path):
    path.write_text(DEFAULTS + SHORT + MORE(f"tags: {{old: {{weights: {{{HUB}}}}}}}"))
    models = manifest.read(path).models
    assert (models["net"].layout, models["net.old"].layout) == (None, "torch")


@pytest.mark.parametrize(("content", "message"), WRONG_DEFAULTS.values(), ids=WRONG_DEFAULTS)
def test_a_wrong_default_is_refused_once_and_not_for_each_entry(content, message, path):
    more = SHORT.replace("models:\n  net:", "  other:")
    path.write_text(content + HEAD + more if content == "families: []\n" else content + SHORT + more)
    if content == "families: []\n" or "cnns" in content:
        path.write_text(content + HEAD)
    with pytest.raises(zoo.ManifestError) as caught:
        manifest.read(path)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_wrong_defaults_do_not_hide_what_is_wrong_with_entries(path):
    path.write_text(
        DEFAULTS.replace("layout: torch", "layout: A B").replace("license: MIT", "license: ''")
        + SHORT.replace("num_params: 7", "num_params: x")
        + MORE("metrics: {accuracy: 1}")
        + "model_types: []\n"
    )
    with pytest.raises(zoo.ManifestError) as caught:
        manifest.read(path)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "families.cnn.license",
        "families.cnn.layout",
        "models.net.num_params",
        "models.net.metrics",
        "model_types",
    ]


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


def test_the_packaged_manifest_is_in_order():
    assert blocks.misplaced(manifest.read().models) == []
    assert list(manifest.read().families) == sorted(manifest.read().families)

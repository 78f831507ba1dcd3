"""Adding a model to a manifest that people edit."""

import errno
import re
from collections import Counter
from dataclasses import replace

import pytest

import zoo
from zoo._registry import manifest, manifest_file, packaged
from zoo._registry.entry import FrozenMapping, Input, Photos, Weights

COMMIT = "0123456789" * 4
SHA = "0123456789abcdef" * 4
ENTRY = zoo.Entry(
    "net",
    num_params=7,
    family="cnn",
    config=FrozenMapping({"channels": [1, 2]}),
    inputs=(Input("images", (1, 28, 28, 1), "float32"),),
    weights=Weights(SHA, size=9, file="a.safetensors", repo="owner/name", revision=COMMIT),
    license="MIT",
    source="here",
)
BLOCK = f"""  net:
    family: cnn
    config: {{channels: [1, 2]}}
    inputs: [{{name: images, shape: [1, 28, 28, 1], dtype: float32}}]
    num_params: 7
    weights: {{repo: owner/name, revision: {COMMIT}, file: a.safetensors, sha256: {SHA}, size: 9}}
    license: MIT
    source: here
"""
OTHER = BLOCK.partition("\n")[2]
SHEET = f"""# A head.
models:

  # About a.
  a:
{OTHER}    # At its end.

  # About net10.
  net10:  # beside
{OTHER}
  # About the first mlp.
  mine:
{OTHER.replace("cnn", "mlp").replace("channels: [1, 2]", "")}# A foot.
model_types: {{}}
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights_manifest.yaml"


def without(content: str, name: str) -> tuple[str, str]:
    """The text without a model's block, and the block."""
    block = re.findall(rf"^  {re.escape(name)}:\n(?:    .*\n)+", content, re.MULTILINE)[-1]
    return content.replace(block, "", 1), block


def test_a_model_goes_to_its_place_and_nothing_else_changes(path):
    path.write_text(SHEET)
    assert manifest_file.add(path, replace(ENTRY, name="net9")) == BLOCK.replace("net:", "net9:")
    content = path.read_text()
    assert "    # At its end.\n  net9:\n" in content
    assert without(content, "net9")[0] == SHEET
    assert [*manifest.read(path).models] == ["a", "net9", "net10", "mine"]


def test_a_family_that_is_new_is_set_apart_and_a_first_model_stands_above_comments(path):
    path.write_text(SHEET)
    manifest_file.add(path, replace(ENTRY, name="first"))
    manifest_file.add(path, replace(ENTRY, name="a0", family="bert"))
    manifest_file.add(path, replace(ENTRY, name="all", family="mlp", config=FrozenMapping()))
    manifest_file.add(path, replace(ENTRY, name="last", family="vit"))
    content = path.read_text()
    assert "models:\n\n  a0:\n" in content
    assert "  all:\n" in content.partition("  # About the first mlp.")[0]
    assert content.index("# A foot.") > content.index("  last:\n")
    assert [*manifest.read(path).models] == ["a0", "a", "first", "net10", "all", "mine", "last"]


def test_every_model_of_the_zoo_goes_back_to_where_it_was(path):
    content, known = packaged.manifest_path().read_text(), manifest.read(packaged.manifest_path())
    plain = [name for name in known.models if f"  {name}:\n" in content]
    plain = [name for name in plain if not re.search(r"tags:|#|\n      ", without(content, name)[1])]
    # A family's defaults cannot be without a model.
    counts = Counter(entry.family for entry in known.models.values())
    plain = [name for name in plain if counts[known.models[name].family] > 1]
    assert len(plain) > 30
    for name in plain[::4]:
        rest, block = without(content, name)
        path.write_text(rest)
        more = manifest_file.extended(path, known.models[name]).decode()
        written = {*without(more, name)[1].splitlines()} ^ {*block.splitlines()}
        assert all(line.startswith("    metrics: ") for line in written)  # 0.9960 is 0.996 now
        assert without(more, name)[0].split() == rest.split()
        assert [line for line in more.splitlines() if line.startswith("  ") and line[2] != " "] == [
            line for line in content.splitlines() if line.startswith("  ") and line[2] != " "
        ]


def test_a_tag_goes_below_those_of_its_model(path):
    path.write_text(SHEET)
    other = replace(ENTRY.weights, file="b.safetensors")
    first = replace(ENTRY, name="a.b.c", weights=other, paper="https://arxiv.org/abs/1")
    place = f"{{repo: owner/name, revision: {COMMIT}, file: b.safetensors, sha256: {SHA}, size: 9}}"
    block = f"      b.c:\n        weights: {place}\n        paper: https://arxiv.org/abs/1\n"
    assert manifest_file.add(path, first, dry_run=True) == f"    tags:\n{block}"
    assert path.read_text() == SHEET
    assert manifest_file.add(path, first) == f"    tags:\n{block}"
    assert manifest_file.add(path, replace(first, name="a.d", paper=None)) == (
        f"      d:\n        weights: {place}\n"
    )
    assert (
        path.read_text().replace("    tags:\n" + block + f"      d:\n        weights: {place}\n", "") == SHEET
    )
    models = manifest.read(path).models
    assert [*models] == ["a", "a.b.c", "a.d", "net10", "mine"]
    assert models["a.b.c"] == first


def test_a_tag_states_what_is_of_another_tag(path):
    tags = f"    default: old\n    tags:\n      old:\n        weights: {{file: a, sha256: {SHA}, size: 9}}\n"
    more = "        layout: torch\n        source: there\n        config: {channels: [3, 4]}\n    paper: https://a.b\n"
    path.write_text(f"models:\n  a:\n{tags}{more}" + re.sub("    weights.*\n", "", OTHER) + "  b:\n" + OTHER)
    known = manifest.read(path).models
    entry = replace(known["a"], name="a.new", layout=None)
    assert manifest_file.add(path, entry).startswith(
        "      new:\n        config: {channels: [3, 4]}\n        weights: {file: a"
    )
    assert {**manifest.read(path).models} == {**known, "a.new": entry}
    assert path.read_text().index("      new:") < path.read_text().index("    paper:")


def test_what_a_family_has_by_default_is_left_out(path):
    defaults = """families:
  cnn:
    inputs: [{name: images, shape: [1, 28, 28, 1], dtype: float32}]
    layout: torch
    paper: https://arxiv.org/abs/1
    classes: mnist
"""
    path.write_text(f"{defaults}models:\n  other:\n{OTHER}")
    block = manifest_file.add(path, replace(ENTRY, layout="torch"))
    assert "inputs" not in block
    assert "layout" not in block
    assert block.endswith("    source: here\n    paper: null\n    classes: null\n")
    assert manifest.read(path).models["net"] == replace(ENTRY, layout="torch")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "7"},
        {"source": "a: b, {c} # d"},
        {"source": 'say "it"'},
        {"source": "null"},
        {"weights": Weights("12345678", url="https://example.org/a-12345678.pth")},
        {"weights": Weights("1" * 64, url="https://example.org/a.pth?x=1&y=2")},
        {"metrics": FrozenMapping({"a": 1e-05, "b": 1.5e30})},
        {"config": FrozenMapping({"a": {"b": [None, True, "no", "1e3"]}})},
        {"preprocess": Photos(resize=4, crop=3, interpolation="bicubic")},
        {"labels": ("a, b", "c")},
    ],
    ids=str,
)
def test_an_entry_is_read_back_as_it_was(path, changes):
    entry = replace(ENTRY, **changes)
    manifest_file.add(path, entry)
    assert manifest.read(path).models[entry.name] == entry


def test_a_manifest_with_defaults_gets_a_pasted_block_right(use_manifest, path):
    use_manifest(f"families:\n  cnn: {{classes: cifar10, license: MIT}}\nmodels:\n  other:\n{OTHER}")
    block = manifest_file.block(ENTRY)
    assert "    license: MIT\n" in block
    assert "    classes: null\n" in block
    path.write_text(f"models:\n{block}")
    assert manifest.read(path).models["net"] == ENTRY


REFUSED = {
    "taken": ({"name": "a"}, "has a model 'a' already"),
    "a tag of another model": (
        {"name": "a.b", "num_params": 8, "labels": ("a",)},
        "'a.b' is the name of a tag of 'a', and differs from it in labels, num_params; choose another name",
    ),
    "malformed": ({"name": "A"}, "^the name: expected a lower-case name, found 'A'"),
    "two problems": (
        {"family": "A", "license": ""},
        r"does not take the entry:\n  models.net.family.*\n  models.net.license",
    ),
    "not as YAML": ({"config": FrozenMapping({"a": float("nan")})}, "would be another one"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_does_not_go_in_leaves_the_file_as_it_was(path, changes, message):
    path.write_text(SHEET)
    with pytest.raises(zoo.ManifestError, match=message):
        manifest_file.add(path, replace(ENTRY, **changes))
    assert path.read_text() == SHEET


def test_a_broken_manifest_and_a_full_disk_leave_the_file_as_it_was(path, monkeypatch):
    path.write_text(SHEET.replace("MIT", "[]"))
    with pytest.raises(zoo.ManifestError, match=r"breaks its schema:\n  models.a.license"):
        manifest_file.add(path, ENTRY)
    path.write_text(SHEET)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(zoo.ManifestError, match="No space left"):
        manifest_file.add(path, ENTRY)
    assert path.read_text() == SHEET
    assert [*path.parent.iterdir()] == [path]


def test_an_installed_package_has_nothing_to_edit(tmp_path, monkeypatch):
    assert manifest_file.editable().name == "weights_manifest.yaml"
    package = tmp_path / "zoo"
    package.mkdir()
    (package / "manifest.json").touch()
    monkeypatch.setattr(packaged, "PACKAGE", package)
    with pytest.raises(
        zoo.ManifestError, match=r"is compiled, and cannot be edited.*work in a checkout, or name a YAML file"
    ):
        manifest_file.editable()

"""Defaults of a family, which its entries need not say again."""

import pytest

import zoo
from tests.zoo.registry.manifests import HEAD, HUB, MORE
from zoo._registry import entry as _entry
from zoo._registry import manifest

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

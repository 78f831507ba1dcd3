"""All problems of a manifest at once; each alone is a case of test_manifest.py."""

import itertools
import json
import re

import pytest

import zoo
from tests.zoo.registry.manifests import COMMIT, FILE, HEAD, MORE, SHA, TAGS, URL
from zoo._registry import manifest

ENTRY = {
    "family": "cnn",
    "config": {},
    "inputs": [{"name": "images", "shape": [1, 28, 28, 1], "dtype": "float32"}],
    "num_params": 7,
    "license": "MIT",
    "source": "here",
    "weights": {"file": "a.safetensors", "repo": "a/b", "revision": COMMIT, "sha256": SHA},
}
WRONG = {
    "family": "CNN",
    "config": [],
    "inputs[0].shape[1]": "x",
    "inputs[0].dtype": "float31",
    "num_params": -1,
    "license": "",
    "source": None,
    "layout": "A B",
    "paper": "arxiv",
    "metrics.accuracy": "best",
    "preprocess.crop": 0,
    "odd": 1,
    "weights.file": "../a",
    "weights.repo": "https://huggingface.co/a/b",
    "weights.revision": "0123456",
    "weights.sha256": SHA.upper(),
    "weights.size": "9",
    "weights.odd": 1,
}


def spoilt(fields) -> str:
    """A manifest whose model has the wrong values of these fields."""
    entry = json.loads(json.dumps(ENTRY))
    for field in fields:
        place, *path = re.findall(r"\w+", field)[::-1]
        holder = entry
        for part in path[::-1]:
            empty = {"resize": 9, "interpolation": "bicubic"} if part == "preprocess" else {}
            holder = holder[int(part)] if part.isdecimal() else holder.setdefault(part, empty)
        holder[int(place) if place.isdecimal() else place] = WRONG[field]
    return json.dumps({"models": {"net": entry}})


@pytest.mark.parametrize("count", [1, 2, len(WRONG)])
def test_however_many_problems_there_are_each_is_listed_with_its_path(count, tmp_path):
    path = tmp_path / "weights_manifest.yaml"
    for fields in itertools.combinations(WRONG, count):
        path.write_text(spoilt(fields))
        with pytest.raises(zoo.ManifestError) as caught:
            manifest.read(path)
        lines = str(caught.value).splitlines()[1:]
        assert sorted(line.split(": ")[0].strip() for line in lines) == sorted(
            f"models.net.{field}" for field in fields
        )


def test_a_problem_of_one_field_does_not_hide_what_others_have_together(tmp_path):
    path = tmp_path / "weights_manifest.yaml"
    tagged = TAGS.replace(FILE, "file: a.safetensors, sha256: 12", 1)
    path.write_text(
        HEAD.replace("license: MIT", "licence: MIT")
        + MORE("layout: torch")
        + MORE("preprocess: {resize: 3, crop: 4, interpolation: odd}")
        + HEAD.replace("models:\n  net:", "  other:")
        + MORE(f"weights: {{{URL}, file: a, sha256: 1}}")
        + MORE("default: odd")
        + tagged.replace("    default: old\n", "")
        + HEAD.replace("models:\n  net:", "  other.new:").replace("cnn", "CNN")
    )
    with pytest.raises(zoo.ManifestError) as caught:
        manifest.read(path)
    assert sorted(line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]) == [
        "models.net.layout",
        "models.net.licence",
        "models.net.license",
        "models.net.preprocess.crop",
        "models.net.preprocess.interpolation",
        "models.other.new",
        "models.other.new.family",
        "models.other.tags.old.weights.sha256",
        "models.other.tags.old.weights.size",
        "models.other.weights",
        "models.other.weights.sha256",
    ]

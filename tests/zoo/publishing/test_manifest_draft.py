"""`zoo manifest add`: entries of files that others have published, on the loopback Hub."""

import hashlib
import io
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import safetensors.numpy

import converters
import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.hub.conftest import directory, files, flax, mlp, pth
from tests.zoo.loading.test_transformers_config import GPT2, agrees, write
from tests.zoo.publishing.conftest import cache, hub
from zoo._loading import transformers_config
from zoo._registry import manifest
from zoo.cli.app import app

__all__ = ["cache", "directory", "files", "flax", "hub", "mlp", "pth"]

SHEET = """# A head.
families:
  gpt2:
    inputs: [{name: input_ids, shape: [1, 16], dtype: int32}]
    paper: https://arxiv.org/abs/1
models:
  # About it.
  gpt2:
    family: gpt2
    config: {}
    num_params: 124439808
    license: MIT
    source: here
model_types: {gpt2: gpt2}
"""
CARD = """---
license: apache-2.0
datasets: [openwebtext]
model-index:
- name: gpt2
  results:
  - task: {type: text-generation}
    dataset: {name: WikiText, type: Salesforce/wikitext, config: wikitext-2, split: validation}
    metrics: [{type: perplexity, value: 29.41}, {type: comment, value: fine}]
---
# It

See https://arxiv.org/abs/2301.00001v2 and arxiv.org/pdf/2301.00001.
"""


@pytest.fixture
def sheet(tmp_path):
    path = tmp_path / "sheet.yaml"
    path.write_text(SHEET)
    return path


@pytest.fixture
def run(capsys, sheet, monkeypatch):
    """Runs the verb on the sheet, with nobody at the terminal."""
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def run(*arguments, code=0):
        before = sheet.read_text()
        with pytest.raises(SystemExit) as caught:
            app(["manifest", "add", *map(str, arguments), "--manifest", str(sheet)], prog_name="zoo")
        result = SimpleNamespace(**dict(zip(("out", "err"), capsys.readouterr(), strict=True)))
        assert caught.value.code == code, result
        assert not code or sheet.read_text() == before
        return result

    return run


@pytest.fixture(scope="module")
def twin():
    return randomise(text_models.gpt2()).float().eval()


@pytest.fixture(scope="module")
def gpt2(twin, tmp_path_factory) -> dict[str, bytes]:
    """The files of a repository in the layout of transformers."""
    directory = write(tmp_path_factory.mktemp("written") / "gpt2", GPT2, state_dict(twin))
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def net(files, pth, monkeypatch) -> str:
    """The address of an MLP's PyTorch file, whose name carries the first digits of its hash."""
    monkeypatch.setattr("zoo.mlp.TORCH_NAMES", {"torch": ()}, raising=False)
    path = f"/models/net-{pth.sha256[:8]}.pth"
    files.files[path] = pth.content
    return files.url + path


def test_a_repository_in_transformers_layout(run, hub, sheet, gpt2, twin, use_manifest):
    commit = hub.commit("someone/gpt2", {**gpt2, "README.md": CARD.encode()})
    done = run("small", "hf://someone/gpt2")
    before, after = SHEET.split("model_types")
    assert sheet.read_text() == f"{before}{done.out}model_types{after}"
    digest, size = hashlib.sha256(gpt2["model.safetensors"]).hexdigest(), len(gpt2["model.safetensors"])
    file = f"file: model.safetensors, sha256: {digest}, size: {size}"
    assert (
        done.out
        == f"""  small:
    family: gpt2
    config: {{vocab_size: 50, max_length: 40, width: 24, depth: 2, heads: 3}}
    num_params: {sum(each.numel() for each in twin.parameters())}
    weights: {{repo: someone/gpt2, revision: {commit}, {file}}}
    layout: transformers
    license: Apache-2.0
    source: https://huggingface.co/someone/gpt2
    paper: https://arxiv.org/abs/2301.00001
    metrics: {{wikitext_wikitext_2_val_perplexity: 29.41}}
"""
    )
    assert "zoo: a metric of the card is left out" in done.err
    use_manifest(sheet.read_text())
    assert agrees(zoo.load("small", pretrained=True), twin)


def test_a_repository_of_several_files(run, hub, sheet, twin, tmp_path, use_manifest):
    directory = write(tmp_path / "gpt2", GPT2, state_dict(twin), 3)
    hub.commit("someone/large", {path.name: path.read_bytes() for path in directory.iterdir()})
    run("small", "hf://someone/large", "--license", "MIT")
    entry = manifest.read(sheet).models["small"]
    index = (directory / "model.safetensors.index.json").read_bytes()
    assert entry.weights.file == "model.safetensors.index.json"
    assert (entry.weights.sha256, entry.weights.size) == (hashlib.sha256(index).hexdigest(), len(index))
    use_manifest(sheet.read_text())
    assert agrees(zoo.load("small", pretrained=True), twin)


def test_a_classifier_of_photos_has_preprocessing_and_classes(run, hub, sheet):
    names = zoo.Entry("it", 0, classes="imagenet1k").class_names
    sizes = {"image_size": 32, "patch_size": 16, "hidden_size": 8, "intermediate_size": 32}
    config = {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        **sizes,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "id2label": {index: f"{name}, or so" for index, name in enumerate(names)},
    }
    written = transformers_config.entry("it", json.dumps(config).encode(), lambda file: None)
    module = zoo.vit.create(**written.config)
    images = np.zeros((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    tensors = converters.to_torch(variables, module, images, names=zoo.vit.TORCH_NAMES["transformers"])
    processor = {"image_processor_type": "ViTImageProcessor", "size": 32, "resample": 3}
    hub.commit(
        "someone/vit",
        {
            "config.json": json.dumps(config).encode(),
            "model.safetensors": safetensors.numpy.save(tensors),
            "preprocessor_config.json": json.dumps(processor).encode(),
        },
    )
    run("small", "hf://someone/vit", "--license", "MIT")
    entry = manifest.read(sheet).models["small"]
    assert (entry.classes, entry.labels, entry.layout) == ("imagenet1k", (), "transformers")
    assert entry.preprocess == zoo.info("hf://someone/vit").preprocess
    assert entry.preprocess.interpolation == "bicubic"


def test_a_url(run, net, pth, sheet, use_manifest):
    done = run("net", net, "--license", "MIT", "--score", "mnist_test_accuracy=0.5", "--source", "me")
    entry = manifest.read(sheet).models["net"]
    assert (entry.family, entry.config, entry.num_params) == ("mlp", {}, 101770)
    assert (entry.weights.url, entry.weights.sha256, entry.weights.size) == (
        net,
        pth.sha256,
        len(pth.content),
    )
    assert (entry.license, entry.source, entry.metrics) == ("MIT", "me", {"mnist_test_accuracy": 0.5})
    assert "config and inputs are those of 'mlp_mnist'" in done.err
    assert "no preprocessing is known" in done.err
    use_manifest(sheet.read_text())
    assert pth.loads()


def test_a_dry_run_prints_the_entry_only(run, net, sheet):
    done = run("net", net, "--license", "MIT", "--dry-run", "--like", "gpt2", code=1)
    assert "missing" in done.err
    done = run("net", net, "--license", "MIT", "--dry-run")
    assert done.out.startswith("  net:\n    family: mlp\n")
    assert sheet.read_text() == SHEET


def test_what_zoo_save_wrote_keeps_its_facts(run, hub, directory, flax, sheet):
    content = {path.name: path.read_bytes() for path in directory.iterdir()}
    commit = hub.commit("someone/net", content)
    run("net", "hf://someone/net@main", "--license", "MIT")
    entry = manifest.read(sheet).models["net"]
    assert (entry.family, entry.layout, entry.weights.revision) == ("mlp", None, commit)
    assert (entry.weights.sha256, entry.weights.size) == (flax.sha256, len(flax.content))


def test_a_repository_with_another_config_is_recognized_by_its_tensors(run, hub, net, pth, sheet):
    hub.commit("someone/net", {"config.json": b'{"architecture": "net"}', "net.bin": pth.content})
    hub.commit("someone/plain", {"pytorch_model.bin": pth.content})
    refused = run("net", "hf://someone/net", "--license", "MIT", code=1)
    assert "'hf://someone/net' has none of model.safetensors" in refused.err
    run("net", "hf://someone/net", "--license", "MIT", "--file", "net.bin")
    entry = manifest.read(sheet).models["net"]
    # A small file's hash on the Hub is git's.
    assert (entry.weights.file, entry.weights.sha256) == ("net.bin", pth.sha256)
    run("plain", "hf://someone/plain", "--license", "MIT")
    assert manifest.read(sheet).models["plain"].weights.file == "pytorch_model.bin"


def test_what_the_zoo_lacks_is_refused_though_the_tensors_fit(run, hub, gpt2):
    config = json.dumps({**GPT2, "attn_pdrop": 0.1, "rope_theta": 3}).encode()
    hub.commit("someone/gpt2", {**gpt2, "config.json": config})
    for more in ([], ["--like", "gpt2"]):
        refused = run("small", "hf://someone/gpt2", "--license", "MIT", *more, code=1)
        assert "rope_theta: 3" in refused.err


def test_a_model_like_another_has_its_preprocessing_and_classes(run, net, sheet):
    sheet.write_text(
        SHEET.replace(
            "model_types",
            "  mine:\n    family: mlp\n    config: {}\n    num_params: 101770\n"
            "    license: BSD\n    source: me\n"
            "    inputs: [{name: images, shape: [1, 28, 28, 1], dtype: float32}]\n"
            "    preprocess: {ink: light}\n    classes: cifar10\nmodel_types",
        )
    )
    assert run("net", net, "--license", "MIT", "--like", "mine").out.endswith(
        "    preprocess: {ink: light}\n    classes: cifar10\n"
    )
    tag = run("mine.new", net, "--license", "MIT").out.splitlines()
    assert tag[:2] == ["    tags:", "      new:"]
    assert tag[3:] == ["        layout: torch", "        license: MIT", f"        source: {net}"]
    assert manifest.read(sheet).models["mine.new"].classes == "cifar10"
    sheet.write_text(sheet.read_text().replace("cifar10", "dogs"))
    refused = run("other", net, "--license", "MIT", "--like", "mine", code=1)
    assert "makes no right entry: classes: there is no file" in refused.err
    refused = run("other", net, "--license", "MIT", "--like", "gpt2", code=1)
    assert "missing" in refused.err


@pytest.mark.parametrize(
    ("answers", "license_", "metrics"),
    [("MIT\n\n", "MIT", {}), ("MIT\na_test_b=1 c=0.5\n", "MIT", {"a_test_b": 1, "c": 0.5})],
)
def test_a_person_is_asked(run, net, sheet, monkeypatch, answers, license_, metrics):
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    monkeypatch.setattr("zoo.cli.manifest.is_terminal", lambda stream: True)
    done = run("net", net)
    assert "License of the weights" in done.err
    entry = manifest.read(sheet).models["net"]
    assert (entry.license, entry.metrics) == (license_, metrics)


def test_a_family_without_layouts_takes_no_file_of_pytorch(run, files, pth):
    files.files["/net.pth"] = pth.content
    refused = run("net", f"{files.url}/net.pth", "--license", "MIT", code=1)
    assert "family 'mlp' names no layout of PyTorch files" in refused.err


REFUSED = {
    "no such repository": (["net", "hf://no/body", "--license", "MIT"], "there is no repository 'no/body'"),
    "no such address": (["net", "URL/missing.pth", "--license", "MIT"], "cannot be fetched"),
    "a password": (["net", "https://a:b@example.org/a.pth"], "the URL: expected an https"),
    "neither": (["net", "someone/net"], "is no published file; write 'hf://owner/name', or the URL"),
    "a name that is there": (["gpt2", "NET"], "has a model 'gpt2' already"),
    "a name in capitals": (["Net", "NET"], "expected a lower-case name, found 'Net'"),
    "a tag of another architecture": (["gpt2.new", "NET", "--license", "MIT"], "missing"),
    "license unknown": (["net", "NET"], "does not state its license; pass --license"),
    "an unknown model": (["net", "NET", "--like", "gpt3"], "the manifest has no model 'gpt3'"),
    "not recognized": (
        ["net", "ODD", "--license", "MIT"],
        "is not recognized: no entry of the manifest fits",
    ),
    "no checkpoint": (["net", "TEXT", "--license", "MIT"], "is a text, not a checkpoint"),
    "another file": (["net", "WRONG", "--license", "MIT"], "expected 01234567"),
    "a metric without a value": (["net", "NET", "--score", "a"], "'a' is no metric; expected NAME=VALUE"),
    "a metric that is no name": (
        ["net", "NET", "--license", "MIT", "--score", "A B=1"],
        "does not take the entry:\n  models.net.metrics",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_leaves_the_manifest_as_it_was(run, hub, files, net, tmp_path, arguments, message):
    converters.write_checkpoint({"odd": np.zeros((3, 5), np.float32)}, tmp_path / "odd.pth")
    files.files["/odd.pth"] = (tmp_path / "odd.pth").read_bytes()
    files.files["/text.pth"] = b"text, and not a checkpoint"
    files.files["/net-01234567.pth"] = files.files["/odd.pth"]
    places = {
        "NET": net,
        "ODD": f"{files.url}/odd.pth",
        "TEXT": f"{files.url}/text.pth",
        "WRONG": f"{files.url}/net-01234567.pth",
    }
    done = run(*(places.get(each, each.replace("URL", files.url)) for each in arguments), code=1)
    assert message in done.err
    assert done.out == ""

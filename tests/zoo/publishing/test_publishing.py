import hashlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import converters
import zoo
from tests.zoo.hub.conftest import ENTRY
from tests.zoo.publishing.conftest import FILES, INPUTS, OLD, REPO, TOKEN, Net, same
from zoo._publishing.plan import Request
from zoo._publishing.publish import run
from zoo._publishing.stage import StageOptions
from zoo._registry import manifest as _manifest
from zoo._saving import shards as _shards
from zoo._saving.verify import verify, write_golden
from zoo._variables.tree import flatten

BUNDLED = ("vae_mnist", "resnet20_cifar10", "gpt_shakespeare")
LOAD = """
import hashlib, sys, zoo
from zoo._variables.tree import flatten
from tests.zoo.hub.conftest import ENTRY
from tests.zoo.publishing.conftest import Net

for name in sys.argv[1:]:
    module = {} if "-" in name else {"module": Net()}
    flat = flatten(zoo.load(name, pretrained=True, **module).variables)
    print(hashlib.sha256(b"".join(flat[path].tobytes() for path in sorted(flat))).hexdigest())
"""


def digest(model: zoo.Model) -> str:
    flat = flatten(model.variables)
    return hashlib.sha256(b"".join(np.asarray(flat[path]).tobytes() for path in sorted(flat))).hexdigest()


def test_what_was_published_loads_in_another_process_with_an_empty_cache(hub, owner, publish, net, tmp_path):
    repos = {f"you/{name.replace('_', '-')}": name for name in BUNDLED}
    for repo, name in repos.items():
        publish(name, repo, create=True, license=None)
    publish(create=True, inputs=INPUTS)
    names = [f"hf://{repo}" for repo in (*repos, REPO)]
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *names], env=environment, capture_output=True, text=True
    )
    models = [zoo.load(name, pretrained=True) for name in BUNDLED] + [net]
    assert done.stdout.split() == [digest(model) for model in models], done.stderr
    for repo, name in repos.items():
        found = verify(f"hf://{repo}")
        assert found.difference <= 1e-12
        assert found.sha256 == zoo.info(name).weights.sha256
        assert zoo.info(f"hf://{repo}").metrics == zoo.info(name).metrics
    text = "To be, or not to be"
    own, published = (zoo.tokenizer(each) for each in ("gpt_shakespeare", "hf://you/gpt-shakespeare"))
    assert published.encode(text).ids == own.encode(text).ids


def test_the_repository_gets_an_explicit_list_of_files(hub, owner, publish, tmp_path):
    zoo.save(zoo.load("mlp_mnist", hidden=[4]), tmp_path / "net")
    for name in ("optimizer.pkl", "README.md", ".hidden"):
        (tmp_path / "net" / name).write_bytes(b"\x80\x04")
    os.mkfifo(tmp_path / "net" / "pipe")
    (tmp_path / "net" / "nowhere.safetensors").symlink_to("nothing")
    (tmp_path / "net" / "checkpoints").mkdir()
    publish(tmp_path / "net", create=True, torch=True)
    assert set(hub.head(REPO)) == {*FILES, "golden.safetensors", "pytorch_model.safetensors"}
    assert not any(content.startswith(b"\x80") for content in hub.head(REPO).values())
    (tmp_path / "torch.safetensors").write_bytes(hub.head(REPO)["pytorch_model.safetensors"])
    model = zoo.load(f"hf://{REPO}", pretrained=True)
    tensors = converters.read_checkpoint(tmp_path / "torch.safetensors")
    assert same(model, model.replace(variables=converters.convert(tensors, model.module, *images())))
    assert verify(f"hf://{REPO}").made_by == f"jax {jax.__version__}"


def images() -> list[np.ndarray]:
    return [np.zeros((1, 28, 28, 1), np.float32)]


def test_one_commit_follows_the_one_that_was_looked_at(hub, old, publish):
    commit = publish(force=True, message="Better", tag="v1")
    repository = hub.repositories[REPO]
    assert list(repository.log) == [old, commit]
    assert repository.log[commit][0] == "Better"
    assert repository.refs == {"main": commit, "v1": commit}
    (body,) = [asked.body for asked in hub.asked if "/commit/" in asked.path]
    assert json.loads(body.splitlines()[0])["value"]["parentCommit"] == old
    assert repository.commits[old] == OLD
    assert hub.count("PUT", "/upload/") == 1  # by the protocol of Git LFS, whatever the client has besides


def test_publishing_again_changes_nothing(hub, owner, publish):
    commit = publish(create=True)
    uploads = hub.count("PUT")
    assert publish() == commit
    assert publish(tag="v1") == publish(tag="v1") == commit
    assert (hub.count("PUT"), hub.count("POST", "/commit/")) == (uploads, 1)


def test_what_is_new_beside_the_same_files_needs_no_force(hub, owner, publish):
    first = publish(create=True, inputs=INPUTS)
    assert publish(inputs=INPUTS, torch=True) != first
    assert "pytorch_model.safetensors" in hub.head(REPO)


def test_the_plan_is_shown_before_anything_is_sent(hub, old, publish):
    seen = []

    def review(plan):
        seen.append(plan)
        assert {asked.method for asked in hub.asked if "validate" not in asked.path} == {"GET"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(force=True, review=review)
    (plan,) = seen
    assert (plan.url, plan.private, plan.creates, plan.head) == (f"{hub.url}/{REPO}", True, False, old)
    assert plan.paths("changed") == ("README.md", "model.safetensors")
    assert (plan.paths("added"), plan.paths("removed")) == (("config.json",), ("extra.txt",))
    assert hub.head(REPO) == OLD


def test_what_is_published_is_a_private_copy(hub, owner, publish, net, cache, tmp_path):
    zoo.save(net, tmp_path / "net", inputs=INPUTS)

    def review(plan):
        (tmp_path / "net" / "model.safetensors").write_bytes(b"changed meanwhile")
        (stage,) = (cache / "zoo" / "staging").iterdir()
        assert stage.stat().st_mode & 0o77 == 0

    publish(tmp_path / "net", create=True, module=Net(), review=review)
    assert same(zoo.load(f"hf://{REPO}", pretrained=True, module=Net()), net)


def test_a_directory_whose_weights_were_changed_is_refused(hub, owner, publish, net, tmp_path):
    zoo.save(net, tmp_path / "net", inputs=INPUTS)
    content = (tmp_path / "net" / "model.safetensors").read_bytes()
    for wrong in (content[:-1] + b"x", b""):
        (tmp_path / "net" / "model.safetensors").write_bytes(wrong)
        with pytest.raises(zoo.WeightsError, match=r"model\.safetensors"):
            publish(tmp_path / "net", create=True, module=Net())
    assert hub.repositories == {}


def test_weights_that_compute_something_else_than_their_golden_file_are_refused(
    hub, owner, publish, tmp_path
):
    zoo.save(zoo.load("mlp_mnist", hidden=[4]), tmp_path / "net")
    calls = {"__call__": (images(), [np.ones((1, 10))])}
    write_golden(tmp_path / "net" / "golden.safetensors", calls)
    with pytest.raises(zoo.WeightsError, match="other weights, or this machine computes wrongly"):
        publish(tmp_path / "net", create=True)
    assert hub.repositories == {}


def test_a_public_repository_for_everybody(hub, owner, publish, net, monkeypatch):
    publish(create=True, private=False)
    assert hub.repositories[REPO].private is False
    monkeypatch.delenv("HF_TOKEN")
    assert same(zoo.load(f"hf://{REPO}", pretrained=True, module=Net()), net)


@pytest.mark.parametrize("scope", ["you", REPO])
def test_a_fine_grained_token_needs_the_right_and_no_more(scope, hub, old, publish):
    hub.member(TOKEN, "you", role="fineGrained", scopes={scope: ["repo.content.read", "repo.write"]})
    assert publish(force=True) == hub.repositories[REPO].refs["main"]


def test_an_organisation_that_one_may_write_in(hub, owner, publish):
    hub.member(TOKEN, "me", orgs={"you": "write"})
    publish(create=True)


def test_weights_in_shards_come_back(hub, owner, publish, net, monkeypatch):
    monkeypatch.setattr(_shards, "LARGEST", 64)
    publish(create=True, inputs=INPUTS)
    shards = {path for path in hub.head(REPO) if path.startswith("model-0000")}
    assert len(shards) > 1
    assert {"model.safetensors.index.json"} == set(hub.head(REPO)) - shards - FILES - {"golden.safetensors"}
    assert same(zoo.load(f"hf://{REPO}", pretrained=True, module=Net()), net)


def test_modules_without_reference_outputs_say_so(hub, owner, publish):
    plans = []
    publish(create=True, review=plans.append)
    publish(repo="you/other", inputs=[np.zeros((1, 3), np.int32)], create=True, review=plans.append)
    assert plans[0].notes == ("no reference outputs: pass inputs= to have some",)
    assert plans[1].paths("added") == ("README.md", "config.json", "golden.safetensors", "model.safetensors")


def test_converted_weights_say_where_they_are_from(hub, owner, publish, tmp_path, use_manifest, monkeypatch):
    monkeypatch.setattr("zoo.mlp.TORCH_NAMES", {"torch": ()}, raising=False)
    content = mlp_tensors(tmp_path)
    revision, sha256 = (
        hub.commit("someone/net", {"model.safetensors": content}),
        hashlib.sha256(content).hexdigest(),
    )
    weights = f"repo: someone/net, revision: {revision}, file: model.safetensors, sha256: {sha256}"
    extra = "layout: torch\n    metrics: {mnist_test_accuracy: 0.5}"
    use_manifest(ENTRY.format(weights=weights, layout=extra))
    publish("net", create=True, license=None)
    card = hub.head(REPO)["README.md"].decode()
    assert "base_model: someone/net" in card
    assert f"`someone/net@{revision}: model.safetensors`, sha256 `{sha256}`" in card
    assert zoo.info(f"hf://{REPO}").metrics == {"mnist_test_accuracy": 0.5}


def mlp_tensors(directory) -> bytes:
    model = zoo.load("mlp_mnist", seed=1)
    state_dict = converters.to_torch(model.variables, model.module, *images())
    converters.write_checkpoint(state_dict, directory / "mlp.safetensors")
    return (directory / "mlp.safetensors").read_bytes()


def test_a_directory_gets_its_inputs_when_it_is_published(hub, owner, publish, net, tmp_path):
    zoo.save(net, tmp_path / "net")
    publish(tmp_path / "net", create=True, module=Net(), inputs=INPUTS, torch=True)
    assert zoo.info(f"hf://{REPO}").inputs[0].shape == (1, 3)
    assert "golden.safetensors" in hub.head(REPO)
    with pytest.raises(zoo.PublishError, match="needs the inputs of 'Net'; pass inputs="):
        publish(net, "you/other", create=True, torch=True)
    assert "you/other" not in hub.repositories


def test_a_tokenizer_beside_the_weights_goes_along(hub, owner, publish, tmp_path):
    zoo.save(zoo.load("mlp_mnist", hidden=[4]), tmp_path / "net")
    (tmp_path / "net" / "tokenizer.json").write_text("{}")
    publish(tmp_path / "net", create=True)
    assert hub.head(REPO)["tokenizer.json"] == b"{}"


def test_metrics_of_other_weights_are_not_published(hub, owner, publish):
    model = zoo.load("mlp_mnist", pretrained=True)
    other = model.replace(variables=jax.tree.map(lambda leaf: leaf + 1, model.variables))
    publish(other, create=True)
    assert zoo.info(f"hf://{REPO}").metrics == {}
    assert "model-index" not in hub.head(REPO)["README.md"].decode()


def test_the_manifest_gets_the_entry(hub, owner, tmp_path):
    manifest = tmp_path / "models.yaml"
    manifest.write_text("# mine\nmodels: {}\n")
    options, request = StageOptions(), Request(repo=REPO, create=True, manifest=manifest)
    with pytest.raises(zoo.PublishError, match=r"models.yaml' does not take the entry:\n"):
        run("mlp_mnist", request, options, lambda plan: None)
    assert hub.repositories == {}
    manifest.write_text("# mine\nmodels:\n")
    done = run("mlp_mnist", request, options, lambda plan: None)
    assert manifest.read_text() == f"# mine\nmodels:\n{done.entry}"
    entry = _manifest.read(manifest).models["net"]
    assert (entry.weights.repo, entry.weights.revision) == (REPO, done.url[-40:])
    assert entry.weights.sha256 == zoo.info("mlp_mnist").weights.sha256
    assert entry.metrics == zoo.info("mlp_mnist").metrics
    with pytest.raises(zoo.PublishError, match="has a model 'net' already"):
        run("mlp_mnist", request, options, lambda plan: None)


def test_a_model_that_is_what_its_name_loads_is_published_as_that(hub, owner, publish):
    publish(zoo.load("mlp_mnist", pretrained=True), create=True, license=None)
    entry = zoo.info(f"hf://{REPO}")
    assert (entry.weights.sha256, entry.metrics) == (
        zoo.info("mlp_mnist").weights.sha256,
        zoo.info("mlp_mnist").metrics,
    )
    assert verify(f"hf://{REPO}").made_by.startswith("PyTorch")


def test_a_disk_without_room_for_the_files_is_named(publish, old, hub, cache, monkeypatch, secrets):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(zoo.PublishError) as caught:
        publish(force=True)
    assert str(caught.value) == (
        f"the files cannot be prepared in {str(cache / 'zoo')!r}: needs 104 bytes, the disk has 10 free; "
        "make room first; ZOO_CACHE chooses another place."
    )
    secrets()

import json
import os
import re
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import zoo
from tests.support.servers import Reply, changed, flipped, rewritten, status
from tests.zoo.hub import conftest
from tests.zoo.hub.conftest import litter

NAME = "hf://someone/net"


@pytest.fixture
def commit(hub, directory):
    """A repository with what zoo.save wrote; its commit."""
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    return hub.commit("someone/net", {**files, "README.md": b"A model."})


def test_what_save_wrote_loads_from_a_repository_and_then_offline(commit, hub, flax, cache, offline):
    assert flax.loads(NAME)
    offline()
    for name in (NAME, f"{NAME}@{commit}", f"{NAME}@main"):
        assert flax.loads(name)
    assert flax.loads(NAME, revision=commit)
    assert hub.count(path="/store/") == 1
    assert [name for name in litter(cache) if "/refs/" not in name] == []


def test_the_entry_is_the_repositorys_pinned_to_its_commit(commit, directory):
    entry = zoo.info(NAME)
    assert entry.name == NAME
    assert (entry.weights.repo, entry.weights.revision) == ("someone/net", commit)
    assert entry.weights.sha256 == zoo.info(directory).weights.sha256
    assert zoo.load(NAME, pretrained=True).entry == entry
    assert zoo.load(NAME, seed=1).entry.weights is None


def test_a_revision_is_a_branch_a_tag_or_a_commit(commit, hub, flax, mlp, tmp_path):
    zoo.save(
        zoo.Model(mlp.module, jax.tree.map(lambda leaf: leaf + 1, mlp.variables), mlp.entry), tmp_path / "b"
    )
    files = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    newer = hub.commit("someone/net", files)
    hub.repositories["someone/net"].refs["v1"] = commit
    assert zoo.info(NAME).weights.revision == newer
    for name, options in ((f"{NAME}@v1", {}), (NAME, {"revision": "v1"}), (f"{NAME}@{commit}", {})):
        assert flax.loads(name, **options)
    assert not flax.loads(NAME)


def test_a_module_of_ones_own_comes_back(hub, tmp_path, cache):
    module = nn.Dense(3)
    variables = module.init(jax.random.key(0), jnp.ones((1, 4)))
    zoo.save(zoo.Model(module, variables), tmp_path / "mine", inputs=[jnp.ones((1, 4))])
    hub.commit("me/mine", {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()})
    model = zoo.load("hf://me/mine", pretrained=True, module=nn.Dense(3))
    assert jnp.array_equal(model.variables["params"]["kernel"], variables["params"]["kernel"])


def test_a_private_repository_needs_its_token(commit, hub, flax, cache):
    hub.tokens.add("hf_right")
    hub.repositories["someone/net"].private = True
    hub.repositories["someone/net"].readers.add("hf_right")
    with pytest.raises(
        zoo.WeightsError, match="cannot be looked up: there is no repository 'someone/net', or"
    ):
        zoo.load(NAME, pretrained=True)
    assert flax.loads(NAME, token="hf_right")
    assert {asked.token for asked in hub.asked if "/store/" in asked.path} == {None}


NAMES = [
    "hf://",
    "hf://net",
    "hf://a/b/c",
    "hf://a/b@",
    "hf://a/b@../../x",
    "hf://../b",
    "hf://a/b@x y",
    "hf://a b/c",
]


@pytest.mark.parametrize("name", NAMES)
def test_malformed_names_are_refused(name, hub):
    with pytest.raises(
        zoo.UnknownModelError, match=re.escape(f"{name!r} is no repository; write 'hf://owner/name'")
    ):
        zoo.load(name)
    assert hub.asked == []


def test_revisions_that_contradict_or_mean_nothing_are_refused(commit):
    with pytest.raises(zoo.ZooError, match="and revision='v2' differ; give one of them"):
        zoo.load(f"{NAME}@v1", revision="v2")
    with pytest.raises(zoo.UnknownModelError, match=r"at '\.\./x' is no repository"):
        zoo.load(NAME, revision="../x")
    with pytest.raises(
        zoo.ZooError, match="'mlp_mnist' is no repository; revision= goes with 'hf://owner/name'"
    ):
        zoo.load("mlp_mnist", revision="v1")


def test_a_repository_that_is_none_of_the_zoos_is_refused(hub):
    hub.commit("someone/odd", {"config.json": b'{"type": "bert"}'})
    with pytest.raises(zoo.ManifestError, match=r"'hf://someone/odd' was not written by zoo\.save"):
        zoo.load("hf://someone/odd")
    hub.commit("someone/empty", {"README.md": b"Soon."})
    with pytest.raises(
        zoo.WeightsError, match=r"'someone/empty' has no file 'config.json' at main; see http"
    ):
        zoo.load("hf://someone/empty")


def test_a_config_that_points_elsewhere_is_refused(hub, directory):
    config = json.loads((directory / "config.json").read_text())
    for weights in (
        {"url": "https://example.org/a.pth", "sha256": "ab" * 32},
        {"repo": "a/b", "revision": "ab" * 20, "file": "c", "sha256": "ab" * 32},
    ):
        hub.commit("someone/net", {"config.json": json.dumps(config | {"weights": weights}).encode()})
        with pytest.raises(zoo.ManifestError, match=r"expected a file beside config\.json"):
            zoo.load(NAME)


def test_a_config_too_large_is_refused_before_it_is_fetched(hub):
    hub.commit("someone/net", {"config.json": b" " * 1_000_001})
    with pytest.raises(zoo.WeightsError, match="it has 1,000,001 bytes; the limit is 1,000,000"):
        zoo.load(NAME)
    assert hub.count(path="resolve") == 0


def test_a_damaged_config_is_found_by_gits_hash_and_mended(commit, hub, flax, cache):
    hub.fault(rewritten(flipped), changed(cut=20), path="config.json")
    assert flax.loads(NAME)
    (path,) = (cache / "hub").rglob("config.json")
    path.resolve().write_bytes(b"{}")
    assert flax.loads(NAME)
    assert hub.count(path="config.json") == 4


def test_a_hub_that_is_down_is_said_and_the_cached_commit_taken(commit, hub, flax, cache):
    assert flax.loads(NAME)
    hub.fault(status(503), method="HEAD", times=99)
    with pytest.warns(
        UserWarning, match=rf"out of order \(HTTP 503\); taking {commit} from the cache"
    ) as caught:
        assert flax.loads(NAME)
    assert caught[0].filename == conftest.__file__


def test_the_environment_is_the_hubs(commit, hub, cache):
    hub.tokens.add("hf_right")
    hub.repositories["someone/net"].private = True
    hub.repositories["someone/net"].readers.add("hf_right")

    def fetch(**variables):
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache / "home"), **variables}
        command = [sys.executable, "-m", "zoo", "fetch", NAME]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout.split("\t")[0], done.stderr

    assert fetch()[2].startswith(f"zoo: {NAME!r} cannot be looked up: there is no repository 'someone/net'")
    assert fetch(HF_TOKEN="hf_right") == (0, NAME, "")
    asked = len(hub.asked)
    assert fetch(HF_HUB_OFFLINE="1") == (0, NAME, "")
    assert len(hub.asked) == asked
    assert list((cache / "home" / "hub").rglob("model.safetensors"))
    hub.fault(status(503), method="HEAD")
    code, name, error = fetch()
    assert (code, name, error.count("\n")) == (0, NAME, 1)
    assert error.startswith(
        f"zoo: {NAME!r} cannot be looked up: the server is out of order (HTTP 503); taking"
    )


def test_a_hub_that_is_down_with_nothing_cached_is_named(commit, hub):
    hub.fault(status(503), method="HEAD", times=99)
    with pytest.raises(
        zoo.WeightsError, match=r"'hf://someone/net' cannot be looked up: .* \(HTTP 503\), attempt 4 of 4"
    ):
        zoo.load(NAME)


def test_garbage_as_the_cached_branch_is_never_used(commit, hub, flax, cache, offline):
    assert flax.loads(NAME)
    (cache / "hub" / "models--someone--net" / "refs" / "main").write_text("../../garbage")
    assert flax.loads(NAME)
    (cache / "hub" / "models--someone--net" / "refs" / "main").write_bytes(b"\xff")
    offline()
    with pytest.raises(
        zoo.WeightsError, match="cannot be looked up: HF_HUB_OFFLINE is set, and the file is not in"
    ):
        zoo.load(NAME)
    assert flax.loads(f"{NAME}@{commit}")


def test_an_answer_that_is_no_commit_is_refused(commit, hub):
    hub.fault(lambda asked, reply: Reply(200, {**reply.headers, "X-Repo-Commit": "main"}), method="HEAD")
    with pytest.raises(zoo.WeightsError, match="does not answer as the Hub does; check HF_ENDPOINT"):
        zoo.load(NAME)

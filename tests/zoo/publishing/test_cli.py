import io
import json
import os
import pty
import subprocess
import sys
from types import SimpleNamespace

import pytest

import zoo
from tests.zoo.publishing.conftest import FILES, OLD, REPO, TOKEN
from zoo._registry import manifest
from zoo.cli.app import app


@pytest.fixture
def run(capsys, owner):
    """Runs the verb in this process."""

    def run(*arguments, code=0):
        with pytest.raises(SystemExit) as caught:
            app(["publish", *map(str, arguments)], prog_name="zoo")
        result = SimpleNamespace(**dict(zip(("out", "err"), capsys.readouterr(), strict=True)))
        assert caught.value.code == code, result
        assert "Traceback" not in result.err
        assert TOKEN not in result.out + result.err
        return result

    return run


def test_publish_prints_where_it_is_and_the_entry_to_paste(run, hub, tmp_path):
    done = run("mlp_mnist", REPO, "--create", "--yes", "--public", "--tag", "v1.0", "--message", "First")
    url, _, entry = done.out.partition("\n")
    commit = hub.repositories[REPO].refs["main"]
    assert url == f"{hub.url}/{REPO}/commit/{commit}"
    assert hub.repositories[REPO].private is False
    assert hub.repositories[REPO].refs["v1.0"] == commit
    assert hub.repositories[REPO].log[commit][0] == "First"
    (tmp_path / "models.yaml").write_text(f"models:\n{entry}")
    assert manifest.read(tmp_path / "models.yaml").models["net"].weights.revision == commit
    assert f"{hub.url}/{REPO}: public, which is made first, tagged v1.0" in done.err
    (row,) = [line.split("\t") for line in done.err.splitlines() if line.endswith("model.safetensors")][-1:]
    assert row == ["added", "407464", zoo.info("mlp_mnist").weights.sha256, "model.safetensors"]


def test_a_dry_run_sends_nothing(run, hub):
    done = run("mlp_mnist", REPO, "--create", "--dry-run", "--json")
    files = {file["file"]: file for file in json.loads(done.out)}
    assert {file["change"] for file in files.values()} == {"added"}
    assert files["model.safetensors"]["sha256"] == zoo.info("mlp_mnist").weights.sha256
    assert hub.repositories == {}


def test_a_dry_run_needs_no_token(run, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = run("mlp_mnist", REPO, "--dry-run")
    assert done.out.splitlines()[0].split("\t")[::3] == ["added", "README.md"]
    assert "private, whose content is not known\n" in done.err
    assert "nobody is logged in (`hf auth login`), so private repositories" in done.err
    assert hub.count("GET", "whoami") == 0
    hub.commit(REPO, {"README.md": b"# Old"})
    assert (
        "is public, and you asked for private: pass --public, or"
        in run("mlp_mnist", REPO, "--dry-run", code=1).err
    )
    done = run("mlp_mnist", REPO, "--public", "--dry-run", "--force")
    assert done.out.splitlines()[0].split("\t")[::3] == ["changed", "README.md"]
    assert "set HF_TOKEN" in run("mlp_mnist", REPO, "--public", "--force", "--yes", code=1).err


def test_a_dry_run_needs_no_network_and_a_missing_directory_none_either(run, hub, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = run("mlp_mnist", REPO, "--dry-run")
    assert {line.split("\t")[0] for line in done.out.splitlines()} == {"added"}
    assert "HF_HUB_OFFLINE is set, and publishing needs the network. So neither the repository" in done.err
    assert "HF_HUB_OFFLINE is set" in run("mlp_mnist", REPO, "--yes", code=1).err
    assert "there is no directory" in run(tmp_path / "nowhere", REPO, "--yes", code=1).err
    assert hub.count("GET", "") + hub.count("POST", "") == 0


def test_the_entry_goes_into_a_manifest(run, hub, tmp_path):
    done = run("mlp_mnist", REPO, "--create", "--yes", "--manifest", tmp_path / "models.yaml")
    assert done.out.count("\n") == 1
    assert list(manifest.read(tmp_path / "models.yaml").models) == ["net"]


def test_other_content_is_shown_and_needs_force(run, hub, old):
    refused = run("mlp_mnist", REPO, "--yes", code=1)
    assert "\n  changed  README.md\n  changed  model.safetensors\n  removed  extra.txt\n" in refused.err
    assert hub.head(REPO) == OLD
    run("mlp_mnist", REPO, "--yes", "--force", "--torch")
    assert set(hub.head(REPO)) == {*FILES, "golden.safetensors", "pytorch_model.safetensors"}


def test_without_a_person_yes_has_to_be_said(run, hub, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert "--yes" in run("mlp_mnist", REPO, "--create", code=2).err
    assert hub.repositories == {}


@pytest.mark.parametrize(("answer", "published"), [(b"y\n", True), (b"n\n", False)])
def test_a_person_sees_a_table_and_is_asked(hub, owner, tmp_path, answer, published):
    primary, secondary = pty.openpty()
    home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "COLUMNS": "160"}
    command = [sys.executable, "-m", "zoo", "publish", "mlp_mnist", REPO, "--create"]
    process = subprocess.Popen(
        command, env={**os.environ, **home}, stdin=secondary, stdout=secondary, stderr=secondary
    )
    os.close(secondary)
    seen = b""
    try:
        while part := os.read(primary, 4096):
            seen += part
            if b"Publish this?" in seen and answer:
                os.write(primary, answer)
                answer = b""
    except OSError:  # the other end is closed
        pass
    os.close(primary)
    assert process.wait() == (0 if published else 1)
    assert b"407 kB" in seen
    assert (REPO in hub.repositories) is published
    assert TOKEN.encode() not in seen

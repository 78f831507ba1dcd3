"""Repositories that transformers wrote."""

import errno
import json
import re

import pytest
from huggingface_hub import hf_hub_download

import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.hub.conftest import litter
from tests.zoo.loading.test_transformers_config import BERT, GPT2, agrees, sentences, write
from zoo._loading import fetch

NAME = "hf://someone/gpt2"


@pytest.fixture(scope="module")
def gpt2():
    return randomise(text_models.gpt2()).float().eval()


def files(directory) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("shards", [1, 3])
def test_a_repository_loads_and_then_offline(hub, gpt2, tmp_path_factory, cache, offline, shards):
    directory = write(tmp_path_factory.mktemp("written") / "gpt2", GPT2, state_dict(gpt2), shards)
    hub.commit("someone/gpt2", files(directory))
    assert agrees(zoo.load(NAME, pretrained=True), gpt2)
    offline()
    assert agrees(zoo.load(NAME, pretrained=True), gpt2)
    assert hub.count(path="/store/") == shards
    assert [name for name in litter(cache) if not re.search("/(refs|.no_exist|seen)/", name)] == []


def test_a_pickle_is_taken_only_where_there_is_nothing_else(hub, gpt2, tmp_path):
    directory = write(tmp_path / "gpt2", GPT2, state_dict(gpt2))
    import converters

    converters.write_checkpoint(state_dict(gpt2), directory / "pytorch_model.bin")
    both = files(directory)
    hub.commit("someone/gpt2", both)
    assert zoo.info(NAME).weights.file == "model.safetensors"
    del both["model.safetensors"]
    hub.commit("someone/old", both)
    assert zoo.info("hf://someone/old").weights.file == "pytorch_model.bin"
    assert agrees(zoo.load("hf://someone/old", pretrained=True), gpt2)


def test_a_damaged_shard_is_fetched_again(hub, gpt2, tmp_path, cache):
    hub.commit("someone/gpt2", files(write(tmp_path / "gpt2", GPT2, state_dict(gpt2), 3)))
    zoo.load(NAME, pretrained=True)
    shard = next((cache / "hub").rglob("model-00002-of-00003.safetensors")).resolve()
    shard.write_bytes(shard.read_bytes()[:-4] + b"\1\2\3\4")
    assert agrees(zoo.load(NAME, pretrained=True), gpt2)


def test_what_a_repository_lacks_is_asked_once(hub, tmp_path, offline):
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    directory = write(tmp_path / "bert", BERT, state_dict(twin))
    commit = hub.commit("someone/bert", files(directory))
    assert zoo.load("hf://someone/bert", pretrained=True).entry.config["head"] == "masked_lm"
    offline()
    assert zoo.info("hf://someone/bert").config["head"] == "masked_lm"
    sentences(directory, ["Transformer", "Pooling"], pooling_mode_max_tokens=True)
    assert hub.commit("someone/bert", files(directory)) != commit


def test_embeddings_of_a_repository(hub, tmp_path):
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    directory = write(tmp_path / "bert", BERT, state_dict(twin))
    sentences(directory, ["Transformer", "Pooling"], pooling_mode_max_tokens=True)
    hub.commit("someone/bert", files(directory))
    entry = zoo.info("hf://someone/bert")
    assert (entry.config["head"], entry.config["pooling"]) == ("embedding", "max")


def test_without_weights_it_is_refused(hub):
    hub.commit("someone/gpt2", {"config.json": json.dumps(GPT2).encode()})
    with pytest.raises(zoo.WeightsError, match=r"has none of model\.safetensors, "):
        zoo.info(NAME)


def test_fetch_gets_the_shards_and_the_tokenizer_and_removes_the_shards(hub, gpt2, tmp_path, cache, offline):
    written = files(write(tmp_path / "gpt2", GPT2, state_dict(gpt2), 3))
    hub.commit("someone/gpt2", {**written, "tokenizer.json": b"{}"})
    name, size, path = fetch.fetch(NAME)
    weights = [content for file, content in written.items() if file.startswith("model")]
    assert (name, size) == (NAME, sum(map(len, weights)))
    assert path.endswith("model.safetensors.index.json")
    offline()
    assert agrees(zoo.load(NAME, pretrained=True), gpt2)
    assert list((cache / "hub").rglob("tokenizer.json"))
    assert fetch.remove(NAME) == (name, size, path)
    left = [path.name for path in (cache / "hub").rglob("*") if path.is_symlink()]
    assert sorted(left) == ["config.json", "tokenizer.json"]


def test_what_the_hubs_client_has_listed_is_not_asked_for(hub, tmp_path, cache, offline, monkeypatch):
    """As `hf download` leaves it: every file of the commit, and a list of them."""
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    written = files(write(tmp_path / "bert", BERT, state_dict(twin)))
    commit = hub.commit("someone/bert", written)
    for file in written:
        hf_hub_download("someone/bert", file)
    offline()
    with pytest.raises(zoo.WeightsError, match=r"modules\.json cannot be looked up: HF_HUB_OFFLINE is set"):
        zoo.info("hf://someone/bert")
    listing = {file: {"size": 1, "blob_id": "a" * 40} for file in written}
    path = cache / "hub" / "models--someone--bert" / "trees" / f"{commit}.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"format_version": 1, "files": listing}))
    assert zoo.load("hf://someone/bert", pretrained=True).entry.config["head"] == "masked_lm"


def test_a_cache_that_may_only_be_read_does_without_notes(hub, gpt2, tmp_path, cache, monkeypatch):
    hub.commit("someone/gpt2", files(write(tmp_path / "gpt2", GPT2, state_dict(gpt2))))
    for file in ("config.json", "model.safetensors"):
        hf_hub_download("someone/gpt2", file, revision=hub.repositories["someone/gpt2"].refs["main"])

    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    zoo.info(NAME)
    before = sorted((cache / "hub").rglob("*"))
    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    assert agrees(zoo.load(NAME, pretrained=True), gpt2)
    assert sorted((cache / "hub").rglob("*")) == before


@pytest.mark.parametrize("top", [None, {"__version__": "0.2.6"}])
def test_a_transformer_in_a_folder_of_its_own(hub, tmp_path, offline, top):
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    written = files(write(tmp_path / "bert", BERT, state_dict(twin)))
    chain = [
        {"path": "0_BERT", "type": "sentence_transformers.models.BERT"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    steps = {"modules.json": chain, "1_Pooling/config.json": {"pooling_mode_max_tokens": True}}
    steps |= {} if top is None else {"config.json": top}
    hub.commit(
        "someone/bert",
        {f"0_BERT/{name}": content for name, content in written.items()}
        | {name: json.dumps(content).encode() for name, content in steps.items()},
    )
    model = zoo.load("hf://someone/bert", pretrained=True)
    assert model.entry.config["pooling"] == "max"
    assert model.entry.weights.file == "0_BERT/model.safetensors"
    offline()
    assert zoo.info("hf://someone/bert") == model.entry

"""Repositories that transformers wrote."""

import json

import pytest

import zoo
from tests import text_models
from tests.equivalence import randomise, state_dict
from tests.zoo.fetching.conftest import litter
from tests.zoo.test_hf import BERT, GPT2, agrees, sentences, write

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
    assert [name for name in litter(cache) if "/refs/" not in name and "/.no_exist/" not in name] == []


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
